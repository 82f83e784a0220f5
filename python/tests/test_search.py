"""minfc.search: what it writes for minfc search, in which order, and what it makes of the answer. The command itself runs where there is one:
MINFC or PATH names a minfc that knows `search`."""

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest
import torch

import minfc
from families import WINDOW, error, model, prompts

pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

TOKENS = 256

# A program that keeps what it is given and answers with a plan that says the layers' order: layer i has a window of 10 + i.
RECORDER = """#!{python}
import json, os, shutil, sys
from safetensors.torch import load_file
arguments = sys.argv[1:]
if os.environ.get("FAILS"):
    sys.exit("error: no density as low as that; the nearest is 0.2")
files = [b for a, b in zip(arguments, arguments[1:]) if a == "--qkv"]
samples = int(arguments[arguments.index("--samples") + 1])
for i, f in enumerate(files):
    shutil.copy(f, os.path.join({kept!r}, f"{{len(os.listdir({kept!r})):03d}}.safetensors"))
heads = load_file(files[0])["q"].shape[1]
layers = [{{str(h): {{"pattern": "a_shape", "params": {{"sink": 1, "window": 10 + i}}}} for h in range(heads)}} for i in range(len(files) // samples)]
json.dump({{"schema": 1, "layers": layers}}, open(arguments[arguments.index("-o") + 1], "w"))
if "--weights" in arguments:
    shutil.copy(arguments[arguments.index("--weights") + 1], os.path.join({root!r}, "weights"))
json.dump(arguments, open(os.path.join({root!r}, "arguments.json"), "w"))
"""


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    kept.mkdir()
    program = tmp_path / "minfc-recorder"
    program.write_text(RECORDER.format(python=sys.executable, kept=str(kept), root=str(tmp_path)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("MINFC", str(program))
    return tmp_path


def seen(folder):
    return [safetensors.load_file(p) for p in sorted((folder / "kept").iterdir())]


def windows(plan):
    return [json.loads(layer.spec)["plan"]["layers"][0]["0"]["params"].get("window") for layer in plan]


def test_files_are_the_layers_in_order(recorder):
    m = model()
    ids = prompts(2, TOKENS)
    stock = m(ids).logits
    plan = minfc.search(m, ids, density=0.2, options=("--rows", "64"))
    files = seen(recorder)
    arguments = json.loads((recorder / "arguments.json").read_text())
    assert [tuple(f["q"].shape) for f in files] == [(1, 4, TOKENS, 16)] * 4
    assert [tuple(f["k"].shape) for f in files] == [(1, 2, TOKENS, 16)] * 4
    assert arguments[:2] == ["search", "--density=0.2"] and "--rows" in arguments
    assert windows(plan) == [10, 11]
    # attention of what was written, put through the model's own layers, is what the model computes
    for sample, row in enumerate(ids):
        x = m.model.embed_tokens(row[None])
        for i, layer in enumerate(m.model.layers):
            f = files[2 * sample + i]
            o = torch.nn.functional.scaled_dot_product_attention(f["q"], f["k"], f["v"], is_causal=True, enable_gqa=True)
            x = x + layer.self_attn.o_proj(o.transpose(1, 2).reshape(1, TOKENS, -1))
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        assert error(m.lm_head(m.model.norm(x))[0], stock[sample]) < 1e-2
    assert m.config._attn_implementation == "sdpa" and torch.equal(m(ids).logits, stock)


def test_the_second_pass_sees_the_plan(recorder):
    """Layer 0 gets the same in both passes; layer 1 gets what layer 0 makes of it under the plan of the first pass."""
    m = model()
    minfc.search(m, prompts(1, TOKENS), density=0.2, passes=2)
    first, second = seen(recorder)[:2], seen(recorder)[2:]
    assert torch.equal(first[0]["q"], second[0]["q"])
    assert error(second[1]["q"], first[1]["q"]) > 1e-2


def test_what_was_installed_stays(recorder):
    m = minfc.install(model(), "sliding", window=7)
    want = m(prompts(1, TOKENS)).logits
    minfc.report(m, clear=True)
    minfc.search(m, prompts(1, TOKENS), density=0.2)
    assert torch.equal(m(prompts(1, TOKENS)).logits, want)
    assert [layer.pattern for layer in minfc.report(m).layers] == ["sliding(window=7)"] * 2
    assert minfc.report(m).calls("minfc") == 2


def test_layers_with_a_window_are_left_alone(recorder):
    m = model("Gemma3")
    plan = minfc.search(m, prompts(1, TOKENS), density=0.2)
    (full,) = seen(recorder)
    assert full["q"].shape[2] > WINDOW
    assert windows(plan) == [None, 10]
    assert json.loads(plan.layer(0).spec)["plan"]["layers"][0]["0"]["pattern"] == "dense"
    scale = m.model.layers[1].self_attn.scaling  # another than the usual one: it is in q
    minfc.install(m, ["dense", "dense"], min_queries=1, fallback=False)
    got = []
    m.model.layers[1].self_attn.minfc_layer.observe = lambda module, q, k, v, scaling: got.append((q, scaling))
    m(prompts(1, TOKENS))
    ((q, scaling),) = got
    assert scaling == scale != q.shape[-1] ** -0.5
    assert error(full["q"] * q.shape[-1] ** -0.5, q * scale) < 1e-2


def test_the_plan_is_kept_where_asked_and_temporary_files_are_not(recorder, tmp_path):
    spare = tmp_path / "spare"
    spare.mkdir()
    plan = minfc.search(model(), prompts(1, TOKENS), time="0.2x", out=tmp_path / "plan.json", folder=spare)
    assert list(spare.iterdir()) == []
    assert windows(minfc.Plan(tmp_path / "plan.json")) == windows(plan) == [10, 11]


def test_one_capture_serves_several_searches(recorder, tmp_path):
    m = model()
    with minfc.captured(m, prompts(1, TOKENS), folder=tmp_path) as inputs:
        first = inputs.search(density=0.2)
        files = json.loads((recorder / "arguments.json").read_text())
        second = inputs.search(error=0.1, out=tmp_path / "plan.json")
        again = json.loads((recorder / "arguments.json").read_text())
        inputs.measure(first)
        measured = json.loads((recorder / "arguments.json").read_text())
        given = json.loads(open(measured[measured.index("--measure") + 1]).read())
    assert files[2:] == again[2:]  # the same inputs, and the same place for what was measured
    assert again[1] == "--error=0.1"
    assert windows(minfc.Plan(tmp_path / "plan.json")) == windows(second)
    assert [layer["0"]["params"]["window"] for layer in given["layers"]] == [10, 11]
    assert not list(tmp_path.glob("minfc-search-*"))


def test_layers_count_what_they_do_to_predictions(recorder):
    """A layer whose output goes nowhere counts nothing, the other one all."""
    m = model()
    m.model.layers[0].self_attn.o_proj.weight.data.zero_()
    stock = m(prompts(1, TOKENS)).logits
    minfc.search(m, prompts(1, TOKENS), density=0.2, weights="drift")
    arguments = json.loads((recorder / "arguments.json").read_text())
    assert json.loads((recorder / "weights").read_text()) == [0, pytest.approx(2)]
    assert arguments[2] == "--weights"
    assert torch.equal(m(prompts(1, TOKENS)).logits, stock) and m.config._attn_implementation == "sdpa"
    with pytest.raises(ValueError, match='weights are .size., want "drift"'):
        minfc.search(m, prompts(1, TOKENS), density=0.2, weights="size")


BAD = [
    (dict(density=0.1, error=0.1), prompts(1, TOKENS), "density and error are both goals"),
    (dict(density=0.1), [], "there are no prompts"),
    (dict(density=0.1), prompts(1, 100), "100 tokens, want 128 or more"),
    (dict(density=0.1), [prompts(1, 130)[0], prompts(1, 140)[0]], "want one length for all"),
    (dict(density=0.1), prompts(1, TOKENS).float(), "want token ids"),
    (dict(density=0.1, passes=0), prompts(1, TOKENS), "passes is 0"),
]


@pytest.mark.parametrize("goal, given, words", BAD, ids=[b[2] for b in BAD])
def test_bad_calls_say_what_is_wrong(recorder, goal, given, words):
    with pytest.raises(ValueError, match=words):
        minfc.search(model(), given, **goal)


def test_what_the_command_says_is_the_error(recorder, monkeypatch):
    monkeypatch.setenv("FAILS", "1")
    m = model()
    with pytest.raises(RuntimeError, match="no density as low as that; the nearest is 0.2"):
        minfc.search(m, prompts(1, TOKENS), density=0.01)
    assert m.config._attn_implementation == "sdpa"


def test_without_the_command_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("MINFC", "no-such-minfc")
    with pytest.raises(FileNotFoundError, match="there is no command no-such-minfc.*go build"):
        minfc.search(model(), prompts(1, TOKENS), density=0.1)


def knows_search():
    program = shutil.which(os.environ.get("MINFC") or "minfc")
    return program is not None and subprocess.run([program, "search", "--help"], capture_output=True).returncode == 0


@pytest.mark.skipif(not knows_search(), reason="MINFC and PATH name no minfc with the command search")
def test_a_searched_plan_is_nearer_than_one_pattern_at_its_density(tmp_path):
    m = model()
    ids = prompts(1, TOKENS)
    want = m(ids).logits

    def off(plan):
        minfc.install(m, plan, min_queries=1, fallback=False)
        got = error(m(ids).logits, want)
        minfc.uninstall(m)
        return got

    plan = minfc.search(m, ids, density=0.4, out=tmp_path / "plan.json", options=("--device", "emu", "--gate", "1"))
    said = json.loads((tmp_path / "plan.json").read_text())["search"]
    assert 0.3 < said["density"] <= 0.4
    window = next(w for w in range(TOKENS) if sum(min(i + 1, w) for i in range(TOKENS)) >= said["density"] * TOKENS * (TOKENS + 1) / 2)
    near = [{str(h): {"pattern": "a_shape", "params": {"sink": 0, "window": window}} for h in range(4)}] * 2
    assert off(plan) < off(minfc.Plan({"schema": 1, "layers": near}))
