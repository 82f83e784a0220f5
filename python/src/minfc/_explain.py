"""explain: what a call is expected to take on a machine, without a device. chosen: what a call chose, on its device."""

from __future__ import annotations

import dataclasses
import json
from ctypes import byref
from typing import Any

import torch

from . import _check, _op
from ._attention import Layout, label
from ._calls import heads_of
from ._library import Pointers, Shape, in_parent, lib, text
from ._spec import Pattern, spec_of


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What the cost model expects of a call. Times are milliseconds on the GPU.

    The time lies between low_ms and high_ms, whatever the data would choose: they are equal for patterns that no data decides.
    runs_dense: all heads fall back to dense attention, which takes dense_ms.
    """

    pattern: str
    seqlen: int
    machine: str
    target: str
    low_ms: float
    high_ms: float
    dense_ms: float
    runs_dense: bool

    def __str__(self) -> str:
        took = f"{self.low_ms:.3g} ms" if self.high_ms <= self.low_ms else f"{self.low_ms:.3g} to {self.high_ms:.3g} ms"
        if self.runs_dense:
            verdict = "dense attention runs instead, which is predicted to be faster"
        else:
            verdict = f"dense attention would take {self.dense_ms:.3g} ms"
        return f"{self.pattern} at {self.seqlen} tokens on {self.machine} ({self.target}): {took}; {verdict}"


def explain(
    pattern: Pattern = "vertical_slash",
    *,
    q_heads: int,
    kv_heads: int,
    head_dim: int,
    seqlen: int,
    keys: int | None = None,
    batch: int = 1,
    q_offset: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
    machine: str = "",
    fallback: bool = True,
    **params: int,
) -> Estimate:
    """What a call is expected to take on a machine. No device is needed.

    seqlen is the number of queries, keys the number of keys (as many unless given), q_offset the position of the first query (the last
    queries of the keys' sequence unless given). machine is one that the cost model knows, "H200" unless given. Raises ValueError.
    """
    keys = seqlen if keys is None else keys
    q_offset = max(keys - seqlen, 0) if q_offset is None else q_offset
    spec = spec_of(pattern, params)
    shape = Shape(
        batch=_check.whole("batch", batch),
        seq_q=_check.whole("seqlen", seqlen),
        seq_k=_check.whole("keys", keys),
        q_offset=_check.whole("q_offset", q_offset),
        no_fallback=not fallback,
    )
    in_parent()
    heads = heads_of(q_heads, kv_heads, head_dim, dtype)
    said = json.loads(text(lib.minfc_estimate, spec.encode(), byref(heads), byref(shape), machine.encode()))
    return Estimate(label(spec), seqlen, **said)


@dataclasses.dataclass(frozen=True)
class Head:
    """What a head of a batch entry did. columns, diagonals and blocks are how many the data chose.

    dense: it fell back to dense attention, which was predicted to take dense_ms instead of sparse_ms. A head whose pattern no data decides
    has False and zeros. Of a pattern with a skip, tiles are how many the head met, and tiles_left_out how many of them were left out.
    """

    dense: bool
    sparse_ms: float
    dense_ms: float
    columns: int
    diagonals: int
    blocks: int
    tiles: int = 0
    tiles_left_out: int = 0


def chosen(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    pattern: Pattern = "vertical_slash",
    *,
    layout: Layout = "bhsd",
    q_offset: int = 0,
    scale: float | None = None,
    fallback: bool = True,
    **params: int,
) -> list[list[Head]]:
    """Runs minfc.attention with these arguments, waits, and says what each head chose, [batch][q_heads], or [] where nothing is computed.
    The output is dropped.

    It is for looking at inputs; what a head chooses depends on its queries and keys alone, so a call of attention does the same. Raises as
    minfc.attention does.
    """
    said: list[dict[str, Any]] = []

    def read(call: int, pointers: Pointers, stream: int) -> None:
        said.extend(json.loads(text(lib.minfc_chosen, call, byref(pointers), stream))["heads"])

    _op.launch(q, k, v, spec_of(pattern, params), scale or 0.0, q_offset, layout, fallback, False, read)
    heads = [Head(**one) for one in said]
    per = len(heads) // q.shape[0] if q.shape[0] else 0
    return [heads[i : i + per] for i in range(0, len(heads), per or 1)]
