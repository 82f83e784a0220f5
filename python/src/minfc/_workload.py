"""workload: tensors whose heads have structure like real ones, to measure with where there are no weights (docs/workloads.md)."""

from __future__ import annotations

from ctypes import byref

import torch

from . import _check
from ._calls import heads_of
from ._device import EMULATOR, Memory, device_of, index_of
from ._library import check, lib


def workload(
    kind: str = "mixed",
    *,
    q_heads: int,
    kv_heads: int,
    head_dim: int,
    seqlen: int,
    batch: int = 1,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cuda",
    seed: int = 1,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q [batch, q_heads, seqlen, head_dim], k and v [batch, kv_heads, seqlen, head_dim] with planted structure, made on the device.

    kind is one of docs/workloads.md: "mixed" goes through a_shape, slash, columns, blocks and diffuse over the kv heads. A seed means the
    same bytes on every device, which are the bytes of `minfc gen`. Waits for the device. Raises ValueError and RuntimeError.
    """
    index = index_of(device)
    at = device_of(index)
    heads = heads_of(q_heads, kv_heads, head_dim, dtype)
    batch, seqlen = _check.whole("batch", batch), _check.whole("seqlen", seqlen)
    where = torch.device("cpu") if index == EMULATOR else torch.device("cuda", index)
    q, k, v = (torch.empty(max(batch, 0), n, max(seqlen, 0), head_dim, dtype=dtype, device=where) for n in (q_heads, kv_heads, kv_heads))

    def make(places: list[int], stream: int | None) -> None:
        check(lib.minfc_workload, at.handle, kind.encode(), seed, byref(heads), batch, seqlen, *places, stream)

    if index != EMULATOR:
        make([x.data_ptr() for x in (q, k, v)], torch.cuda.current_stream(index).cuda_stream or None)
        return q, k, v
    with Memory(at) as memory:
        places = [memory.take(x.numel() * x.element_size()) for x in (q, k, v)]
        make(places, None)
        for x, place in zip((q, k, v), places):
            memory.copy_out(x, place)
    return q, k, v
