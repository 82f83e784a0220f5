"""attention, compile, chosen and counters."""

from __future__ import annotations

import json
from typing import Any, Literal, overload

import torch

from . import _op
from ._calls import attention_of, runs
from ._device import EMULATOR, index_of
from ._lengths import attend
from ._spec import Pattern, spec_of

Layout = Literal["bhsd", "bshd"]


@overload
def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    pattern: Pattern = ...,
    *,
    layout: Layout = ...,
    q_offset: int | torch.Tensor = ...,
    scale: float | None = ...,
    return_lse: Literal[False] = ...,
    fallback: bool = ...,
    cu_seqlens: torch.Tensor | None = ...,
    cu_seqlens_k: torch.Tensor | None = ...,
    lengths: torch.Tensor | None = ...,
    lengths_k: torch.Tensor | None = ...,
    starts: torch.Tensor | None = ...,
    starts_k: torch.Tensor | None = ...,
    max_seqlen: int | None = ...,
    max_seqlen_k: int | None = ...,
    **params: int,
) -> torch.Tensor: ...
@overload
def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    pattern: Pattern = ...,
    *,
    layout: Layout = ...,
    q_offset: int | torch.Tensor = ...,
    scale: float | None = ...,
    return_lse: Literal[True],
    fallback: bool = ...,
    cu_seqlens: torch.Tensor | None = ...,
    cu_seqlens_k: torch.Tensor | None = ...,
    lengths: torch.Tensor | None = ...,
    lengths_k: torch.Tensor | None = ...,
    starts: torch.Tensor | None = ...,
    starts_k: torch.Tensor | None = ...,
    max_seqlen: int | None = ...,
    max_seqlen_k: int | None = ...,
    **params: int,
) -> tuple[torch.Tensor, torch.Tensor]: ...
def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    pattern: Pattern = "vertical_slash",
    *,
    layout: Layout = "bhsd",
    q_offset: int | torch.Tensor = 0,
    scale: float | None = None,
    return_lse: bool = False,
    fallback: bool = True,
    cu_seqlens: torch.Tensor | None = None,
    cu_seqlens_k: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    lengths_k: torch.Tensor | None = None,
    starts: torch.Tensor | None = None,
    starts_k: torch.Tensor | None = None,
    max_seqlen: int | None = None,
    max_seqlen_k: int | None = None,
    **params: int,
) -> Any:
    """Sparse attention.

    q        [batch, q_heads, rows, head_dim], or [batch, rows, q_heads, head_dim] with layout "bshd"; bfloat16 or float16.
    k, v     [batch, kv_heads, keys, head_dim], likewise; q_heads is a multiple of kv_heads. Any strides with a contiguous last dimension
             that are multiples of 8 elements: views of packed projections and of caches are read in place.
    pattern  a name of the library ("dense", "a_shape", "vertical_slash", ...), a source text in the language, a layer of a Plan, or a
             spec (JSON).
    params   of the pattern, whole numbers: vertical=1000, slash=6096. What is left out has the pattern's default.
    q_offset the position of the first query: for a chunk of a prompt whose p first tokens are in a cache, p. Keys begin at 0.
    scale    of the softmax, 1/sqrt(head_dim) unless given.
    fallback False keeps heads sparse where dense attention is predicted to be faster.

    Lengths in tensors, int32 on the device of q, serve batches of several lengths in one launch. Kernels read them there: nothing waits,
    and a CUDA graph serves all lengths that its tensors have room for. Rows beyond a length count for nothing.

    cu_seqlens  [n+1], cumulative from 0: q is [rows, q_heads, head_dim], k and v [keys, kv_heads, head_dim], of n sequences that follow each
                other; layout is not looked at. cu_seqlens_k is the same for keys, where these are not of the rows of the queries. O is like
                q, the LSE [q_heads, rows]; rows behind the last sequence are not written.
    lengths     [batch]: how many rows of its batch entry a sequence has, from row starts [batch] on (0 unless given); lengths_k and
                starts_k are the same for keys. Without lengths_k the keys end with the last query. Other rows are 0 in O, -inf in the LSE.
    q_offset    may be a tensor [batch] or [n], such as the position in a static cache.
    max_seqlen  and max_seqlen_k: the most rows and keys of a sequence, all that the tensors have unless given. Grids and workspace are
                made for them, and longer sequences are cut: give them for cu_seqlens.

    Returns O like q, [batch, rows, q_heads, head_dim] in memory whatever the layout; with return_lse also the natural logarithm of the
    softmax denominators, float32 [batch, q_heads, rows]. Rows that keep no key are 0 and -inf.

    CUDA tensors run on torch's current stream, without a copy and without waiting; CPU tensors on the emulator, slowly. The first call of a
    pattern compiles it: minfc.compile does that at start-up. Raises ValueError where the call is wrong, RuntimeError where the device is or
    where a tensor requires grad, TypeError for arguments of other types. After an error nothing was enqueued.
    """
    spec = spec_of(pattern, params)
    in_shape = cu_seqlens is cu_seqlens_k is lengths is lengths_k is starts is starts_k is None
    if in_shape and max_seqlen is max_seqlen_k is None and not isinstance(q_offset, torch.Tensor):
        return _call(q, k, v, spec, layout, q_offset, scale, return_lse, fallback)
    if in_shape and not isinstance(q_offset, torch.Tensor):
        raise ValueError("max_seqlen goes with lengths in tensors: cu_seqlens, lengths, or a tensor of q_offset")
    numbers = (cu_seqlens, cu_seqlens_k, lengths, lengths_k, starts, starts_k)
    return attend(q, k, v, spec, layout, q_offset, _scale(scale), return_lse, fallback, *numbers, max_seqlen, max_seqlen_k)


def _scale(scale: float | None) -> float:
    if scale is None:
        return 0.0
    if not scale > 0:
        raise ValueError(f"scale is {scale}, want a positive number, or None for 1/sqrt(head_dim)")
    return scale


def _call(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    spec: str,
    layout: str,
    q_offset: int,
    scale: float | None,
    return_lse: bool,
    fallback: bool,
) -> Any:
    scale = 0.0 if scale is None else _scale(scale)
    if _op.is_eager(q, k, v):
        o, lse = _op.launch(q, k, v, spec, scale, q_offset, layout, fallback, return_lse)
        return (o, lse) if return_lse else o
    op = _op.attention_lse if return_lse else _op.attention
    return op(q, k, v, spec, scale, q_offset, layout, fallback)


class Compiled:
    """A pattern that is compiled and loaded for the heads of a layer. It is called as minfc.attention is, without pattern and parameters.

    spec is its JSON, for torch.ops.minfc.attention.
    """

    def __init__(self, spec: str, q_heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device | str):
        self.spec = spec
        attention_of(index_of(device), spec, q_heads, kv_heads, head_dim, dtype)

    @overload
    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        layout: Layout = ...,
        q_offset: int = ...,
        scale: float | None = ...,
        return_lse: Literal[False] = ...,
        fallback: bool = ...,
    ) -> torch.Tensor: ...
    @overload
    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        layout: Layout = ...,
        q_offset: int = ...,
        scale: float | None = ...,
        return_lse: Literal[True],
        fallback: bool = ...,
    ) -> tuple[torch.Tensor, torch.Tensor]: ...
    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        layout: Layout = "bhsd",
        q_offset: int = 0,
        scale: float | None = None,
        return_lse: bool = False,
        fallback: bool = True,
    ) -> Any:
        """See minfc.attention."""
        return _call(q, k, v, self.spec, layout, q_offset, scale, return_lse, fallback)

    def __repr__(self) -> str:
        return f"minfc.Compiled({self.spec})"


def compile(
    pattern: Pattern = "vertical_slash",
    *,
    q_heads: int,
    kv_heads: int,
    head_dim: int,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cuda",
    **params: int,
) -> Compiled:
    """Compiles and loads a pattern at start-up, so that no call pays for it: tenths of a second, and seconds in the GPU's driver, unless it
    is in the user's cache (MINFC_CACHE).

    Returns a function to call like minfc.attention, which finds what was compiled here, too. Raises as minfc.attention does.
    """
    return Compiled(spec_of(pattern, params), q_heads, kv_heads, head_dim, dtype, device)


def counters() -> dict[str, int]:
    """How many runs of each attention there were in this process, by where and what: {"cuda:0 vertical_slash(slash=6096)": 32}.

    Runs count when they are enqueued; replays of CUDA graphs do not come here.
    """
    out: dict[str, int] = {}
    for attention, n in runs().items():
        key = f"{'emulator' if attention.device.index == EMULATOR else attention.device.name} {label(attention.spec)}"
        out[key] = out.get(key, 0) + n
    return out


def label(spec: str) -> str:
    """A spec in a few words: the pattern and its parameters, or the patterns of a layer with the number of its heads."""
    said = json.loads(spec)
    if "given" in said:
        return f"given lists ({said['given']})"
    if "plan" in said:
        plan = said["plan"]
        layer = (plan if isinstance(plan, list) else plan["layers"])[said["layer"]]
        return f"a layer of a plan with {len(layer)} heads"
    params = ", ".join(f"{name}={value}" for name, value in said.get("params", {}).items())
    name = said.get("pattern") or "a pattern of its own"
    return f"{name}({params})" if params else name
