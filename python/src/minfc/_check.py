"""What a call of attention may be given. Errors name the tensor, what was found and what to do; nothing was enqueued then."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

import torch

_ORDER = {"bhsd": "[batch, heads, rows, head_dim]", "bshd": "[batch, rows, heads, head_dim]"}
LONGEST = 2**31 - 1  # what an int32 of the C library holds; it has smaller limits of its own

INFERENCE_ONLY = (
    "minfc is for inference only: it has no backward pass, and {} requires grad. Call it under torch.no_grad() or "
    "torch.inference_mode(), or give it {}.detach()"
)


class Sizes(NamedTuple):
    """The sizes of a call. Strides are (batch, head, row) in elements."""

    batch: int
    q_heads: int
    kv_heads: int
    seq_q: int
    seq_k: int
    head_dim: int


def no_grad(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> NoReturn:
    """Raises RuntimeError for the first tensor that requires grad."""
    name = next(name for name, t in (("q", q), ("k", k), ("v", v)) if t.requires_grad)
    raise RuntimeError(INFERENCE_ONLY.format(name, name))


def misaligned(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> NoReturn:
    """Raises ValueError for the first tensor that does not begin on 16 bytes."""
    name, t = next((name, t) for name, t in (("q", q), ("k", k), ("v", v)) if t.data_ptr() % 16)
    raise ValueError(
        f"expected {name} to begin on 16 bytes, got data_ptr() {t.data_ptr():#x} (storage_offset {t.storage_offset()}): "
        f"take a view that begins at a multiple of 8 elements, or {name}.clone()"
    )


def axes(layout: str) -> tuple[int, int, int]:
    """Where batch, heads and rows are in tensors of a layout. Raises ValueError for another one."""
    if layout == "bhsd":
        return 0, 1, 2
    if layout == "bshd":
        return 0, 2, 1
    wanted = " or ".join(f'"{name}" ({order})' for name, order in _ORDER.items())
    raise ValueError(f"layout is {layout!r}, want {wanted}")


def rank(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layout: str) -> None:
    """Checks that tensors have four dimensions. Raises ValueError."""
    for name, t in (("q", q), ("k", k), ("v", v)):
        if t.dim() != 4:
            raise ValueError(f"expected {name} to be 4-D, {_ORDER[layout]}, got {t.dim()}-D with shape {list(t.shape)}")


def sizes(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layout: str) -> Sizes:
    """The sizes of a call, checked against one another. q, k, v are 4-D as layout says. Raises ValueError."""
    b, h, s = axes(layout)
    order = _ORDER[layout]
    rank(q, k, v, layout)
    if k.shape != v.shape:
        raise ValueError(f"expected k and v of one shape, got {list(k.shape)} and {list(v.shape)}")
    if q.shape[b] != k.shape[b]:
        raise ValueError(f"expected q, k and v of one batch size, got {q.shape[b]} in q and {k.shape[b]} in k and v ({order})")
    if q.shape[3] != k.shape[3]:
        raise ValueError(f"expected q, k and v of one head_dim, got {q.shape[3]} in q and {k.shape[3]} in k and v ({order})")
    out = Sizes(q.shape[b], q.shape[h], k.shape[h], q.shape[s], k.shape[s], q.shape[3])
    if not out.q_heads or not out.kv_heads or out.q_heads % out.kv_heads:
        raise ValueError(
            f"expected the heads of q to be a multiple of the heads of k and v, got {out.q_heads} and {out.kv_heads} "
            f"(layout {layout!r}: {order})"
        )
    return out


def alike(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    """Checks types and devices. Raises ValueError."""
    for name, t in (("q", q), ("k", k), ("v", v)):
        if t.dtype not in (torch.bfloat16, torch.float16):
            raise ValueError(f"expected {name} of dtype bfloat16 or float16, got {word(t.dtype)}")
        if t.dtype != q.dtype:
            raise ValueError(f"expected q, k and v of one dtype, got {word(q.dtype)} in q and {word(t.dtype)} in {name}")
        if t.device != q.device:
            raise ValueError(f"expected q, k and v on one device, got {q.device} for q and {t.device} for {name}")


def strides(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    """Checks strides of 4-D tensors. Raises ValueError."""
    for name, t in (("q", q), ("k", k), ("v", v)):
        if t.numel():
            _strides(name, t)


def _strides(name: str, t: torch.Tensor) -> None:
    if t.stride(3) != 1 and t.shape[3] > 1:
        raise ValueError(
            f"expected the last dimension of {name} to be contiguous (stride 1), got strides {t.stride()}: use {name}.contiguous()"
        )
    outer = [(n, stride) for n, stride in zip(t.shape[:3], t.stride()[:3]) if n > 1]
    if any(stride % 8 for _, stride in outer):
        raise ValueError(
            f"expected strides of {name} that are multiples of 8 elements (16 bytes), got {t.stride()}: "
            f"use {name}.contiguous(), or pad the rows"
        )
    if outer and not any(stride for _, stride in outer):
        raise ValueError(f"{name} is one row, expanded in all dimensions (strides {t.stride()}): use {name}.contiguous()")


def whole(name: str, value: int) -> int:
    """A number that the C library takes as an int32. Raises ValueError."""
    if not 0 <= value <= LONGEST:
        raise ValueError(f"{name} is {value}, want 0 to {LONGEST}")
    return value


def word(dtype: torch.dtype) -> str:
    """A dtype as torch's own errors call it: float32."""
    return str(dtype).removeprefix("torch.")
