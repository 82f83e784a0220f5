"""The programs of examples/ that use Python, at small size on the emulator."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

import minfc

pytest.importorskip("transformers")

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(monkeypatch, name, *arguments):
    """Runs an example as a program. Returns its names."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    return runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def loaded(name):
    """The names of an example, which is not run."""
    return runpy.run_path(str(EXAMPLES / name), run_name="example")


def test_generate(monkeypatch, capsys):
    run(monkeypatch, "hf_generate.py", "--tiny", "--new-tokens", "3")
    printed = capsys.readouterr().out.splitlines()
    assert len(json.loads(printed[0])) == 3
    assert [line.split() for line in printed[1:]] == [
        ["layers", "where", "calls", "why"],
        ["0-1", "minfc", "2", "prompt"],
        ["0-1", "stock", "4", "one", "query"],
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU it takes other subjects, and tells their times")
def test_prefill(monkeypatch, capsys, tmp_path):
    out = tmp_path / "out.jsonl"
    run(monkeypatch, "hf_prefill.py", "--tiny", "--seqlens", "192", "--rounds", "1", "--json", str(out))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    rows = {r["subject"]: r for r in lines if "seconds" in r}
    assert list(rows) == ["stock", "minfc dense", "minfc plan", "no attention"]
    assert all(r["seconds"] > 0 and r["rounds"] == 1 and r["derived"] is None for r in rows.values())
    assert 0 < rows["minfc dense"]["differs_from_first_stock"] < 2e-2
    assert sorted(r["subject"] for r in lines if "run" in r) == sorted(rows)
    assert [r["heads"] for r in lines if "heads" in r] == [10]
    said = capsys.readouterr()
    assert "plan over stock" in said.out and "minfc plan: attends what each head's pattern chooses of generated q and k" in said.out


@pytest.mark.skipif(torch.cuda.is_available(), reason="see above")
def test_prefill_of_a_layer(monkeypatch, capsys, tmp_path):
    out = tmp_path / "out.jsonl"
    run(
        monkeypatch, "hf_prefill.py", "--tiny", "--layers-only", "--seqlens", "192,200", "--rounds", "2", "--subjects", "stock,minfc plan",
        "--json", str(out), "--time-limit", "0.000001",
    )  # fmt: skip
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    first = [r for r in rows if "seconds" in r]
    assert [(r["subject"], r["derived"], r["rounds"]) for r in first] == [(s, "one layer times 2", 1) for s in ("stock", "minfc plan")]
    left_out = [r for r in rows if "left_out" in r]
    assert [r["tokens"] for r in left_out] == [200, 200] and all("--time-limit is 0" in r["left_out"] for r in left_out)


@pytest.mark.skipif(torch.cuda.is_available(), reason="see above")
def test_prefill_goes_on_after_a_failure(monkeypatch, capsys, tmp_path):
    """A subject that does not fit is left out, and the others are measured."""
    example = loaded("hf_prefill.py")
    out = tmp_path / "out.jsonl"

    def full(*_, **__):
        raise torch.OutOfMemoryError("no memory\nfor this")

    monkeypatch.setitem(example["AttentionInterface"]._global_mapping, "no_attention", full)
    monkeypatch.setattr(sys, "argv", ["x", "--tiny", "--seqlens", "192", "--rounds", "1", "--subjects", "stock,no attention", "--json", str(out)])
    example["main"]()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["subject"], r.get("left_out")) for r in rows if "attended" in r] == [("stock", None), ("no attention", "failed: no memory")]


def test_layer_in_chunks_is_the_layer():
    """What --layers-only runs is the decoder layer of transformers."""
    example = loaded("hf_prefill.py")
    example["run_layer"].__globals__["CHUNK_ROWS"] = 70
    args = type("Args", (), {"tiny": True, "layers_only": True, "device": "cpu"})
    m = example["make_model"](args)
    hidden = torch.randn(1, 200, m.config.hidden_size).bfloat16()
    layer = m.model.layers[0]
    want = layer(hidden, position_embeddings=m.model.rotary_emb(hidden, torch.arange(200)[None]))[:, -1:]
    got = example["run_layer"](m, layer, hidden)
    assert ((got - want).double().norm() / want.double().norm()).item() < 1e-2


def test_plan_of_prefill_is_the_benchmarks():
    """The mix of heads that docs speak of, and a plan that minfc takes."""
    layer = loaded("hf_prefill.py")["real_heads"](32)
    patterns = [entry["pattern"] for entry in layer.values()]
    counts = {p: patterns.count(p) for p in ("vertical_slash", "block_sparse", "a_shape", "dense")}
    assert counts == {"vertical_slash": 20, "block_sparse": 8, "a_shape": 3, "dense": 1}
    assert len(minfc.Plan({"schema": 1, "layers": [layer]})) == 1


@pytest.mark.parametrize(
    "arguments, words",
    [(["--seqlens", "8q"], "'8q' is no length"), (["--subjects", "fa3", "--tiny"], "there is no subject fa3"), ([], "use --tiny"), (["--tiny", "--rounds", "0"], "want --rounds")],
)
def test_prefill_says_what_is_wrong(monkeypatch, capsys, arguments, words):
    with pytest.raises(SystemExit) as e:
        run(monkeypatch, "hf_prefill.py", *arguments)
    assert words in str(e.value) + capsys.readouterr().err
