"""A sequence over several ranks gives what one process gives: choices, outputs, LSE, logits; and every rank hears of a failure."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ranks
import torch
from conftest import inputs
from test_docs import blocks

import minfc
from minfc.parallel import ContextParallel, merge

LAYER = [
    {"pattern": "vertical_slash", "params": {"vertical": 40, "slash": 150}},
    {"pattern": "block_sparse", "params": {"topk": 3}},
    {"pattern": "a_shape", "params": {"sink": 20, "window": 90}},
    {"pattern": "vertical_slash", "params": {"vertical": 64, "slash": 101}},
    {"pattern": "block_sparse", "params": {"topk": 2}},
    {"pattern": "dense", "params": {}},
]


def layer():
    return minfc.Plan({"schema": 1, "layers": [dict((str(h), x) for h, x in enumerate(LAYER))]}).layer(0)


# What is computed: a name, the pattern with its parameters, sizes of the input, whether bits are the same. Where chunks are whole row tiles, all
# are; a chunk of 128 rows is no whole tile of the sm_90a kernels of 192 rows, whose rows then round otherwise.
CASES = {
    "a layer of all kinds": (None, {}, dict(q_heads=6, kv_heads=3, rows=901), False),
    "lists of heads": ("vertical_slash", dict(vertical=60, slash=120), dict(q_heads=3, kv_heads=3, rows=700), True),
    "a batch": ("vertical_slash", dict(vertical=50, slash=110), dict(batch=2, q_heads=4, kv_heads=2, rows=513), True),
    "the nearest distances and first columns": ("vertical_slash", dict(vertical=30, slash=100), dict(q_heads=2, kv_heads=1, rows=1100), True),
    "lists of rows": ("block_sparse", dict(topk=2), dict(q_heads=1, kv_heads=1, rows=800, dtype=torch.float16), True),
    "columns and a window": ("columns_window", dict(vertical=40, window=70), dict(q_heads=2, kv_heads=2, rows=640), False),
    "whole row tiles": ("a_shape", dict(sink=10, window=64), dict(q_heads=2, kv_heads=2, rows=900, dim=128), True),
    "a window for one kv head of two": (
        minfc.Plan({"schema": 1, "layers": [{str(h): dict(pattern="a_shape", params=dict(sink=0, window=w)) for h, w in enumerate([900, 900, 1, 1])}]}).layer(0),
        {},
        dict(q_heads=4, kv_heads=2, rows=900),
        False,
    ),
    "heads in turns": (
        minfc.Plan({"schema": 1, "layers": [{str(h): dict(pattern="a_shape", params=dict(sink=0, window=w)) for h, w in enumerate([300, 1, 300, 1])}]}).layer(0),
        {},
        dict(q_heads=4, kv_heads=2, rows=600),
        False,
    ),
    "ranks without rows": ("dense", {}, dict(q_heads=2, kv_heads=1, rows=100), True),
    "shorter than a probe": ("vertical_slash", {}, dict(q_heads=2, kv_heads=1, rows=50), True),
}


def outputs(rank, world):
    """What ranks compute together, and how many bytes came to this one."""
    out = {}
    context = ContextParallel(align=128)
    for name, (pattern, params, sizes, _) in CASES.items():
        q, k, v = inputs(**sizes)
        rows = sizes["rows"]
        own = [context.split(x, 2) for x in (q, k, v)]
        o, lse = context.attention(*own, pattern or layer(), length=rows, return_lse=True, **params)
        out[name] = context.join(o, 2, rows), context.join(lse, 2, rows), context.moved
    q, k, v = inputs(q_heads=4, kv_heads=2, rows=300)
    out["decode"] = context.decode(q[:, :, -3:], context.split(k, 2), context.split(v, 2))
    return out


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What the ranks of 2 and of 4 processes compute."""
    return {world: ranks.run(world, outputs, tmp_path_factory.mktemp(f"of{world}")) for world in (2, 4)}


@pytest.mark.parametrize("world", [2, 4])
def test_outputs(world, together):
    """Every rank has what one process computes."""
    every = together[world]
    for name, (pattern, params, sizes, same) in CASES.items():
        q, k, v = inputs(**sizes)
        want, want_lse = minfc.attention(q, k, v, pattern or layer(), return_lse=True, fallback=False, **params)
        for got in every:
            o, lse, _ = got[name]
            if same:
                assert torch.equal(o, want) and torch.equal(lse, want_lse), name
            torch.testing.assert_close(o, want, atol=0.01, rtol=0.02, msg=name)
            torch.testing.assert_close(lse, want_lse, atol=1e-5, rtol=1e-5, msg=name)
    q, k, v = inputs(q_heads=4, kv_heads=2, rows=300)
    want = minfc.attention(q[:, :, -3:], k, v, "full")
    for got in every:
        torch.testing.assert_close(got["decode"], want, atol=0.01, rtol=0.02)


def test_only_pages_that_lists_ask_for_travel(together):
    """A window asks for the keys before a chunk, dense attention for all that a rank does not have."""
    moved = [{name: x[2] for name, x in got.items() if name != "decode"} for got in together[2]]
    rows, page = CASES["whole row tiles"][2]["rows"], 64 * 128 * 2 * 2 * 2  # a page of K and of V of two heads
    for rank, bytes_of in enumerate(moved):
        window = bytes_of["whole row tiles"]
        assert 0 < window <= 4 * page, (rank, window)  # 64 keys before each of two chunks, the first key's page, one more
        assert window < rows // 64 * page / 4
    for rank, bytes_of in enumerate(moved):  # 900 rows of one kv head at most, and nothing for the other, whose rows see themselves
        assert 0 < bytes_of["a window for one kv head of two"] <= 900 // 64 * 64 * 64 * 2 * 2, rank
    assert moved[0]["ranks without rows"] == 0  # rank 0 has all of them


def failures(rank, world, case):
    """What a rank is told, and how long it took."""
    context = ContextParallel(align=128, timeout=4)
    q, k, v = inputs(rows=300)
    own = [context.split(x, 2) for x in (q, k, v)]
    length, pattern = 300, "vertical_slash"
    if rank == 1:
        if case == "another length":
            own, length = [context.split(x, 2) for x in inputs(rows=400)], 400
        if case == "another dtype":
            own = [x.float() for x in own]
        if case == "another pattern":
            pattern = "block_sparse"
        if case == "rows that are missing":
            own = [x[:, :, 1:] for x in own]
        if case == "does not come":
            time.sleep(8)
            return None
    if case == "a pattern that cannot":
        pattern = "tri_shape"
    start = time.monotonic()
    try:
        context.attention(*own, pattern, length=length)
    except RuntimeError as e:
        return str(e), time.monotonic() - start
    return "no error", 0.0


@pytest.mark.parametrize(
    "case, words",
    [
        ("another length", "length is 300 on rank 0 and 400 on rank 1"),
        ("another dtype", "rank 1 of 2 failed: ValueError: expected q of dtype bfloat16 or float16, got float32"),
        ("another pattern", "the pattern is"),
        ("rows that are missing", "rank 1 of 2 failed: ValueError: q has"),
        ("a pattern that cannot", "rank 0 of 2 failed: ValueError: pattern tri_shape cannot run over ranks"),
        ("does not come", "rank 1 of 2 did not come to the call within 4 s"),
    ],
)
def test_every_rank_hears_of_a_failure(case, words, tmp_path):
    """One rank's failure is the same error on all ranks, at once or after the timeout."""
    said = ranks.run(2, failures, tmp_path, case)
    for rank, answer in enumerate(said):
        if answer is None:
            continue
        text, took = answer
        assert words in text, (rank, text)
        assert took < 8, "it waited for more than the timeout"
    assert said[0] is not None


def late_failure(rank, world):
    """One rank fails within an exchange: what the ranks are told, at once and at their next call."""
    from datetime import timedelta

    from minfc.parallel import _context

    context = ContextParallel(torch.distributed.new_group(timeout=timedelta(seconds=5)), align=128, timeout=20)
    q, k, v = inputs(rows=300)
    own = [context.split(x, 2) for x in (q, k, v)]
    if rank == 1:

        def out_of_memory(*_):
            raise torch.OutOfMemoryError("no memory is left")

        _context.last_rows = out_of_memory
    said = []
    for _ in range(2):
        try:
            context.attention(*own, "vertical_slash", length=300)
        except RuntimeError as e:
            said.append(str(e))
    return said


def test_a_failure_within_an_exchange_is_named(tmp_path):
    """The others hear of it when the group gives the exchange up."""
    first, second = ranks.run(2, late_failure, tmp_path)
    assert first[0] == "rank 1 of 2 failed: OutOfMemoryError: no memory is left"
    assert "no memory is left" in second[0]


def logits(rank, world):
    """The last token's logits of one rank alone and of all together, and the report."""
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    sizes = dict(hidden_size=128, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=64, pad_token_id=0)
    out, context = {}, ContextParallel(align=128)
    for name, make in (
        ("llama", lambda: LlamaForCausalLM(LlamaConfig(**sizes))),
        ("mistral", lambda: MistralForCausalLM(MistralConfig(**sizes, sliding_window=200))),
    ):
        torch.manual_seed(3)
        model = make().eval().to(torch.bfloat16)
        minfc.install(model, ["vertical_slash", "dense"], fallback=False)
        ids = torch.randint(1, 64, (1, 530), generator=torch.Generator().manual_seed(5))
        alone = model(ids, use_cache=False, logits_to_keep=1).logits
        out[name] = alone, context.prefill(model, ids, use_cache=False), str(minfc.report(model))
    errors = []
    for call in (
        lambda: context.prefill(model, ids[:, :100], use_cache=False),
        lambda: context.prefill(model, ids, use_cache=False, attention_mask=torch.ones_like(ids)),
        lambda: context.prefill(torch.compile(model, backend="eager"), ids, use_cache=False),
    ):
        try:
            call()
        except (ValueError, RuntimeError) as e:
            errors.append(str(e))
    return out, errors


def test_logits(tmp_path):
    """A model that minfc is installed in gives the logits of one process; a window is a window."""
    for rank, (got, errors) in enumerate(ranks.run(2, logits, tmp_path)):
        for name, (alone, together, report) in got.items():
            assert torch.allclose(together.float(), alone.float(), atol=6e-3), (rank, name)
            assert "part of a sequence" in report
        assert any("attention_mask" in e for e in errors), errors
        assert any("call prefill with the model itself" in e for e in errors), errors
        assert any("100 tokens are too few for 2 ranks: rank 1 has none" in e for e in errors), errors


ROOT = Path(__file__).parents[2]


def page(rank, world, folder):
    """The code of docs/parallel.md about sequences, with a small model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if rank == 0:
        heads = {str(h): {"pattern": "a_shape", "params": {"sink": 8, "window": 128}} for h in range(4)}
        Path(folder, "plan.json").write_text(json.dumps({"schema": 1, "layers": [heads] * 2}))
    torch.distributed.barrier()
    os.chdir(folder)
    sizes = dict(hidden_size=128, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=64, pad_token_id=0)
    torch.manual_seed(3)
    names = {"model": LlamaForCausalLM(LlamaConfig(**sizes)).eval().to(torch.bfloat16), "n": 900}
    names["input_ids"] = torch.randint(1, 64, (1, 900), generator=torch.Generator().manual_seed(5))
    q, k, v = inputs(rows=900)
    text = (ROOT / "docs/parallel.md").read_text().split("\n## Context parallel\n")[1].split("\n## ")[0]
    for code, _ in blocks(text):
        if "q, k, v" in code:
            names |= {name: names["context"].split(x, 2) for name, x in (("q", q), ("k", k), ("v", v))}
        exec(compile(code, "docs/parallel.md", "exec"), names)
    alone = names["model"](names["input_ids"], use_cache=False, logits_to_keep=1).logits
    return names["logits"], alone, names["context"].join(names["o"], 2, 900), minfc.attention(q, k, v, "vertical_slash", fallback=False)


def test_page(tmp_path):
    """What docs/parallel.md shows runs, and gives what one process gives."""
    for logits_, alone, o, want in ranks.run(2, page, tmp_path, str(tmp_path)):
        assert torch.allclose(logits_.float(), alone.float(), atol=6e-3)
        assert torch.equal(o, want)


def test_bench(tmp_path):
    """The benchmark runs at a small size, and finds no difference that rounding does not explain."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(ROOT / "bench/context_parallel.py"), "--tiny"]
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--json", str(tmp_path / "lines")], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert [x["name"] for x in lines] == ["layer", "model"]
    assert all(x["max_difference"] < 0.01 for x in lines), lines
    assert lines[0]["moved_mb"] > 0


def test_merge():
    """Partial results over parts of the keys, one of them empty for some rows, are the whole."""
    q, k, v = inputs(rows=200)
    want, want_lse = minfc.attention(q, k, v, "dense", return_lse=True)
    parts = []
    for name, source in (("first", "keep causal & sink(64)"), ("rest", "keep causal & columns(64..)")):
        parts.append(minfc.attention(q, k, v, f"pattern {name} {{ {source} }}", return_lse=True))
    o, lse = merge(torch.stack([x[0] for x in parts]), torch.stack([x[1] for x in parts]))
    torch.testing.assert_close(o, want, atol=0.01, rtol=0.02)
    torch.testing.assert_close(lse, want_lse, atol=1e-4, rtol=1e-5)
    o, lse = merge(torch.zeros(2, 1, 3, 8), torch.full((2, 1, 3), -torch.inf))
    assert o.eq(0).all() and lse.eq(-torch.inf).all()
