"""Head plans: minfc's JSON and MInference's, layers as patterns, and what is wrong with a plan."""

import json
from pathlib import Path

import minfc
import pytest
import torch
from minfc import _calls
from reference import a_shape, causal, close, masked

EXAMPLE = Path(__file__).parents[2] / "docs/examples/plan.json"


def heads_of(*patterns):
    return {str(i): {"pattern": name, "params": params} for i, (name, params) in enumerate(patterns)}


LAYERS = [
    heads_of(("a_shape", {"sink": 2, "window": 30}), ("dense", {}), ("a_shape", {"sink": 9, "window": 5}), ("dense", {})),
    heads_of(("dense", {}), ("dense", {}), ("dense", {}), ("sliding", {"window": 10})),
]
MASKS = [
    [a_shape(90, 90, 2, 30), causal(90, 90), a_shape(90, 90, 9, 5), causal(90, 90)],
    [causal(90, 90)] * 3 + [a_shape(90, 90, 0, 10)],
]


def test_layers_run_their_heads(make):
    plan = minfc.Plan({"schema": 1, "layers": LAYERS})
    q, k, v = make(rows=90)
    for layer, masks in zip(plan, MASKS):
        close(minfc.attention(q, k, v, layer), masked(q, k, v, torch.stack(masks))[0])


@pytest.mark.parametrize("form", [dict, str, Path])
def test_forms(make, tmp_path, form):
    whole = {"schema": 1, "model": "a/model", "layers": LAYERS}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(whole))
    plan = minfc.Plan({dict: whole, str: json.dumps(whole), Path: path}[form])
    assert len(plan) == len(plan.layers) == 2 and plan.layer(1) is plan.layers[1] and list(plan) == list(plan.layers)
    assert minfc.Plan(str(path)).layer(0).spec == plan.layer(0).spec
    q, k, v = make(rows=90)
    close(minfc.attention(q, k, v, plan.layer(1)), masked(q, k, v, torch.stack(MASKS[1]))[0])


def test_minferences_format(make):
    plan = minfc.Plan([{"0": ["stream_llm", 2, 30, 0.9], "1": ["vertical_and_slash", 1000, 6096, 0.9]}])
    q, k, v = make(rows=90, q_heads=2, kv_heads=1)
    close(minfc.attention(q, k, v, plan.layer(0)), masked(q, k, v, torch.stack([MASKS[0][0], MASKS[0][1]]))[0])


def test_equal_layers_are_one_attention(make):
    """So a model whose layers are alike compiles once, whatever scores a search gave them."""
    scored = {head: {**entry, "score": 0.5} for head, entry in LAYERS[0].items()}
    plan = minfc.Plan({"schema": 1, "layers": [LAYERS[0], scored, LAYERS[0]]})
    q, k, v = make(rows=30, dim=32)
    before = len(_calls._attentions)
    for layer in plan:
        minfc.attention(q, k, v, layer)
    assert plan.layer(0).spec == plan.layer(1).spec == plan.layer(2).spec
    assert len(_calls._attentions) == before + 1


def test_example_of_the_docs(make):
    q, k, v = make(rows=40, q_heads=10, kv_heads=5)
    o = minfc.attention(q, k, v, minfc.Plan(EXAMPLE).layer(0))
    assert o.isfinite().all()


def test_no_such_layer():
    plan = minfc.Plan({"schema": 1, "layers": LAYERS})
    for index in (2, -1):
        with pytest.raises(IndexError, match=f"the plan has layers 0 to 1, not {index}"):
            plan.layer(index)


@pytest.mark.parametrize(
    "given, kind, text",
    [
        ("{", ValueError, "plan:1:"),
        ('{"schema": 1, "layers": [{"0": {"pattern": "dense"}, "0": {"pattern": "dense"}}]}', ValueError, "plan:1:.*twice|already"),
        ({"schema": 1}, ValueError, "layers"),
        ({"layers": LAYERS}, ValueError, "schema"),
        ([], ValueError, "layer"),
        ([3], ValueError, "layer 0"),
        (7, ValueError, "plan:1:1"),
        ({3}, TypeError, "a plan is JSON, its path, or what json.load gives"),
    ],
)
def test_no_plan(given, kind, text):
    with pytest.raises(kind, match=text):
        minfc.Plan(given)


@pytest.mark.parametrize(
    "layer, text",
    [
        (heads_of(("dnse", {})), 'layer 1, head 0: unknown pattern "dnse".*did you mean dense'),
        (heads_of(("a_shape", {"windw": 3})), "layer 1, head 0.*windw.*did you mean .?window"),
        (heads_of(("vertical_slash", {"vertical": 0})), "layer 1, head 0.*vertical is a budget and must be at least 1"),
        (heads_of(("a_shape", {"window": 1.5})), "layer 1, head 0.*1.5"),
        ({"x": {"pattern": "dense"}}, "layer 1.*x"),
    ],
)
def test_wrong_layers(tmp_path, layer, text):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({"schema": 1, "layers": [LAYERS[0], layer]}))
    with pytest.raises(ValueError, match=rf"wrong.json:1:\d+: {text}"):
        minfc.Plan(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        minfc.Plan(tmp_path / "none.json")


def test_a_plan_for_another_model(make):
    q, k, v = make(rows=30)
    plan = minfc.Plan({"schema": 1, "layers": [LAYERS[0], heads_of(*[("dense", {})] * 5)]})
    with pytest.raises(ValueError, match="the layer has an entry for head 4, the model has 4 query heads"):
        minfc.attention(q, k, v, plan.layer(1))


def test_a_layer_takes_no_parameters(make):
    q, k, v = make(rows=30)
    with pytest.raises(ValueError, match="goes without window"):
        minfc.attention(q, k, v, minfc.Plan({"schema": 1, "layers": LAYERS}).layer(1), window=3)
