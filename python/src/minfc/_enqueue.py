"""Runs of prepared calls on a GPU: enqueued on torch's current stream, with a workspace from torch's caching allocator."""

from __future__ import annotations

import ctypes
import struct
import threading
from typing import Any, Callable, Sequence

import torch

from ._calls import Call
from ._library import Error, Pointers, fail, lib

# Functions of torch without a tensor or an object of Python around each address; absent in builds of torch without CUDA.
_stream: Any = getattr(torch._C, "_cuda_getCurrentRawStream", None)
_take: Any = getattr(torch._C, "_cuda_cudaCachingAllocator_raw_alloc", None)
_give: Any = getattr(torch._C, "_cuda_cudaCachingAllocator_raw_delete", None)
_device: Any = getattr(torch._C, "_cuda_getDevice", None)

_run = lib.minfc_run

# A minfc_pointers from its struct_size on: the library reads no field behind that size, so a call without others writes none, and none
# writes what a recall is given.
_SIZE, _OTHERS = Pointers.struct_size.offset, Pointers.lengths_q.offset
_ALL = Pointers.mass.offset
_pack = struct.Struct("=I7Q").pack_into
_pack_others = struct.Struct("=9Q").pack_into

After = Callable[[int, Pointers, int], None]


class _Frame(threading.local):
    """Memory of a thread for the structs of its runs."""

    def __init__(self) -> None:
        pointers, error = Pointers(), Error()
        self.parts = (pointers, ctypes.addressof(pointers), error, ctypes.addressof(error))


_frame = _Frame()


def enqueue(
    call: Call,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    o: torch.Tensor,
    lse: torch.Tensor | None,
    others: Sequence[int] = (),
    after: After | None = None,
) -> None:
    """Runs a call on the current stream of its device. Tensors are as they were prepared; others are the nine addresses of a minfc_pointers
    from lengths_q on, 0 for none. after is called with the call, the pointers and the stream while the workspace is still there.

    The workspace goes back when the run is enqueued: what takes it next comes later on the same stream. Raises ValueError and RuntimeError.
    """
    pointers, at, error, told = _frame.parts
    stream, size = _stream(call.index), call.workspace
    workspace = _workspace(call.index, size, stream) if size else 0
    try:
        _pack(
            pointers,
            _SIZE,
            _ALL if others else _OTHERS,
            q.data_ptr(),
            k.data_ptr(),
            v.data_ptr(),
            o.data_ptr(),
            0 if lse is None else lse.data_ptr(),
            workspace,
            size,
        )
        if others:
            _pack_others(pointers, _OTHERS, *others)
        if _run(call.handle, at, stream, told):
            fail(error)
        if after is not None:
            after(call.handle, pointers, stream)
    finally:
        if workspace:
            _give(workspace)


def _workspace(index: int, size: int, stream: int) -> int:
    """The address of size bytes of a device for work of a stream; torch takes them from its current device."""
    if _device() == index:
        return int(_take(size, stream))
    with torch.cuda.device(index):
        return int(_take(size, stream))
