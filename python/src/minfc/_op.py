"""The torch ops minfc::attention and minfc::attention_lse: for CUDA tensors on torch's current stream, for CPU tensors on the emulator.

    minfc::attention(Tensor q, Tensor k, Tensor v, str spec, float scale=0.0, SymInt q_offset=0, str layout="bhsd", bool fallback=True)

A call whose shapes, strides and numbers came before is found by them, and costs an allocation and a run (_enqueue.py): nothing is checked
again but alignment and requires_grad, which are no part of the key. The spec is a text, so graphs that torch.compile keeps on
disk hold.
"""

from __future__ import annotations

import ctypes

import torch

from . import _check
from ._calls import Call, calls, output, prepare
from ._device import EMULATOR, Memory
from ._enqueue import After, enqueue
from ._library import Pointers, check, lib

_OUTPUTS = {"attention": "Tensor", "attention_lse": "(Tensor, Tensor)"}
_ARGUMENTS = 'Tensor q, Tensor k, Tensor v, str spec, float scale=0.0, SymInt q_offset=0, str layout="bhsd", bool fallback=True'

_empty = torch.empty
_grad = torch.is_grad_enabled
_compiling = torch.compiler.is_compiling
_tracing = torch._C._get_tracing_state
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
_transforms = torch._C._functorch.peek_interpreter_stack


def is_eager(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> bool:
    """Whether nothing looks at ops or changes them: no graph is traced, no mode is on, tensors are tensors. Then the op is its own function,
    and torch's dispatcher, which takes as long as all the rest of a call, can be left out."""
    return (
        not _compiling()
        and (q.is_cuda and k.is_cuda and v.is_cuda or q.is_cpu and k.is_cpu and v.is_cpu)
        and type(q) is type(k) is type(v) is torch.Tensor
        and not _dispatch_modes()
        and not _function_modes()
        and _transforms() is None
        and _tracing() is None
    )


def launch(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    spec: str,
    scale: float,
    q_offset: int,
    layout: str,
    fallback: bool,
    want_lse: bool,
    after: After | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Runs attention. q [B, Hq, Sq, D], k and v [B, Hk, Sk, D], or as layout says; O like q, LSE float32 [B, Hq, Sq] or None.

    after is as enqueue takes it.
    """
    if _grad() and (q.requires_grad or k.requires_grad or v.requires_grad):
        _check.no_grad(q, k, v)
    key = (
        spec, scale, q_offset, layout, fallback,
        q.shape, q.stride(), q.dtype, q.get_device(),
        k.shape, k.stride(), k.dtype, k.get_device(),
        v.shape, v.stride(), v.dtype, v.get_device(),
    )
    call = calls.get(key)
    if call is None:
        call = prepare(key, q, k, v, spec, scale, q_offset, layout, fallback)
    if (q.data_ptr() | k.data_ptr() | v.data_ptr()) & 15:
        _check.misaligned(q, k, v)
    o = q.new_empty_strided(call.o_shape, call.o_strides)
    lse = _empty(call.lse_shape, dtype=torch.float32, device=q.device) if want_lse else None
    if call.empty:
        _fill(o, lse)
    elif call.index == EMULATOR:
        _emulate(call, q, k, v, o, lse, after)
    else:
        enqueue(call, q, k, v, o, lse, (), after)
    call.runs += 1  # no lock: CPython changes threads at calls and jumps back, and there are none between reading and writing
    return o, lse


def _emulate(
    call: Call, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, o: torch.Tensor, lse: torch.Tensor | None, after: After | None
) -> None:
    with Memory(call.attention.device) as memory:
        at = Pointers(
            q=memory.copy_in(q),
            k=memory.copy_in(k),
            v=memory.copy_in(v),
            o=memory.take(o.numel() * o.element_size()),
            lse=memory.take(0 if lse is None else lse.numel() * lse.element_size()),
            workspace=memory.take(call.workspace),
            workspace_bytes=call.workspace,
        )
        check(lib.minfc_run, call.handle, ctypes.addressof(at), None)
        if after is not None:
            after(call.handle, at, 0)
        memory.copy_out(o, at.o)
        if lse is not None:
            memory.copy_out(lse, at.lse)


def _fill(o: torch.Tensor, lse: torch.Tensor | None) -> None:
    """The output where no query has a key, or there is no query."""
    o.zero_()
    if lse is not None:
        lse.fill_(float("-inf"))


def _attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    spec: str,
    scale: float = 0.0,
    q_offset: int = 0,
    layout: str = "bhsd",
    fallback: bool = True,
) -> torch.Tensor:
    return launch(q, k, v, spec, scale, q_offset, layout, fallback, False)[0]


def _attention_lse(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    spec: str,
    scale: float = 0.0,
    q_offset: int = 0,
    layout: str = "bhsd",
    fallback: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    o, lse = launch(q, k, v, spec, scale, q_offset, layout, fallback, True)
    assert lse is not None
    return o, lse


def _fake(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    spec: str,
    scale: float = 0.0,
    q_offset: int = 0,
    layout: str = "bhsd",
    fallback: bool = True,
) -> torch.Tensor:
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        _check.no_grad(q, k, v)
    b, h, s = _check.axes(layout)
    _check.rank(q, k, v, layout)
    _check.alike(q, k, v)
    shape, strides = output(q.shape[b], q.shape[h], q.shape[s], q.shape[3], layout)
    return q.new_empty_strided(shape, strides)


def _fake_lse(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    spec: str,
    scale: float = 0.0,
    q_offset: int = 0,
    layout: str = "bhsd",
    fallback: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    o = _fake(q, k, v, spec, scale, q_offset, layout, fallback)
    b, h, s = _check.axes(layout)
    return o, q.new_empty((q.shape[b], q.shape[h], q.shape[s]), dtype=torch.float32)


def _register() -> torch.library.Library:
    library = torch.library.Library("minfc", "DEF")
    for name, real, fake in (("attention", _attention, _fake), ("attention_lse", _attention_lse, _fake_lse)):
        library.define(f"{name}({_ARGUMENTS}) -> {_OUTPUTS[name]}", tags=(torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order))
        for key in ("CPU", "CUDA"):
            library.impl(name, real, key)
        torch.library.register_fake(f"minfc::{name}", fake, lib=library)
    return library


_library = _register()  # the ops are gone with it
attention = torch.ops.minfc.attention.default
attention_lse = torch.ops.minfc.attention_lse.default
