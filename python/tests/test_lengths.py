"""Batches whose lengths are in tensors: what a sequence computes is what it computes alone."""

from __future__ import annotations

from typing import Any

import minfc
import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode

HEADS, KV_HEADS, DIM = 4, 2, 32
PATTERNS: list[tuple[str, dict[str, int]]] = [
    ("dense", {}),
    ("a_shape", {"sink": 4, "window": 50}),
    ("vertical_slash", {"vertical": 16, "slash": 64}),
    ("block_sparse", {"topk": 2}),
]


def numbers(*x: int) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.int32)


def rows(n: int, heads: int, seed: int) -> torch.Tensor:
    return torch.randn(n, heads, DIM, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)


def alone(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pattern: str, **given: Any) -> Any:
    """One sequence of [rows, heads, head_dim]."""
    o, lse = minfc.attention(q[None], k[None], v[None], pattern, layout="bshd", return_lse=True, **given)
    return o[0], lse[0]


@pytest.mark.parametrize("pattern, params", PATTERNS)
def test_ragged(pattern: str, params: dict[str, int]) -> None:
    lengths, offset = [33, 0, 130, 64], 0
    cu = numbers(0, *torch.tensor(lengths).cumsum(0).tolist())
    q, k, v = rows(sum(lengths), HEADS, 1), rows(sum(lengths), KV_HEADS, 2), rows(sum(lengths), KV_HEADS, 3)
    o, lse = minfc.attention(
        q, k, v, pattern, cu_seqlens=cu, max_seqlen=130, q_offset=offset, return_lse=True, fallback=False, **params
    )
    assert o.shape == q.shape and lse.shape == (HEADS, sum(lengths))
    for a, b in zip(cu.tolist(), cu.tolist()[1:]):
        if a < b:
            want, want_lse = alone(q[a:b], k[a:b], v[a:b], pattern, fallback=False, **params)
            torch.testing.assert_close(o[a:b], want)
            torch.testing.assert_close(lse[:, a:b], want_lse)


def test_ragged_chunks() -> None:
    """Queries are the ends of longer sequences of keys, each at a position of its own."""
    queries, keys = [20, 64], [70, 64]
    cu, cu_k = numbers(0, 20, 84), numbers(0, 70, 134)
    q, k, v = rows(84, HEADS, 1), rows(134, KV_HEADS, 2), rows(134, KV_HEADS, 3)
    offsets = numbers(*(k - q for q, k in zip(queries, keys)))
    o = minfc.attention(q, k, v, "a_shape", cu_seqlens=cu, cu_seqlens_k=cu_k, q_offset=offsets, sink=4, window=30)
    for i in range(2):
        own, own_k = slice(*cu[i : i + 2].tolist()), slice(*cu_k[i : i + 2].tolist())
        want, _ = alone(q[own], k[own_k], v[own_k], "a_shape", q_offset=int(offsets[i]), sink=4, window=30)
        torch.testing.assert_close(o[own], want)


@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
@pytest.mark.parametrize("pattern, params", PATTERNS)
def test_padded(pattern: str, params: dict[str, int], layout: str) -> None:
    """Sequences padded in front, behind and not at all; NaNs in the padding do not matter."""
    most, lengths, starts = 100, [100, 70, 33], [0, 30, 10]
    q, k, v = (torch.full((3, most, heads, DIM), float("nan"), dtype=torch.bfloat16) for heads in (HEADS, KV_HEADS, KV_HEADS))
    for i, (n, start) in enumerate(zip(lengths, starts)):
        for t, heads, seed in ((q, HEADS, 1), (k, KV_HEADS, 2), (v, KV_HEADS, 3)):
            t[i, start : start + n] = rows(n, heads, seed + 10 * i)
    lay = (lambda t: t.transpose(1, 2)) if layout == "bhsd" else (lambda t: t)
    sizes: Any = {"lengths": numbers(*lengths), "starts": numbers(*starts), "lengths_k": numbers(*lengths), "starts_k": numbers(*starts)}
    o, lse = minfc.attention(lay(q), lay(k), lay(v), pattern, layout=layout, return_lse=True, fallback=False, **sizes, **params)
    o = lay(o)
    for i, (n, start) in enumerate(zip(lengths, starts)):
        own = slice(start, start + n)
        want, want_lse = alone(q[i, own], k[i, own], v[i, own], pattern, fallback=False, **params)
        torch.testing.assert_close(o[i, own].float(), want.float(), atol=4e-3, rtol=2e-2)
        torch.testing.assert_close(lse[i, :, own], want_lse, atol=1e-4, rtol=1e-4)
        o[i, own] = 0
        lse[i, :, own] = float("-inf")
    assert not o.any() and (lse == float("-inf")).all()


def test_static_cache() -> None:
    """A chunk of a prompt over a cache with room for more, its position in a tensor: keys end with the last query."""
    q, k, v = rows(20, HEADS, 1)[None], rows(100, KV_HEADS, 2)[None], rows(100, KV_HEADS, 3)[None]
    k[:, 60:] = v[:, 60:] = float("nan")
    o = minfc.attention(q, k, v, "dense", layout="bshd", q_offset=numbers(40))
    want, _ = alone(q[0], k[0, :60], v[0, :60], "dense", q_offset=40)
    torch.testing.assert_close(o[0].float(), want.float(), atol=4e-3, rtol=2e-2)


def test_compiled_without_a_break() -> None:
    """The lengths are numbers in tensors: others compile nothing anew."""
    count = CompileCounter()

    @torch.compile(backend=count, fullgraph=True)
    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu: torch.Tensor) -> torch.Tensor:
        return minfc.attention(q, k, v, "a_shape", cu_seqlens=cu, max_seqlen=64, sink=4, window=30) * 2

    q, k, v = rows(100, HEADS, 1), rows(100, KV_HEADS, 2), rows(100, KV_HEADS, 3)
    for cut in (36, 50, 64):
        cu = numbers(0, cut, 100)
        torch.testing.assert_close(run(q, k, v, cu), minfc.attention(q, k, v, "a_shape", cu_seqlens=cu, max_seqlen=64, sink=4, window=30) * 2)
    assert count.frame_count == 1


@pytest.mark.parametrize("name, layout", [("attention_lengths", "thd"), ("attention_lengths_lse", "thd"), ("attention_lengths", "bshd"), ("attention_lengths_lse", "bhsd")])
def test_opcheck(name: str, layout: str) -> None:
    q, k, v, cu = rows(40, HEADS, 1), rows(40, KV_HEADS, 2), rows(40, KV_HEADS, 3), numbers(0, 15, 40)
    if layout != "thd":
        q, k, v, cu = q[None], k[None], v[None], numbers(30)
    if layout == "bhsd":
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    spec = minfc.spec_of("dense", {})
    torch.library.opcheck(getattr(torch.ops.minfc, name).default, (q, k, v, cu, None, None, None, None, spec, 0.0, 0, 40, 40, layout, True))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"cu_seqlens": torch.tensor([0, 40])}, "contiguous int32 numbers.*int64"),
        ({"cu_seqlens": None}, "4-D"),
        ({"cu_seqlens_k": numbers(0, 10, 40)}, "expected lengths_k to be 2"),
        ({"lengths": numbers(40)}, "goes with cu_seqlens_k alone"),
        ({"q_offset": numbers(1, 2)}, "expected offsets to be 1"),
        ({"q": torch.zeros(1, 40, HEADS, DIM, dtype=torch.bfloat16)}, "expected q to be 3-D"),
        ({"k": torch.zeros(40, KV_HEADS, 64, dtype=torch.bfloat16)}, "one shape"),
        ({"q": torch.zeros(40, HEADS, DIM, dtype=torch.bfloat16, requires_grad=True)}, "inference only"),
        ({"window": -1}, "window"),
        ({"cu_seqlens": None, "max_seqlen": 5}, "max_seqlen goes with lengths"),
    ],
)
def test_errors(change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"q": rows(40, HEADS, 1), "k": rows(40, KV_HEADS, 2), "v": rows(40, KV_HEADS, 3), "cu_seqlens": numbers(0, 40)}
    with torch.enable_grad(), pytest.raises((ValueError, RuntimeError), match=words):
        minfc.attention(**{**given, **change}, pattern="a_shape")


def test_lengths_are_checked_again_where_they_change() -> None:
    """A call that was right says nothing of the next one, whose tensors but the lengths are the same."""
    q, k, v = (rows(40, heads, i)[None] for i, heads in enumerate((HEADS, KV_HEADS, KV_HEADS)))
    call = lambda lengths: minfc.attention(q, k, v, "a_shape", layout="bshd", sink=2, window=9, lengths=lengths)
    call(numbers(17))
    for wrong, words in ((numbers(17).long(), "dtype int64"), (numbers(17, 3), r"shape \[2\]"), (numbers(17)[None], r"shape \[1, 1\]")):
        with pytest.raises(ValueError, match="expected lengths_q to be 1 contiguous int32 numbers.*" + words):
            call(wrong)


def test_modes_see_the_op() -> None:
    """The dispatcher is left out only where nothing looks at ops."""
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    q, k, v = (rows(40, heads, i)[None] for i, heads in enumerate((HEADS, KV_HEADS, KV_HEADS)))
    call = lambda: minfc.attention(q, k, v, "a_shape", layout="bshd", sink=2, window=9, lengths=numbers(17), return_lse=True)
    o, lse = call()
    with Watch():
        o_too, lse_too = call()
    assert "minfc.attention_lengths_lse.default" in seen
    assert torch.equal(o, o_too) and torch.equal(lse, lse_too)
