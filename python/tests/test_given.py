"""sparse_attn_func against float64, over lists by MInference's rules and over lists without any order; on CPU tensors, or on a GPU with
MINFC_GIVEN_DEVICE=cuda."""

import math
import os

import minfc
import pytest
import torch

BLOCK = 64
DEVICE = os.environ.get("MINFC_GIVEN_DEVICE", "cpu")


def inputs(batch, q_heads, kv_heads, rows, keys, dim, dtype=torch.bfloat16, seed=1):
    g = torch.Generator().manual_seed(seed)
    shapes = ((batch, rows, q_heads, dim), (batch, keys, kv_heads, dim), (batch, keys, kv_heads, dim))
    return [torch.randn(shape, generator=g).to(DEVICE, dtype) for shape in shapes]


def converted(columns, distances, rows, keys):
    """Spans and single keys of each row block of a head, by the rules of MInference's convert_vertical_slash_indexes, in other words: a
    distance asks for the 64 keys that end with the block's last row; farther ones go first; what is met already costs nothing, what reaches
    at most 64 keys further is met by the next 64 keys. A column below the last span, and in none, is a single key."""
    out = []
    for first in range(0, rows, BLOCK):
        end = first + BLOCK + keys - rows
        spans = []
        for d in sorted(set(distances), reverse=True):
            to = max(end - d, BLOCK)
            if d >= end or spans and to <= spans[-1] + BLOCK:
                continue
            spans.append(spans[-1] + BLOCK if spans and to <= spans[-1] + 2 * BLOCK else to - BLOCK)
        single = [c for c in sorted(set(columns)) if spans and c < spans[-1] and not any(s <= c < s + BLOCK for s in spans)]
        out.append((spans, single))
    return out


def tensors(lists, batch, heads, room=0):
    """block_count, block_offset, column_count, column_index of (spans, keys) a row block, with noise behind the entries."""
    out = []
    for which in (0, 1):
        rows = [entry[which] for entry in lists]
        most = max(map(len, rows)) + room
        table = torch.full((len(rows), most), 2**31 - 1, dtype=torch.int32)
        for i, row in enumerate(rows):
            table[i, : len(row)] = torch.tensor(row, dtype=torch.int32)
        shape = (batch, heads, len(rows) // (batch * heads))
        out.append(torch.tensor([len(row) for row in rows], dtype=torch.int32).reshape(shape))
        out.append(table.reshape(*shape, most))
    return [t.to(DEVICE) for t in out]


def reference(q, k, v, lists, causal, scale=None):
    """O [B, S, H, D] and LSE [B, H, S] in float64, of keys that count as often as lists have them."""
    q, k, v = q.cpu(), k.cpu(), v.cpu()
    batch, rows, heads, dim = q.shape
    keys, group = k.shape[1], heads // k.shape[2]
    blocks = (rows + BLOCK - 1) // BLOCK
    counts = torch.zeros(batch * heads, rows, keys, dtype=torch.float64)
    for n, (spans, single) in enumerate(lists):
        head, block = divmod(n, blocks)
        for key in [s + i for s in spans for i in range(BLOCK)] + list(single):
            if 0 <= key < keys:
                counts[head, block * BLOCK : (block + 1) * BLOCK, key] += 1
    counts = counts.reshape(batch, heads, rows, keys)
    if causal:
        counts = counts * (torch.arange(keys)[None] <= torch.arange(rows)[:, None] + keys - rows)
    qd, kd, vd = (t.double().transpose(1, 2) for t in (q, k, v))
    kd, vd = kd.repeat_interleave(group, 1), vd.repeat_interleave(group, 1)
    logits = (qd @ kd.transpose(2, 3)) * (scale or 1 / math.sqrt(dim)) + counts.log()
    lse = logits.logsumexp(3)
    p = (logits - lse.nan_to_num(neginf=0.0)[..., None]).exp()
    return (p @ vd).transpose(1, 2), lse


def check(q, k, v, lists, causal, **options):
    args = tensors(lists, q.shape[0], q.shape[2], room=options.pop("room", 0))
    got, lse = minfc.sparse_attn_func(q, k, v, *args, causal=causal, return_softmax_lse=True, **options)
    want, want_lse = (t.to(DEVICE) for t in reference(q, k, v, lists, causal, options.get("softmax_scale")))
    assert (got.double() - want).norm() <= 4e-3 * max(want.norm(), 1e-9)
    assert torch.equal(lse.isinf(), want_lse.isinf())
    assert (lse.double() - want_lse).nan_to_num().abs().max() < 1e-3
    alone = minfc.sparse_attn_func(q, k, v, *args, causal=causal, **options)
    assert torch.equal(alone, got)
    return got


@pytest.mark.parametrize("rows, keys, dim", [(200, 200, 64), (130, 300, 128), (64, 64, 80)])
def test_converted_lists(rows, keys, dim):
    g = torch.Generator().manual_seed(rows)
    lists = []
    for _ in range(4):
        columns = torch.randint(0, keys, (20,), generator=g).tolist()
        distances = [0, *torch.randint(0, keys, (6,), generator=g).tolist()]
        lists += converted(columns, distances, rows, keys)
    for spans, single in lists:
        met = [s + i for s in spans for i in range(BLOCK)] + single
        assert len(met) == len(set(met))
    check(*inputs(1, 4, 2, rows, keys, dim), lists, causal=True)


@pytest.mark.parametrize("causal", [True, False])
def test_lists_without_order(causal):
    """Spans overlap, keys come twice, and numbers are no keys."""
    rows, keys = 100, 130
    g = torch.Generator().manual_seed(3)
    lists = []
    for _ in range(2 * 4 * 2):
        spans = torch.randint(-80, keys + 20, (int(torch.randint(0, 4, (1,), generator=g)),), generator=g).tolist()
        single = torch.randint(-5, keys + 5, (int(torch.randint(0, 90, (1,), generator=g)),), generator=g).tolist()
        lists.append((spans, single))
    check(*inputs(2, 4, 2, rows, keys, 64, torch.float16), lists, causal, room=5, softmax_scale=0.2)


def test_a_key_that_comes_twice_has_twice_the_weight():
    q, k, v = inputs(1, 1, 1, 64, 64, 64)
    once, twice = check(q, k, v, [([0], [])], False), check(q, k, v, [([0], [5, 5])], False)
    assert not torch.equal(once, twice)


def test_out_and_views():
    q, k, v = inputs(1, 4, 2, 100, 100, 64)
    lists = [([0, 64], [])] * 8
    args = tensors(lists, 1, 4)
    want = minfc.sparse_attn_func(q, k, v, *args, causal=True)
    packed = torch.zeros(1, 100, 3, 4, 64, dtype=q.dtype, device=DEVICE)
    packed[:, :, 0] = q
    out = packed[:, :, 2]
    assert minfc.sparse_attn_func(packed[:, :, 0], k, v, *args, causal=True, out=out) is out
    assert torch.equal(out, want) and not packed[:, :, 1].any()
    assert torch.equal(minfc.attention(q, k, v, "dense", layout="bshd"), want) or (out - want).abs().max() < 1e-2


def test_no_lists_and_no_keys():
    q, k, v = inputs(1, 2, 1, 70, 70, 64)
    args = tensors([([], [])] * 4, 1, 2)
    o, lse = minfc.sparse_attn_func(q, k, v, *args, causal=True, return_softmax_lse=True)
    assert not o.any() and torch.isneginf(lse).all()
    o, lse = minfc.sparse_attn_func(q, k[:, :0], v[:, :0], *args, return_softmax_lse=True)
    assert not o.any() and torch.isneginf(lse).all()
    assert minfc.sparse_attn_func(q[:0], k[:0], v[:0], *(t[:0] for t in args)).shape == (0, 70, 2, 64)


def test_torch_compile():
    q, k, v = inputs(1, 2, 1, 70, 70, 64)
    args = tensors([([0, 64], [])] * 4, 1, 2)
    compiled = torch.compile(lambda *a: minfc.sparse_attn_func(*a, causal=True), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(q, k, v, *args), minfc.sparse_attn_func(q, k, v, *args, causal=True))


def test_opcheck():
    q, k, v = inputs(1, 2, 1, 70, 70, 64)
    args = tensors([([0, 64], [])] * 4, 1, 2)
    for lse in (None, torch.empty(1, 2, 70, device=DEVICE)):
        torch.library.opcheck(torch.ops.minfc.given_lists.default, (q, k, v, *args, torch.empty_like(q), lse, 0.0, True))


@pytest.mark.skipif(DEVICE == "cpu", reason="graphs are of GPUs")
def test_a_graph_reads_the_lists_of_each_replay():
    q, k, v = inputs(1, 2, 1, 128, 128, 64)
    lists = [([([0], [])] * 4), ([([64], [3, 5])] * 4)]
    first, then = (tensors(x, 1, 2, room=2) for x in lists)
    then = [t[..., : f.shape[-1]].contiguous() if t.dim() == 4 else t for t, f in zip(then, first)]
    minfc.sparse_attn_func(q, k, v, *first)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = minfc.sparse_attn_func(q, k, v, *first)
    for t, new in zip(first, then):
        t.copy_(new)
    graph.replay()
    assert torch.equal(out, minfc.sparse_attn_func(q, k, v, *then))


def test_counted():
    q, k, v = inputs(1, 2, 1, 70, 70, 64)
    args = tensors([([0], [])] * 4, 1, 2)
    name = f"{'emulator' if DEVICE == 'cpu' else 'cuda:0'} given lists (full)"
    before = minfc.counters().get(name, 0)
    minfc.sparse_attn_func(q, k, v, *args)
    assert minfc.counters()[name] == before + 1


def test_bad_calls():
    q, k, v = inputs(1, 2, 1, 70, 70, 64)
    count, offset, ccount, index = args = tensors([([0, 64], [3])] * 4, 1, 2)

    def refused(text, *lists, tensors=(q, k, v), kind=ValueError, **options):
        with pytest.raises(kind, match=text):
            minfc.sparse_attn_func(*tensors, *(lists or args), **options)

    refused(r"expected block_count of shape .* here \[1, 2, 2\], got \[1, 2, 1\]", count[:, :, :1], offset, ccount, index)
    refused(r"expected column_index of shape .*, N\], here \[1, 2, 2, N\], got \[1, 2, 2\]", count, offset, ccount, index[..., 0])
    refused("block_offset of dtype int32, got int64: use block_offset.to", count, offset.long(), ccount, index)
    wide = torch.stack([offset, offset], -1)[..., 0]
    refused("block_offset to be contiguous, got strides .* use block_offset.contiguous", count, wide, ccount, index)
    refused("on one device, got .* for q and meta for column_count", count, offset, ccount.to("meta"), index)
    refused("expected q to be 4-D", tensors=(q[0], k, v))
    refused("dropout_p is 0.1, and minfc has no kernels for it", dropout_p=0.1)
    refused("window_size is", window_size=(64, 0))
    refused("softcap is 30.0", softcap=30.0)
    refused("alibi_slopes is", alibi_slopes=torch.ones(2))
    refused("return_attn_probs is True", return_attn_probs=True)
    refused("softmax_scale is -1.0, want a positive number", softmax_scale=-1.0)
    refused("causal attention of 70 queries to 60 keys leaves", tensors=(q, k[:, :60], v[:, :60]), causal=True)
    refused("expected out like q, .* got", out=q[:, :, :1])
    with torch.enable_grad():
        refused("inference only", tensors=(q, k.clone().requires_grad_(), v), kind=RuntimeError)
