"""The torch ops minfc::attention_lengths and minfc::attention_lengths_lse: batches whose lengths are in tensors, on the device of q.

    minfc::attention_lengths(Tensor q, Tensor k, Tensor v, Tensor? lengths_q, Tensor? lengths_k, Tensor? offsets, Tensor? starts_q,
        Tensor? starts_k, str spec, float scale=0.0, SymInt q_offset=0, SymInt max_q=0, SymInt max_k=0, str layout="thd", bool fallback=True)

With layout "thd" (q [rows, heads, head_dim]) sequences follow each other and lengths are cumulative; else every sequence has rows of its
batch entry. The numbers are read where the kernels run: nothing waits for them, and a CUDA graph serves all lengths up to max_q and max_k.
"""

from __future__ import annotations

import ctypes
from typing import Any, Sequence

import torch

from . import _check
from ._calls import Call, attention_of, calls, finish, output, remember
from ._device import EMULATOR, Memory
from ._enqueue import enqueue
from ._library import PADDED, RAGGED, Pointers, Shape, check, lib
from ._op import is_eager

_ARGUMENTS = (
    "Tensor q, Tensor k, Tensor v, Tensor? lengths_q, Tensor? lengths_k, Tensor? offsets, Tensor? starts_q, Tensor? starts_k, str spec, "
    'float scale=0.0, SymInt q_offset=0, SymInt max_q=0, SymInt max_k=0, str layout="thd", bool fallback=True'
)

NAMES = ("lengths_q", "lengths_k", "offsets", "starts_q", "starts_k")

Numbers = Sequence["torch.Tensor | None"]


def _prepare(
    key: Any,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    numbers: Numbers,
    spec: str,
    scale: float,
    q_offset: int,
    max_q: int,
    max_k: int,
    layout: str,
    fallback: bool,
) -> Call:
    """Checks and prepares a call, and remembers it by key. Raises ValueError and RuntimeError."""
    batch = _batch(q, k, v, numbers, layout)
    ragged = layout == "thd"
    axes = "bshd" if ragged else layout
    if ragged:
        q, k, v = q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0)
    sizes = _check.sizes(q, k, v, axes)
    _check.alike(q, k, v)
    _check.strides(q, k, v)
    attention = attention_of(q.get_device(), spec, sizes.q_heads, sizes.kv_heads, sizes.head_dim, q.dtype)
    call = Call(attention, sizes, axes)
    call.empty = call.empty or not batch
    shape = Shape(
        batch=_check.whole("the number of sequences", max(batch, 1)),
        seq_q=_check.whole("max_q", min(max_q, sizes.seq_q)),
        seq_k=_check.whole("max_k", min(max_k, sizes.seq_k)),
        q_offset=_check.whole("q_offset", q_offset),
        scale=scale,
        no_fallback=not fallback,
        lengths=RAGGED if ragged else PADDED,
        total_q=sizes.seq_q if ragged else 0,
        total_k=sizes.seq_k if ragged else 0,
    )
    strides = (q.stride(), k.stride(), v.stride(), call.o_strides)
    if ragged:
        call.o_shape, call.o_strides, call.lse_shape = call.o_shape[1:], call.o_strides[1:], call.lse_shape[1:]
    if call.empty:
        remember(key, call)
        return call
    return finish(key, call, shape, strides, axes)


def _launch(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    numbers: Numbers,
    want_lse: bool,
    spec: str,
    scale: float,
    q_offset: int,
    max_q: int,
    max_k: int,
    layout: str,
    fallback: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        _check.no_grad(q, k, v)
    of_numbers = [None if t is None else (t.shape, t.stride(), t.dtype, t.get_device()) for t in numbers]
    key = (
        *("lengths", spec, scale, q_offset, max_q, max_k, layout, fallback, *of_numbers),
        *(q.shape, q.stride(), q.dtype, q.get_device()),
        *(k.shape, k.stride(), k.dtype, k.get_device()),
        *(v.shape, v.stride(), v.dtype, v.get_device()),
    )
    call = calls.get(key)
    if call is None:
        call = _prepare(key, q, k, v, numbers, spec, scale, q_offset, max_q, max_k, layout, fallback)
    if (q.data_ptr() | k.data_ptr() | v.data_ptr()) & 15:
        _check.misaligned(q, k, v)
    o = q.new_empty_strided(call.o_shape, call.o_strides)
    lse = torch.empty(call.lse_shape, dtype=torch.float32, device=q.device) if want_lse else None
    if call.empty or layout != "thd":  # rows of no sequence are 0
        o.zero_()
        if lse is not None:
            lse.fill_(float("-inf"))
    if not call.empty:
        _run(call, q, k, v, o, lse, numbers)
    call.runs += 1
    return o, lse


def _run(
    call: Call, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, o: torch.Tensor, lse: torch.Tensor | None, numbers: Numbers
) -> None:
    if call.index != EMULATOR:
        enqueue(call, q, k, v, o, lse, (*[0 if t is None else t.data_ptr() for t in numbers], 0, 0, 0, 0))
        return
    with Memory(call.attention.device) as memory:
        at = Pointers(
            q=memory.copy_in(q),
            k=memory.copy_in(k),
            v=memory.copy_in(v),
            o=memory.copy_in(o),
            lse=0 if lse is None else memory.copy_in(lse),
            workspace=memory.take(call.workspace),
            workspace_bytes=call.workspace,
            **{name: 0 if t is None else memory.copy_in(t) for name, t in zip(NAMES, numbers)},
        )
        check(lib.minfc_run, call.handle, ctypes.addressof(at), None)
        memory.copy_out(o, at.o)
        if lse is not None:
            memory.copy_out(lse, at.lse)


def _batch(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, numbers: Numbers, layout: str) -> int:
    """How many sequences there are. Raises ValueError for tensors of other shapes, types or devices."""
    if layout != "thd":
        b, _, _ = _check.axes(layout)
        _check.rank(q, k, v, layout)
        batch = q.shape[b]
    else:
        for name, t in (("q", q), ("k", k), ("v", v)):
            if t.dim() != 3:
                raise ValueError(
                    f"expected {name} to be 3-D, [rows, heads, head_dim], as the sequences of a ragged batch follow each other, "
                    f"got {t.dim()}-D with shape {list(t.shape)}"
                )
        if numbers[0] is None:
            raise ValueError("a ragged batch has no cu_seqlens, want the cumulative lengths of its queries")
        batch = numbers[0].shape[0] - 1
    for name, t in zip(NAMES, numbers):
        if t is None:
            continue
        want = batch + 1 if layout == "thd" and name.startswith("lengths") else batch
        if t.dtype != torch.int32 or t.dim() != 1 or t.shape[0] != want or (want > 1 and t.stride(0) != 1):
            raise ValueError(
                f"expected {name} to be {want} contiguous int32 numbers, got shape {list(t.shape)}, strides {t.stride()} and "
                f"dtype {_check.word(t.dtype)}"
            )
        if t.device != q.device:
            raise ValueError(f"expected q and {name} on one device, got {q.device} for q and {t.device} for {name}")
    return int(batch)


def _attention_lengths(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths_q: torch.Tensor | None,
    lengths_k: torch.Tensor | None,
    offsets: torch.Tensor | None,
    starts_q: torch.Tensor | None,
    starts_k: torch.Tensor | None,
    spec: str,
    scale: float = 0.0,
    q_offset: int = 0,
    max_q: int = 0,
    max_k: int = 0,
    layout: str = "thd",
    fallback: bool = True,
) -> Any:
    numbers = (lengths_q, lengths_k, offsets, starts_q, starts_k)
    return _launch(q, k, v, numbers, False, spec, scale, q_offset, max_q, max_k, layout, fallback)[0]


def _attention_lengths_lse(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths_q: torch.Tensor | None,
    lengths_k: torch.Tensor | None,
    offsets: torch.Tensor | None,
    starts_q: torch.Tensor | None,
    starts_k: torch.Tensor | None,
    spec: str,
    scale: float = 0.0,
    q_offset: int = 0,
    max_q: int = 0,
    max_k: int = 0,
    layout: str = "thd",
    fallback: bool = True,
) -> Any:
    numbers = (lengths_q, lengths_k, offsets, starts_q, starts_k)
    return _launch(q, k, v, numbers, True, spec, scale, q_offset, max_q, max_k, layout, fallback)


def _fake(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *numbers_and_spec: Any, layout: str = "thd", **_: Any
) -> torch.Tensor:
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        _check.no_grad(q, k, v)
    layout = numbers_and_spec[10] if len(numbers_and_spec) > 10 else layout
    if layout == "thd":
        return q.new_empty((q.shape[0], q.shape[1], q.shape[2]))
    b, h, s = _check.axes(layout)
    shape, strides = output(q.shape[b], q.shape[h], q.shape[s], q.shape[3], layout)
    return q.new_empty_strided(shape, strides)


def _fake_lse(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *numbers_and_spec: Any, layout: str = "thd", **rest: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    o = _fake(q, k, v, *numbers_and_spec, layout=layout, **rest)
    layout = numbers_and_spec[10] if len(numbers_and_spec) > 10 else layout
    if layout == "thd":
        return o, q.new_empty((q.shape[1], q.shape[0]), dtype=torch.float32)
    b, h, s = _check.axes(layout)
    return o, q.new_empty((q.shape[b], q.shape[h], q.shape[s]), dtype=torch.float32)


def _register() -> torch.library.Library:
    library = torch.library.Library("minfc", "FRAGMENT")
    for name, real, fake, out in (
        ("attention_lengths", _attention_lengths, _fake, "Tensor"),
        ("attention_lengths_lse", _attention_lengths_lse, _fake_lse, "(Tensor, Tensor)"),
    ):
        library.define(f"{name}({_ARGUMENTS}) -> {out}", tags=(torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order))
        for key in ("CPU", "CUDA"):
            library.impl(name, real, key)
        torch.library.register_fake(f"minfc::{name}", fake, lib=library)
    return library


_library = _register()  # the ops are gone with it
attention_lengths = torch.ops.minfc.attention_lengths.default
attention_lengths_lse = torch.ops.minfc.attention_lengths_lse.default


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    spec: str,
    layout: str,
    q_offset: int | torch.Tensor,
    scale: float,
    return_lse: bool,
    fallback: bool,
    cu_seqlens: torch.Tensor | None,
    cu_seqlens_k: torch.Tensor | None,
    lengths: torch.Tensor | None,
    lengths_k: torch.Tensor | None,
    starts: torch.Tensor | None,
    starts_k: torch.Tensor | None,
    max_seqlen: int | None,
    max_seqlen_k: int | None,
) -> Any:
    """minfc.attention with lengths in tensors."""
    ragged = cu_seqlens is not None or cu_seqlens_k is not None
    if ragged and not (lengths is lengths_k is starts is starts_k is None):
        raise ValueError("cu_seqlens goes with cu_seqlens_k alone, and lengths, lengths_k, starts and starts_k with padded batches")
    s = 0 if ragged else _check.axes(layout)[2]
    max_q = q.shape[s] if max_seqlen is None else max_seqlen
    max_k = max_seqlen_k if max_seqlen_k is not None else max_seqlen if ragged and max_seqlen and cu_seqlens_k is None else k.shape[s]
    offsets = q_offset if isinstance(q_offset, torch.Tensor) else None
    most = max_k if offsets is not None else q_offset
    numbers = (*((cu_seqlens, cu_seqlens_k) if ragged else (lengths, lengths_k)), offsets, starts, starts_k)
    rest = (spec, scale, most, max_q, max_k, "thd" if ragged else layout, fallback)
    if is_eager(q, k, v) and all([t is None or type(t) is torch.Tensor and not t.is_meta for t in numbers]):
        o, lse = _launch(q, k, v, numbers, return_lse, *rest)
        return (o, lse) if return_lse else o
    op = attention_lengths_lse if return_lse else attention_lengths
    return op(q, k, v, *numbers, *rest)
