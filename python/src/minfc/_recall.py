"""kept_mass: what share of the attention mass a call kept, head by head, from the LSE that it wrote. docs/recall.md has the definition."""

from __future__ import annotations

from ctypes import addressof, byref, c_uint64, c_void_p
from typing import Any, Literal, Sequence, Union, overload

import torch

from . import _check
from ._attention import Layout
from ._calls import MOST_CALLS, Call, prepare
from ._device import EMULATOR, Memory
from ._library import Pointers, Rows, check, lib
from ._spec import Pattern, spec_of

Sample = Union[int, range, Sequence[range]]

ROWS = 64  # rows of a head that one launch looks at, however few are wanted


@overload
def kept_mass(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lse: torch.Tensor,
    pattern: Pattern = ...,
    *,
    rows: Sample = ...,
    seed: int = ...,
    layout: Layout = ...,
    q_offset: int = ...,
    scale: float | None = ...,
    by_row: Literal[False] = ...,
    **params: int,
) -> torch.Tensor: ...
@overload
def kept_mass(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lse: torch.Tensor,
    pattern: Pattern = ...,
    *,
    rows: Sample = ...,
    seed: int = ...,
    layout: Layout = ...,
    q_offset: int = ...,
    scale: float | None = ...,
    by_row: Literal[True],
    **params: int,
) -> tuple[torch.Tensor, torch.Tensor, list[int]]: ...
@torch.compiler.disable
def kept_mass(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lse: torch.Tensor,
    pattern: Pattern = "vertical_slash",
    *,
    rows: Sample = ROWS,
    seed: int = 0,
    layout: Layout = "bhsd",
    q_offset: int = 0,
    scale: float | None = None,
    by_row: bool = False,
    **params: int,
) -> Any:
    """What share of the attention mass the pairs hold that a call of minfc.attention kept.

    q, k, v, pattern, layout, q_offset, scale and params are the call's. The pattern says what all keys are: those up to the query where it
    keeps none after it, else all of them.

    lse   float32 [batch, q_heads, rows], as return_lse=True gives it.
    rows  which rows are looked at: a number of them, spread evenly, of which seed decides where the first one lies; or a range, such as
          range(0, 4096, 64); or several ranges.

    Returns float32 [batch, q_heads] on the device of q: the mean over these rows of exp(lse - lse over all keys). With by_row also the share
    of each row, float32 [batch, q_heads, n], and which rows these are.

    64 rows of 32 heads at 128K tokens take an H200 0.2 ms, counted and not measured. CUDA tensors run on torch's current stream without waiting,
    and a CUDA graph may capture a call that was made once before; torch.compile breaks its graph here. Sequences of different lengths are looked
    at one by one. Raises as minfc.attention does.
    """
    _no_lengths(q_offset, params)
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        _check.no_grad(q, k, v)
    if scale is not None and not scale > 0:
        raise ValueError(f"scale is {scale}, want a positive number, or None for 1/sqrt(head_dim)")
    ranges = _ranges(rows, seed)
    key = (spec_of(pattern, params), scale, q_offset, layout, ranges, *((t.shape, t.stride(), t.dtype, t.get_device()) for t in (q, k, v)))
    recall = _recalls.get(key)
    if recall is None:
        recall = _remember(key, _Recall(key, q, k, v, scale or 0.0, ranges))
    if (q.data_ptr() | k.data_ptr()) & 15:
        _check.misaligned(q, k, k)
    _check_lse(lse, recall.call.lse_shape, q.device)
    mass = torch.empty(recall.call.lse_shape[:2], dtype=torch.float32, device=q.device)
    each = torch.empty((*mass.shape, len(recall.rows)), dtype=torch.float32, device=q.device) if by_row else None
    (_emulate if recall.call.index == EMULATOR else _enqueue)(recall, q, k, lse, mass, each)
    return mass if each is None else (mass, each, list(recall.rows))


class _Recall:
    """A recall that is prepared for the shapes and strides of a call, and the rows that it looks at. It closes with its last reference."""

    __slots__ = ("call", "handle", "rows", "workspace")

    call: Call
    handle: int
    rows: list[int]
    workspace: int  # bytes

    def __init__(self, key: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, ranges: tuple[tuple[int, int, int], ...]):
        self.handle = 0
        spec, _, q_offset, layout, *_ = key
        self.call = prepare(("recall", *key), q, k, v, spec, scale, q_offset, layout, True)
        if self.call.empty:
            raise ValueError(f"a call of q {list(q.shape)} and k {list(k.shape)} has no attention mass: it wants a row of each")
        rows = (Rows * len(ranges))(*ranges)
        out, workspace = c_void_p(), c_uint64()
        check(lib.minfc_prepare_recall, self.call.handle, rows, len(rows), byref(out), byref(workspace))
        self.handle, self.workspace = out.value or 0, workspace.value
        self.rows = [r.first + i * r.step for r in rows for i in range(r.count)]

    def __del__(self, _close: Any = lib.minfc_call_close) -> None:
        if self.handle:
            _close(self.handle, None)


_recalls: dict[Any, _Recall] = {}


def _remember(key: Any, recall: _Recall) -> _Recall:
    if len(_recalls) >= MOST_CALLS:
        _recalls.clear()
    _recalls[key] = recall
    return recall


def _no_lengths(q_offset: Any, params: dict[str, Any]) -> None:
    """Raises ValueError where sequences have lengths of their own."""
    for name in ("cu_seqlens", "cu_seqlens_k", "lengths", "lengths_k", "starts", "starts_k", "max_seqlen", "max_seqlen_k"):
        if name in params:
            raise ValueError(f"kept_mass takes no {name}: give it each sequence by itself, as views of its rows")
    if isinstance(q_offset, torch.Tensor):
        raise ValueError("kept_mass takes no tensor for q_offset: give it each sequence by itself, with a number")


def _ranges(rows: Sample, seed: int) -> tuple[tuple[int, int, int], ...]:
    """Rows as minfc_rows. Raises ValueError and TypeError."""
    if isinstance(rows, int) and not isinstance(rows, bool):
        return ((_check.whole("seed", seed), 0, _check.whole("rows", rows)),)
    all_ = (rows,) if isinstance(rows, range) else rows
    if not isinstance(all_, (list, tuple)) or not all(isinstance(r, range) for r in all_):
        raise TypeError(f"rows is {rows!r}, want how many, a range such as range(0, 4096, 64), or a list of ranges")
    for r in all_:
        if not r or r.step < 1:
            raise ValueError(f"rows has {r!r}, want a range with rows in it, in ascending order")
    return tuple((_check.whole("a row", r.start), _check.whole("a step of rows", r.step), len(r)) for r in all_)


def _check_lse(lse: torch.Tensor, shape: tuple[int, ...], device: torch.device) -> None:
    """Checks an LSE. Raises ValueError."""
    if tuple(lse.shape) != shape or lse.dtype != torch.float32 or lse.device != device or not lse.is_contiguous():
        raise ValueError(
            f"expected lse as return_lse=True gives it: float32 {list(shape)} on {device}, contiguous; "
            f"got {_check.word(lse.dtype)} {list(lse.shape)} on {lse.device}, strides {lse.stride()}"
        )


def _enqueue(recall: _Recall, q: torch.Tensor, k: torch.Tensor, lse: torch.Tensor, mass: torch.Tensor, each: torch.Tensor | None) -> None:
    workspace = torch.empty(recall.workspace, dtype=torch.uint8, device=q.device)  # free again for what comes later on the stream
    at = Pointers(
        q=q.data_ptr(),
        k=k.data_ptr(),
        lse=lse.data_ptr(),
        workspace=workspace.data_ptr(),
        workspace_bytes=recall.workspace,
        mass=mass.data_ptr(),
        mass_rows=0 if each is None else each.data_ptr(),
    )
    check(lib.minfc_run, recall.handle, addressof(at), torch.cuda.current_stream(q.device).cuda_stream)


def _emulate(recall: _Recall, q: torch.Tensor, k: torch.Tensor, lse: torch.Tensor, mass: torch.Tensor, each: torch.Tensor | None) -> None:
    with Memory(recall.call.attention.device) as memory:
        at = Pointers(
            q=memory.copy_in(q),
            k=memory.copy_in(k),
            lse=memory.copy_in(lse),
            workspace=memory.take(recall.workspace),
            workspace_bytes=recall.workspace,
            mass=memory.take(mass.numel() * 4),
            mass_rows=memory.take(0 if each is None else each.numel() * 4),
        )
        check(lib.minfc_run, recall.handle, addressof(at), None)
        memory.copy_out(mass, at.mass)
        if each is not None:
            memory.copy_out(each, at.mass_rows)
