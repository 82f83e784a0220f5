"""The mask function: it tells causal masks with padding from all others, and says where queries and keys lie.

Spans stand where a mask would: an int64 tensor [batch, 1, 1, 4] in host memory, for each sequence (offset, first, end, window). Query row
i sits at key row offset + i; keys first .. end - 1 are no padding; of these a query sees the ones up to its own row, and with a window
above 0 the last `window` of them. They have four dimensions so that transformers takes them for a mask that is ready, and they are
integers, which no mask for sdpa is.
"""

from __future__ import annotations

from typing import Any, Callable

import torch
from transformers.masking_utils import causal_mask_function, sdpa_mask, sliding_window_causal_mask_function
from transformers.utils.import_utils import is_tracing

from .. import parallel

FIELDS = 4  # offset, first, end, window


def mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | torch.Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    local_size: int | None = None,
    allow_is_causal_skip: bool = True,
    allow_is_bidirectional_skip: bool = False,
    **rest: Any,
) -> torch.Tensor | None:
    """What transformers gives to the attention function as its mask.

    None where it is causal from the first key on and nothing else, spans where it is causal with an offset, padding or a window, and sdpa's
    own mask [batch, 1, q_length, kv_length] for a single query and for everything else, with the reason in its attribute minfc_reason.
    Reads padding once, and an offset that a static cache has on the device: each waits for the device once.
    """

    def stock(reason: str | None) -> torch.Tensor | None:
        made: torch.Tensor | None = sdpa_mask(
            batch_size,
            q_length,
            kv_length,
            q_offset,
            kv_offset,
            mask_function,
            attention_mask,
            local_size,
            allow_is_causal_skip=allow_is_causal_skip,
            **rest,
        )
        if reason is not None and made is not None and not is_tracing(made):
            made.minfc_reason = reason  # type: ignore[attr-defined]
        return made

    if parallel.current() is not None:
        return _of_a_part(mask_function, attention_mask)
    if q_length == 1:
        return stock(None)
    if is_tracing(attention_mask):
        simple = allow_is_causal_skip and attention_mask is None and not isinstance(q_offset, torch.Tensor)
        if simple and q_offset == 0 and q_length == kv_length and (local_size is None or kv_length <= local_size):
            return None  # a window or chunk of at least all keys leaves out none of them
        return stock(None)
    window = _window(mask_function, local_size)
    if window is None:
        return stock(f"a mask that is not causal with padding: {_named(mask_function)}")
    made = _spans(batch_size, q_length, kv_length, int(q_offset) - kv_offset, window, _of_keys(attention_mask, kv_length, kv_offset))
    if made is None:
        return stock("padding between the tokens of a sequence")
    plain = [0, 0, q_length, 0]
    if q_length == kv_length and all(row == plain for row in made):
        return None
    return torch.tensor(made).view(batch_size, 1, 1, FIELDS)


# What masks of a part of a sequence are made of. Position ids that jump from one chunk to the next look like packed sequences.
_OF_A_PART = {"causal_mask_function", "sliding_window_overlay", "packed_sequence_mask_function"}


def _of_a_part(mask_function: Callable[..., Any], attention_mask: torch.Tensor | None) -> None:
    """No mask: where a rank's rows lie in a causal sequence is for parallel.ContextParallel to say. Raises ValueError for any other mask."""
    others = set(_named(mask_function).split(", ")) - _OF_A_PART
    if others:
        raise ValueError(f"a mask that is not causal ({', '.join(sorted(others))}): ranks that hold a part of a sequence each do not compute it")
    if attention_mask is not None:
        raise ValueError("attention_mask over ranks that hold a part of a sequence each: leave it out, a prompt has no padding there")


def is_spans(mask: Any) -> bool:
    """Whether a mask is spans."""
    return isinstance(mask, torch.Tensor) and mask.dtype == torch.int64 and mask.ndim == 4 and mask.shape[1:] == (1, 1, FIELDS)


def as_stock(spans: torch.Tensor, q_length: int, k_length: int, device: torch.device) -> torch.Tensor:
    """The mask [batch, 1, q_length, k_length] of spans, True where a key is seen. Made once a forward for all layers."""
    key = (q_length, k_length, device)
    compiling = torch.compiler.is_compiling()
    made = None if compiling else getattr(spans, "minfc_stock", None)
    if made is not None and made[0] == key:
        known: torch.Tensor = made[1]
        return known
    offset, first, end, window = (x.unsqueeze(-1) for x in spans.to(device).unbind(-1))
    q = torch.arange(q_length, device=device).view(1, 1, -1, 1) + offset
    k = torch.arange(k_length, device=device)
    keep = (k <= q) & (k >= first) & (k < end) & ((window == 0) | (k > q - window))
    if not compiling:
        spans.minfc_stock = (key, keep)  # type: ignore[attr-defined]
    return keep


def _window(mask_function: Callable[..., Any], local_size: int | None) -> int | None:
    """The window of a causal mask, 0 for one without, None for other masks."""
    if mask_function is causal_mask_function:
        return 0
    if local_size is not None and _same(mask_function, sliding_window_causal_mask_function(local_size)):
        return local_size
    return None


def _same(a: Any, b: Any) -> bool:
    """Whether two functions have the same code over equal values. Masks are closures that transformers makes anew each time."""
    if not (callable(a) and callable(b) and hasattr(a, "__code__") and hasattr(b, "__code__")):
        return type(a) is type(b) and not isinstance(a, torch.Tensor) and bool(a == b)
    return a.__code__ is b.__code__ and _all_same(_held(a), _held(b))


def _all_same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b))


def _held(f: Any) -> list[Any]:
    """What a function's closure holds, with tuples taken apart."""
    out: list[Any] = []
    for cell in f.__closure__ or ():
        value = cell.cell_contents
        out += value if isinstance(value, tuple) else [value]
    return out


def _named(f: Any) -> str:
    """The names of the functions that a mask is made of."""
    parts = [x for x in _held(f) if callable(x)] if hasattr(f, "__code__") else []
    return ", ".join(_named(x) for x in parts) if parts else getattr(f, "__qualname__", type(f).__name__).split(".<locals>")[0]


def _of_keys(attention_mask: torch.Tensor | None, kv_length: int, kv_offset: int) -> torch.Tensor | None:
    """The columns of a padding mask [batch, tokens] that the keys have."""
    return None if attention_mask is None else attention_mask[:, kv_offset : kv_offset + kv_length].bool()


def _spans(batch: int, q_length: int, kv_length: int, offset: int, window: int, padding: torch.Tensor | None) -> list[list[int]] | None:
    """Spans as lists, or None where a sequence has padding between its tokens."""
    last = min(kv_length, offset + q_length)  # no query sees a key beyond its own row
    runs = [[0, last]] * batch if padding is None else _runs(padding[:, :last])
    if runs is None:
        return None
    if last <= window:
        window = 0  # it leaves out no key
    return [[offset, first, end, window] for first, end in runs]


def _runs(padding: torch.Tensor) -> list[list[int]] | None:
    """First token and end of each row [batch, keys], or None where a row is not one run of tokens. One copy from the device."""
    keys = padding.shape[1]
    tokens = padding.sum(-1)
    first = padding.int().argmax(-1)
    end = keys - padding.flip(-1).int().argmax(-1)
    rows = torch.stack([tokens, first, end], -1).tolist()
    if any(n and e - f != n for n, f, e in rows):
        return None
    return [[f, e] if n else [0, 0] for n, f, e in rows]
