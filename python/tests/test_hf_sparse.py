"""Sparse plans: what a layer keeps is what its pattern keeps, head by head."""

import json

import pytest
import torch

import minfc
from families import PROMPT, error, model, padded, prompts

pytest.importorskip("transformers")

TOLERANCE = 4e-3  # see test_hf_families.py


def distance(n):
    return torch.arange(n)[:, None] - torch.arange(n)


def a_shape(n, sink, window):
    """The pairs of a_shape [n, n], by the rule in patterns/a_shape.minf."""
    return (distance(n) >= 0) & ((distance(n) < window) | (torch.arange(n) < sink))


def with_masks(m, ids, masks):
    """Stock logits where layer i keeps masks[i] [heads or 1, n, n]."""
    hooks = []
    for layer, keep in zip(m.model.layers, masks):

        def give(_, args, kwargs, keep=keep):
            return args, {**kwargs, "attention_mask": keep[None]}

        hooks.append(layer.self_attn.register_forward_pre_hook(give, with_kwargs=True))
    out = m(ids).logits
    for hook in hooks:
        hook.remove()
    return out


@pytest.mark.parametrize("family", ["Llama", "Qwen3", "Glm4"])
def test_a_shape_is_stock_attention_with_its_mask(family):
    m = model(family)
    keep = a_shape(PROMPT, 10, 70)[None]
    want = with_masks(m, prompts(), [keep, keep])
    dense = m(prompts()).logits
    assert error(dense, want) > 10 * TOLERANCE  # so that the masks are seen
    assert error(minfc.install(m, "a_shape", sink=10, window=70)(prompts()).logits, want) < TOLERANCE


PLAN = {
    "schema": 1,
    "layers": [
        {
            "0": {"pattern": "dense"},
            "1": {"pattern": "a_shape", "params": {"sink": 3, "window": 20}},
            "2": {"pattern": "a_shape", "params": {"sink": 0, "window": 100}},
            "3": {"pattern": "a_shape", "params": {"sink": 70, "window": 1}},
        },
        {str(h): {"pattern": "sliding", "params": {"window": 50 + h}} for h in range(4)},
    ],
}


def plan_masks(n=PROMPT):
    first = [distance(n) >= 0, a_shape(n, 3, 20), a_shape(n, 0, 100), a_shape(n, 70, 1)]
    return [torch.stack(first), torch.stack([a_shape(n, 0, 50 + h) for h in range(4)])]


@pytest.mark.parametrize("form", ["plan", "dict", "text", "file", "list"])
def test_each_layer_and_head_has_its_own(form, tmp_path):
    """The plan in all forms that install takes."""
    m = model()
    want = with_masks(m, prompts(), plan_masks())
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN))
    plan = minfc.Plan(PLAN)
    forms = {"plan": plan, "dict": PLAN, "text": json.dumps(PLAN), "file": str(path), "list": [plan.layer(0), plan.layer(1)]}
    minfc.install(m, forms[form])
    assert error(m(prompts()).logits, want) < TOLERANCE
    assert minfc.report(m).layers[1].pattern == "a layer of a plan with 4 heads"


def test_a_list_of_patterns_is_by_layer():
    m = model()
    want = with_masks(m, prompts(), [(distance(PROMPT) >= 0)[None], plan_masks()[1]])
    minfc.install(m, ["dense", minfc.Plan(PLAN).layer(1)])
    assert error(m(prompts()).logits, want) < TOLERANCE


def test_vertical_slash_of_everything_is_dense():
    """A pattern that data decides, with budgets for all there is, over a padded batch: each sequence has an index of its own."""
    m = model()
    ids, mask = padded([PROMPT, 141])
    want = m(ids, attention_mask=mask).logits
    minfc.install(m, "vertical_slash", vertical=PROMPT, slash=PROMPT, fallback=False)
    keep = mask.bool()
    assert error(m(ids, attention_mask=mask).logits[keep], want[keep]) < TOLERANCE


def test_attn_implementation_alone_is_vertical_slash():
    m = model()
    want = m(prompts()).logits
    m.set_attn_implementation("minfc")
    got = m(prompts()).logits
    assert error(got, want) < TOLERANCE  # its budgets of 1000 and 6096 keep all of so short a prompt
    assert minfc.report(m).layers[0].pattern == "vertical_slash"
