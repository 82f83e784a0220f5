"""Devices of tensors: minfc's emulator for CPU tensors, cuda:N for CUDA tensors, opened once a process."""

from __future__ import annotations

import json
import threading
from ctypes import byref, c_uint64, c_void_p
from typing import Any, Sequence

import torch

from ._library import check, in_parent, lib, text

EMULATOR = -1  # the index of CPU tensors, as Tensor.get_device gives it

_devices: dict[int, "Device"] = {}
_lock = threading.Lock()


class Device:
    """An open device. It stays open as long as the process: kernels of CUDA graphs may outlive whoever captured them."""

    __slots__ = ("handle", "index", "name")

    def __init__(self, index: int):
        out = c_void_p()
        self.index = index
        self.name = "emu" if index == EMULATOR else f"cuda:{index}"
        check(lib.minfc_open, self.name.encode(), byref(out))
        self.handle = out.value

    def info(self) -> dict[str, Any]:
        """What was opened: driver, ordinal, name, target, memory_bytes, sentence."""
        info: dict[str, Any] = json.loads(text(lib.minfc_device_info, self.handle))
        return info


def device_of(index: int) -> Device:
    """The device of tensors whose get_device() is index. Raises RuntimeError where there is none that works."""
    in_parent()
    with _lock:
        if index not in _devices:
            _devices[index] = Device(index)
        return _devices[index]


def index_of(device: torch.device | str) -> int:
    """The index of a torch device, of the current one for "cuda". Raises ValueError for one that minfc does not run on."""
    device = torch.device(device)
    if device.type == "cpu":
        return EMULATOR
    if device.type != "cuda":
        raise ValueError(f"device is {device}, want a cuda device, or cpu for the emulator")
    return torch.cuda.current_device() if device.index is None else device.index


class Memory:
    """Memory of the emulator for one run, given back at the end of a with block."""

    def __init__(self, device: Device):
        self.device = device
        self.taken: list[int] = []

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_: object) -> None:
        for at in self.taken:
            check(lib.minfc_free, self.device.handle, at)

    def take(self, size: int) -> int:
        """The address of size bytes, 0 for none."""
        if not size:
            return 0
        out = c_uint64()
        check(lib.minfc_alloc, self.device.handle, size, byref(out))
        self.taken.append(out.value)
        return out.value

    def copy_in(self, tensor: torch.Tensor) -> int:
        """The address of a copy of a tensor, which lies as the tensor does, gaps between its rows included."""
        size = span(tensor.shape, tensor.stride()) * tensor.element_size()
        at = self.take(size)
        check(lib.minfc_copy_to_device, self.device.handle, at, tensor.data_ptr(), size, None)
        return at

    def copy_out(self, tensor: torch.Tensor, at: int) -> None:
        """Fills a tensor without gaps from an address."""
        check(lib.minfc_copy_to_host, self.device.handle, tensor.data_ptr(), at, tensor.numel() * tensor.element_size(), None)


def span(shape: Sequence[int], strides: Sequence[int]) -> int:
    """How many elements lie from a tensor's first to its last, both included."""
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides))
