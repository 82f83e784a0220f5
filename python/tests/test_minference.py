"""Programs written for MInference, with one line changed."""

import json
import sys

import pytest
import torch

import minfc
from families import PROMPT, error, model, prompts

pytest.importorskip("transformers")

TOLERANCE = 4e-3  # see test_hf_families.py
CONFIG = [
    {"0": ["stream_llm", 4, 30, 0.5], "1": ["stream_llm", 0, 100, 1], "2": ["vertical_and_slash", 1000, 6096, 9], "3": ["block_sparse", 1, 1, 1]},
    {},  # heads without an entry: vertical_and_slash 1000 6096
]
NAME = "some/Model-128k"


@pytest.fixture
def minference(tmp_path, monkeypatch):
    """An installed package minference, with the table and the file of one model, that fails if it is imported."""
    configs = tmp_path / "minference" / "configs"
    configs.mkdir(parents=True)
    (tmp_path / "minference" / "__init__.py").write_text("raise ImportError('no triton here')\n")
    (configs / "plan.json").write_text(json.dumps(CONFIG))
    (configs / "model2path.py").write_text(
        f"import os\nMODEL2PATH = {{{NAME!r}: os.path.join(os.path.dirname(os.path.abspath(__file__)), 'plan.json')}}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return configs / "plan.json"


def want(first=0):
    """Stock logits of the plan: window and sink heads, and heads whose budgets keep all of a prompt of four blocks of keys."""
    from test_hf_sparse import a_shape, distance, with_masks

    causal = distance(PROMPT) >= 0
    own = torch.stack([a_shape(PROMPT, 4, 30), a_shape(PROMPT, 0, 100), causal, causal])
    return with_masks(model(), prompts(), [causal[None] if first > 0 else own, causal[None]])


def test_the_import_line_alone(minference):
    """The program of MInference's README, whose import is the one changed line."""
    from minfc import patch_minference_config as MInference

    m = model()
    minference_patch = MInference("minference", NAME)
    m = minference_patch(m)
    assert error(m(prompts()).logits, want()) < TOLERANCE
    assert minfc.report(m).calls("minfc") == 2
    assert "minference" not in sys.modules


@pytest.mark.parametrize(
    "arguments",
    [
        lambda path: dict(config_path=str(path), model_name="whatever"),
        lambda path: dict(config_path=path, kv_type="dense", starting_layer=0),
        lambda path: dict(attn_kwargs={"best_pattern": CONFIG}),
    ],
)
def test_ways_to_name_the_plan(minference, arguments):
    m = minfc.patch_minference_config(attn_type="minference", **arguments(minference))(model())
    assert error(m(prompts()).logits, want()) < TOLERANCE


@pytest.mark.parametrize("where", ["argument", "attn_kwargs"])
def test_layers_before_the_starting_layer_are_dense(where):
    options = {"best_pattern": CONFIG}
    first = {"starting_layer": 1} if where == "argument" else {}
    if not first:
        options["starting_layer"] = 1
    m = minfc.patch_minference_config("minference", attn_kwargs=options, **first)(model())
    assert error(want(1), want()) > 10 * TOLERANCE
    assert error(m(prompts()).logits, want(1)) < TOLERANCE
    assert [layer.pattern for layer in minfc.report(m).layers] == ["dense", "a layer of a plan with 0 heads"]


@pytest.mark.parametrize(
    "attn_type, options, pattern",
    [
        ("a_shape", {}, "a_shape(sink=128, window=3968)"),
        ("a_shape", {"n_local": 60, "n_init": 4}, "a_shape(sink=4, window=60)"),
        ("tri_shape", {"n_last": 64}, "tri_shape(last=64, sink=128, window=3968)"),
        ("dense", {}, "dense"),
        ("minference_with_dense", {}, "dense"),
    ],
)
def test_patterns_for_all_heads(attn_type, options, pattern):
    m = minfc.patch_minference_config(attn_type, attn_kwargs=options)(model())
    assert [layer.pattern for layer in minfc.report(m).layers] == [pattern] * 2


def test_hf_leaves_the_model_alone():
    m = model()
    assert minfc.patch_minference_config("hf")(m) is m
    assert m.config._attn_implementation == "sdpa"


BAD = [
    (dict(attn_type="flexprefill"), 'attn_type is "flexprefill", and minfc has minference, a_shape'),
    (dict(attn_type="vllm"), 'attn_type is "vllm"'),
    (dict(kv_type="snapkv"), 'kv_type is "snapkv"'),
    (dict(kv_cache_cpu=True), "kv_cache_cpu: minfc leaves the cache"),
    (dict(is_search=True), "is_search: minfc does not search"),
    (dict(use_snapkv=True), "use_snapkv: minfc knows no such argument"),
    (dict(attn_type="a_shape", attn_kwargs={"n_lokal": 3}), 'attn_kwargs has n_lokal, which minfc does not know for attn_type "a_shape"'),
    (dict(attn_kwargs={"best_pattern": CONFIG, "x": 1}), "attn_kwargs has x"),
    (dict(), "neither model_name nor config_path"),
    (dict(model_name="some/Other"), "minference has no plan for some/Other, only for some/Model-128k: give config_path"),
]


@pytest.mark.parametrize("arguments, words", BAD, ids=[words for _, words in BAD])
def test_what_minfc_does_not_do_is_refused(minference, arguments, words):
    with pytest.raises(ValueError, match=words):
        minfc.patch_minference_config(**arguments)


def test_without_the_package_the_file_is_wanted():
    with pytest.raises(ValueError, match="the package minference, which is not installed: give config_path"):
        minfc.patch_minference_config(model_name="somebody/Model-7B")


def test_without_the_package_published_plans_are_there():
    """The plan of a family that minfc has is the plan by its name; a model of other sizes is refused by its layers."""
    patch = minfc.patch_minference_config(model_name="gradientai/Llama-3-8B-Instruct-262k")
    with pytest.raises(ValueError, match="the plan has 32 layers and .* has 2"):
        patch(model("Llama"))
    plan = minfc.Plan("Llama-3-8B-Instruct-262k")
    assert (len(plan), plan.heads) == (32, 32)
    with pytest.raises(ValueError, match="no plan is published here for the model"):
        minfc.Plan("somebody/Model-7B")


def test_flexible_patterns_are_refused_with_their_place():
    flex = [{}, {"2": ["flex_vertical_and_slash", 0.9, 0.1, 1]}]
    with pytest.raises(ValueError, match="layer 1, head 2: pattern .*chooses by mass"):
        minfc.patch_minference_config(attn_kwargs={"best_pattern": flex})
