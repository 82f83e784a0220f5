"""sparse_attn_func: attention over lists of keys that the caller gives, as vLLM's function of this name took them; and its torch op.

    minfc::given_lists(Tensor q, Tensor k, Tensor v, Tensor block_count, Tensor block_offset, Tensor column_count, Tensor column_index,
        Tensor(a!) out, Tensor(b!)? lse, float scale, bool causal) -> ()

docs/given.md has the meaning of the lists. They are read where the kernel runs: no number of them comes to the host.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch

from . import _check
from ._calls import Call, attention_of, calls, finish
from ._device import EMULATOR, Memory
from ._enqueue import enqueue
from ._library import Pointers, Shape, check, lib

ROWS = 64  # queries of a row block


def sparse_attn_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    block_count: torch.Tensor,
    block_offset: torch.Tensor,
    column_count: torch.Tensor,
    column_index: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    *,
    return_softmax_lse: bool = False,
    out: torch.Tensor | None = None,
) -> Any:
    """Sparse attention over lists that the caller gives for every block of 64 queries: the function of vllm-flash-attn, with its arguments.

    q             [batch, rows, q_heads, head_dim]; bfloat16 or float16.
    k, v          [batch, keys, kv_heads, head_dim]; q_heads is a multiple of kv_heads.
    block_count   int32 [batch, q_heads, R] with R = ceil(rows / 64): how many spans of 64 keys a block of queries has.
    block_offset  int32 [batch, q_heads, R, NNZ_S]: the first key of each span, any key.
    column_count  int32 [batch, q_heads, R]: how many single keys a block of queries has.
    column_index  int32 [batch, q_heads, R, NNZ_V]: these keys.
    softmax_scale 1/sqrt(head_dim) unless given.
    causal        query i sees keys up to i + keys - rows, in spans and among single keys.
    out           like q, to write to.

    convert_vertical_slash_indexes of MInference and of vLLM makes such lists. Every entry counts: a key that a block of queries has twice
    has twice the weight. Entries that are no keys do not count. deterministic is not looked at: results are always the same. Dropout,
    windows, soft caps, ALiBi and probabilities are refused.

    Returns O [batch, rows, q_heads, head_dim]; with return_softmax_lse also the natural logarithm of the softmax denominators, float32
    [batch, q_heads, rows]. Rows without keys are 0 and -inf. CUDA tensors run on torch's current stream, without a copy and without
    waiting; CPU tensors on the emulator, slowly. Raises ValueError where the call is wrong, RuntimeError where the device is or where a
    tensor requires grad. After an error nothing was enqueued.
    """
    _unsupported(dropout_p, tuple(window_size), softcap, alibi_slopes, return_attn_probs)
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        _check.no_grad(q, k, v)
    if softmax_scale is not None and not softmax_scale > 0:
        raise ValueError(f"softmax_scale is {softmax_scale}, want a positive number, or None for 1/sqrt(head_dim)")
    _check.rank(q, k, v, "bshd")
    if out is None:
        out = q.new_empty(q.shape)
    lse = q.new_empty((q.shape[0], q.shape[2], q.shape[1]), dtype=torch.float32) if return_softmax_lse else None
    _op(q, k, v, block_count, block_offset, column_count, column_index, out, lse, softmax_scale or 0.0, causal)
    return out if lse is None else (out, lse)


def _unsupported(dropout_p: float, window_size: tuple[int, ...], softcap: float, alibi_slopes: Any, return_attn_probs: bool) -> None:
    for name, value, off in (
        ("dropout_p", dropout_p, 0.0),
        ("window_size", window_size, (-1, -1)),
        ("softcap", softcap, 0.0),
        ("alibi_slopes", alibi_slopes, None),
        ("return_attn_probs", return_attn_probs, False),
    ):
        if value is not off and value != off:
            raise ValueError(f"{name} is {value}, and minfc has no kernels for it: leave it at {off}")


def _check_lists(q: torch.Tensor, lists: tuple[torch.Tensor, ...]) -> None:
    """Checks the four lists of a call. Raises ValueError."""
    blocks = (q.shape[0], q.shape[2], (q.shape[1] + ROWS - 1) // ROWS)
    for name, t in zip(("block_count", "block_offset", "column_count", "column_index"), lists):
        counts = name.endswith("count")
        wanted = "[batch, q_heads, ceil(rows / 64)" + ("]" if counts else ", N]")
        if t.dim() != (3 if counts else 4) or tuple(t.shape[:3]) != blocks:
            raise ValueError(
                f"expected {name} of shape {wanted}, here [{', '.join(map(str, blocks))}{']' if counts else ', N]'}, got {list(t.shape)}"
            )
        if t.dtype != torch.int32:
            raise ValueError(f"expected {name} of dtype int32, got {_check.word(t.dtype)}: use {name}.to(torch.int32)")
        if t.device != q.device:
            raise ValueError(f"expected q and {name} on one device, got {q.device} for q and {t.device} for {name}")
        if not t.is_contiguous():
            raise ValueError(f"expected {name} to be contiguous, got strides {t.stride()}: use {name}.contiguous()")


def _check_out(q: torch.Tensor, out: torch.Tensor) -> None:
    """Checks an output. Raises ValueError."""
    if out.shape != q.shape or out.dtype != q.dtype or out.device != q.device:
        raise ValueError(
            f"expected out like q, {list(q.shape)} of {_check.word(q.dtype)} on {q.device}, "
            f"got {list(out.shape)} of {_check.word(out.dtype)} on {out.device}"
        )
    _check.strides(out, out, out)


def _given_lists(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    block_count: torch.Tensor,
    block_offset: torch.Tensor,
    column_count: torch.Tensor,
    column_index: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor | None,
    scale: float,
    causal: bool,
) -> None:
    lists = (block_count, block_offset, column_count, column_index)
    key = ("given", causal, scale, *((t.shape, t.stride(), t.dtype, t.get_device()) for t in (q, k, v, out, *lists)))
    call = calls.get(key)
    if call is None:
        call = _prepare(key, q, k, v, out, lists, scale, causal)
    if (q.data_ptr() | k.data_ptr() | v.data_ptr()) & 15:
        _check.misaligned(q, k, v)
    if call.empty:
        out.zero_()
        if lse is not None:
            lse.fill_(float("-inf"))
    elif call.index == EMULATOR:
        _emulate(call, (q, k, v), lists, out, lse)
    else:
        counts, offsets, columns, indices = (t.data_ptr() for t in lists)
        enqueue(call, q, k, v, out, lse, (0, 0, 0, 0, 0, offsets, counts, indices, columns))
    call.runs += 1


_NAMES = ("q", "k", "v", "span_count", "spans", "key_count", "keys")  # of minfc_pointers, in the order of the arguments


def _emulate(
    call: Call, qkv: tuple[torch.Tensor, ...], lists: tuple[torch.Tensor, ...], out: torch.Tensor, lse: torch.Tensor | None
) -> None:
    with Memory(call.attention.device) as memory:
        o = out if out.is_contiguous() else torch.empty(out.shape, dtype=out.dtype)
        at = Pointers(
            **{name: memory.copy_in(t) if t.numel() else 0 for name, t in zip(_NAMES, (*qkv, *lists))},
            o=memory.take(o.numel() * o.element_size()),
            lse=memory.take(0 if lse is None else lse.numel() * lse.element_size()),
            workspace=memory.take(call.workspace),
            workspace_bytes=call.workspace,
        )
        check(lib.minfc_run, call.handle, ctypes.addressof(at), None)
        memory.copy_out(o, at.o)
        if o is not out:
            out.copy_(o)
        if lse is not None:
            memory.copy_out(lse, at.lse)


def _prepare(
    key: Any,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
    lists: tuple[torch.Tensor, ...],
    scale: float,
    causal: bool,
) -> Call:
    """Checks and prepares a call, and remembers it by key. Raises ValueError and RuntimeError."""
    sizes = _check.sizes(q, k, v, "bshd")
    _check.alike(q, k, v)
    _check.strides(q, k, v)
    _check_lists(q, lists)
    _check_out(q, out)
    if causal and sizes.seq_q > sizes.seq_k:
        raise ValueError(
            f"causal attention of {sizes.seq_q} queries to {sizes.seq_k} keys leaves the first queries without keys: "
            "give as many keys, or leave these queries out"
        )
    spec = '{"given": "%s"}' % ("causal" if causal else "full")
    attention = attention_of(q.get_device(), spec, sizes.q_heads, sizes.kv_heads, sizes.head_dim, q.dtype)
    call = Call(attention, sizes, "bshd")
    shape = Shape(
        batch=_check.whole("the batch", max(sizes.batch, 1)),
        seq_q=_check.whole("the number of queries", sizes.seq_q),
        seq_k=_check.whole("the number of keys", sizes.seq_k),
        q_offset=sizes.seq_k - sizes.seq_q if causal else 0,
        scale=scale,
        span_cap=lists[1].shape[3],
        key_cap=lists[3].shape[3],
    )
    o = out.stride() if call.index != EMULATOR else call.o_strides  # the emulator writes to memory of its own, without gaps
    return finish(key, call, shape, (q.stride(), k.stride(), v.stride(), o), "bshd")


def _fake(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *lists_and_rest: Any) -> None:
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        _check.no_grad(q, k, v)
    _check.rank(q, k, v, "bshd")
    _check.alike(q, k, v)
    _check_lists(q, lists_and_rest[:4])


def _register() -> torch.library.Library:
    library = torch.library.Library("minfc", "FRAGMENT")
    library.define(
        "given_lists(Tensor q, Tensor k, Tensor v, Tensor block_count, Tensor block_offset, Tensor column_count, Tensor column_index, "
        "Tensor(a!) out, Tensor(b!)? lse, float scale, bool causal) -> ()",
        tags=(torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order),
    )
    for key in ("CPU", "CUDA"):
        library.impl("given_lists", _given_lists, key)
    torch.library.register_fake("minfc::given_lists", _fake, lib=library)
    return library


_library = _register()  # the op is gone with it
_op = torch.ops.minfc.given_lists.default
