"""Attentions, which are compiled once a process, and calls, which are prepared once a shape. Both are found by what they were made from."""

from __future__ import annotations

import threading
import warnings
from ctypes import byref, c_uint64, c_void_p
from typing import Any, Sequence

import torch

from . import _check
from ._device import EMULATOR, Device, device_of
from ._library import BF16, F16, Heads, Shape, Stride, check, lib

_DTYPES = {torch.bfloat16: BF16, torch.float16: F16}

MOST_CALLS = 4096  # calls remembered; the oldest goes first, and is prepared again when its shape comes again
MANY_ATTENTIONS = 512


class Attention:
    """A spec, compiled and loaded for the heads of a layer on a device. It lives as long as the process, as its device does: a CUDA graph
    may hold its kernels."""

    __slots__ = ("device", "handle", "retired", "spec")

    def __init__(self, device: Device, spec: str, heads: Heads):
        out = c_void_p()
        check(lib.minfc_attention_new, device.handle, spec.encode(), byref(heads), byref(out))
        self.device, self.spec, self.handle = device, spec, out.value
        self.retired = 0  # runs of calls that are gone


class Call:
    """An attention prepared for shapes and strides, and what a run needs beside pointers. A call closes with its last reference, so a run
    in another thread keeps it."""

    __slots__ = ("attention", "empty", "handle", "index", "lse_shape", "o_shape", "o_strides", "runs", "workspace")

    attention: Attention
    index: int  # of the device
    handle: int  # 0 where there is nothing to compute
    workspace: int  # bytes
    o_shape: tuple[int, ...]
    o_strides: tuple[int, ...]
    lse_shape: tuple[int, ...]
    empty: bool
    runs: int

    def __init__(self, attention: Attention, sizes: _check.Sizes, layout: str):
        batch, heads, _, rows, keys, dim = sizes
        self.attention, self.index = attention, attention.device.index
        self.handle = self.workspace = self.runs = 0
        self.o_shape, self.o_strides = output(batch, heads, rows, dim, layout)
        self.lse_shape = (batch, heads, rows)
        self.empty = not (batch and rows and keys)

    def __del__(self, _close: Any = lib.minfc_call_close) -> None:  # bound here: modules may be gone when the last calls go
        self.attention.retired += self.runs  # here, when no thread is still running it
        if self.handle:
            _close(self.handle, None)


def output(batch: int, heads: int, rows: int, dim: int, layout: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of the output, which lies in memory as [batch, rows, heads, head_dim]: an output projection reads it so."""
    if layout == "bshd":
        return (batch, rows, heads, dim), (rows * heads * dim, heads * dim, dim, 1)
    return (batch, heads, rows, dim), (rows * heads * dim, dim, heads * dim, 1)


def heads_of(q_heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype) -> Heads:
    """The heads of a layer as the library takes them. Raises ValueError."""
    if dtype not in _DTYPES:
        raise ValueError(f"expected dtype bfloat16 or float16, got {_check.word(dtype)}")
    for name, n in (("q_heads", q_heads), ("kv_heads", kv_heads), ("head_dim", head_dim)):
        _check.whole(name, n)
    return Heads(q_heads=q_heads, kv_heads=kv_heads, head_dim=head_dim, dtype=_DTYPES[dtype])


calls: dict[Any, Call] = {}
_attentions: dict[Any, Attention] = {}
_making: dict[Any, threading.Lock] = {}
_lock = threading.Lock()


def attention_of(index: int, spec: str, q_heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype) -> Attention:
    """What is compiled for a spec and heads on a device; compiled now if it is new. Threads that ask for the same wait for one."""
    key = (index, spec, q_heads, kv_heads, head_dim, dtype)
    known = _attentions.get(key)
    if known is not None:
        return known
    device = device_of(index)
    with _lock:
        own = _making.setdefault(key, threading.Lock())
    with own:
        if key not in _attentions:
            _not_captured(index)
            _attentions[key] = Attention(device, spec, heads_of(q_heads, kv_heads, head_dim, dtype))
            if len(_attentions) == MANY_ATTENTIONS:
                warnings.warn(
                    f"{MANY_ATTENTIONS} different attentions are compiled and loaded: each set of parameters is one, "
                    "and none is ever given back",
                    stacklevel=2,
                )
        return _attentions[key]


def _not_captured(index: int) -> None:
    if index != EMULATOR and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "a CUDA graph is being captured, and this attention is not compiled yet, which a graph cannot hold: call minfc.compile, "
            "or make the call once, before the capture"
        )


def prepare(
    key: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, spec: str, scale: float, q_offset: int, layout: str, fallback: bool
) -> Call:
    """Checks and prepares a call, and remembers it by key. Raises ValueError and RuntimeError."""
    sizes = _check.sizes(q, k, v, layout)
    _check.alike(q, k, v)
    _check.strides(q, k, v)
    attention = attention_of(q.get_device(), spec, sizes.q_heads, sizes.kv_heads, sizes.head_dim, q.dtype)
    call = Call(attention, sizes, layout)
    shape = Shape(
        batch=_check.whole("batch", max(sizes.batch, 1)),  # an empty batch is checked like one of one entry
        seq_q=_check.whole("the number of queries", sizes.seq_q),
        seq_k=_check.whole("the number of keys", sizes.seq_k),
        q_offset=_check.whole("q_offset", q_offset),
        scale=scale,
        no_fallback=not fallback,
    )
    return finish(key, call, shape, (q.stride(), k.stride(), v.stride(), call.o_strides), layout)


def finish(key: Any, call: Call, shape: Shape, strides: Sequence[Sequence[int]], layout: str) -> Call:
    """Prepares a checked call for a shape and the strides of q, k, v and o, and remembers it by key. Raises ValueError and RuntimeError."""
    if not call.empty:
        shape.explicit_strides = 1
        for name, of in zip("qkvo", strides):
            setattr(shape, name, Stride(*(of[axis] for axis in _check.axes(layout))))
    handle, workspace = c_void_p(), c_uint64()
    check(lib.minfc_prepare, call.attention.handle, byref(shape), byref(handle), byref(workspace))
    call.handle, call.workspace = handle.value or 0, workspace.value
    remember(key, call)
    return call


def remember(key: Any, call: Call) -> None:
    """Keeps a call for its next run, and forgets the oldest beyond MOST_CALLS."""
    with _lock:
        while len(calls) >= MOST_CALLS:
            calls.pop(next(iter(calls)))
        calls[key] = call


def runs() -> dict[Attention, int]:
    """How often each attention ran."""
    with _lock:
        out = {a: a.retired for a in list(_attentions.values())}
        for call in calls.values():
            out[call.attention] = out.get(call.attention, 0) + call.runs
    return out
