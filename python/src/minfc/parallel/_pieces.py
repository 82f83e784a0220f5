"""Calls over some heads and some rows of a layer, which run stage by stage (minfc_run_stages, minfc_describe)."""

from __future__ import annotations

import ctypes
import json
from ctypes import byref, c_int32, c_uint64, c_void_p
from typing import Any, NamedTuple, Sequence

import torch

from .._calls import Attention
from .._device import EMULATOR, Memory, span
from .._library import Pointers, Shape, Stride, check, lib, text

POOL, CHOOSE, GATHER, ATTEND = 1, 2, 4, 8  # enum minfc_stage


class Tensors(NamedTuple):
    """q and o [B, Hq, rows, D], k and v [B, Hk, keys, D], lse float32 [B, Hq, rows]: views of any strides with contiguous last dimension."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    o: torch.Tensor
    lse: torch.Tensor | None


class Piece:
    """A prepared call over heads of a layer. Its tensors have all heads of the layer."""

    def __init__(self, attention: Attention, heads: Sequence[int] | None, at: Tensors, q_offset: int, keys: int, reach: int, scale: float):
        self.attention = attention
        batch, _, rows, _ = at.q.shape
        self.batch, self.device = batch, at.q.device
        shape = Shape(batch=batch, seq_q=rows, seq_k=keys, q_offset=q_offset, scale=scale, no_fallback=1, explicit_strides=1, reach=reach)
        for name, x in (("q", at.q), ("k", at.k), ("v", at.v), ("o", at.o)):
            setattr(shape, name, Stride(*x.stride()[:3]))
        if at.lse is not None:
            shape.lse = Stride(*at.lse.stride()[:2], 1)
        if heads is not None:
            shape.heads, shape.head_count = (c_int32 * len(heads))(*heads), len(heads)
        handle, workspace = c_void_p(), c_uint64()
        check(lib.minfc_prepare, attention.handle, byref(shape), byref(handle), byref(workspace))
        self.handle, self.workspace = handle.value, workspace.value
        described = json.loads(text(lib.minfc_describe, self.handle))
        self.kept: int = described["kept_bytes"]
        self.parts: list[dict[str, Any]] = described["parts"]
        self.heads = torch.tensor(self.parts[0]["heads"], device=self.device)  # of the first part, the only one of a piece with lists

    def __del__(self, _close: Any = lib.minfc_call_close) -> None:
        if getattr(self, "handle", None):
            _close(self.handle, None)

    def buffers(self) -> dict[str, dict[str, Any]]:
        """The buffers of the only part by their names."""
        return {b["name"]: b for b in self.parts[0]["buffers"]}

    def run(self, stages: int, at: Tensors, workspace: torch.Tensor | None) -> None:
        """Enqueues stages on the current stream. workspace is uint8, of self.workspace bytes or, for GATHER and ATTEND, of self.kept."""
        if self.attention.device.index == EMULATOR:
            self._emulate(stages, at, workspace)
            return
        pointers = self._pointers([x.data_ptr() if x is not None else 0 for x in (*at, workspace)], workspace)
        stream = torch.cuda.current_stream(self.attention.device.index).cuda_stream or None
        check(lib.minfc_run_stages, self.handle, ctypes.addressof(pointers), stages, stream)

    def _pointers(self, places: list[int], workspace: torch.Tensor | None) -> Pointers:
        names = ("q", "k", "v", "o", "lse", "workspace")
        return Pointers(**dict(zip(names, places)), workspace_bytes=0 if workspace is None else workspace.numel())

    def _emulate(self, stages: int, at: Tensors, workspace: torch.Tensor | None) -> None:
        """The same with copies: every tensor goes to the emulator as it lies, and what a stage may write comes back."""
        with Memory(self.attention.device) as memory:
            all_ = (*at, workspace)
            places = [memory.copy_in(x) if x is not None and x.numel() else 0 for x in all_]
            pointers = self._pointers(places, workspace)
            check(lib.minfc_run_stages, self.handle, ctypes.addressof(pointers), stages, None)
            for x, place in list(zip(all_, places))[3:]:
                if place:
                    size = span(x.shape, x.stride()) * x.element_size()
                    check(lib.minfc_copy_to_host, self.attention.device.handle, x.data_ptr(), place, size, None)


def words(workspace: torch.Tensor, buffer: dict[str, Any]) -> torch.Tensor:
    """A buffer of 32-bit numbers of a workspace, int32 [words]."""
    at, size = buffer["at"], buffer["bytes"]
    return workspace[at : at + size].view(torch.int32)
