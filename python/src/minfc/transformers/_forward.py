"""The attention function: minfc where it can compute a layer's call, transformers' sdpa elsewhere, and a note of which and why."""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from .. import parallel
from .._attention import attention
from .._recall import kept_mass
from .._spec import spec_of
from ._layers import Layer, layer_of, window_of
from ._masks import as_stock, is_spans


def attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a layer, as transformers calls it: query [batch, heads, rows, dim], key and value [batch, kv heads, keys, dim].

    Gives [batch, rows, heads, dim] and no weights. Rows of padding are zeros where minfc computes. Raises RuntimeError under autograd and
    ValueError for what neither kernel computes.
    """
    layer = layer_of(module)
    _refuse(query, key, value, dropout, rest)
    if layer.observe is not None:
        layer.observe(module, query, key, value, scaling)
    if (sequence := parallel.current()) is not None:
        return _in_context(*sequence, module, layer, query, key, value, scaling), None
    spans = attention_mask if is_spans(attention_mask) else None
    reason = _stock_reason(module, layer, query, key, attention_mask, rest)
    if reason is not None:
        layer.note("stock", reason)
        if spans is not None:
            attention_mask = as_stock(spans, query.shape[2], key.shape[2], query.device)
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest)
    if spans is None:
        layer.note("minfc", "prompt")
        return _run(layer, query, key, value, scaling, 0, 0).transpose(1, 2), None
    return _by_spans(layer, query, key, value, scaling, spans.view(len(spans), -1).tolist()), None


def _refuse(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float, rest: dict[str, Any]) -> None:
    """Raises where sdpa, too, would leave something out without a word, and under autograd."""
    if torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad):
        raise RuntimeError("minfc is inference only: call the model under torch.no_grad() or torch.inference_mode()")
    if dropout:
        raise ValueError(f"dropout is {dropout}, and minfc has none: call model.eval()")
    for name, what in _REFUSED.items():
        if (given := rest.get(name)) is not None and given is not False:
            raise ValueError(f'attention with {what} ({name}): minfc does not compute it; use attn_implementation="eager"')


_REFUSED = {"softcap": "a soft cap of scores", "s_aux": "sink logits", "output_attentions": "weights as a result"}


def _stock_reason(
    module: torch.nn.Module, layer: Layer, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, rest: dict[str, Any]
) -> str | None:
    """Why sdpa computes the call, or None where minfc does."""
    causal = rest.get("is_causal")
    rows, keys = query.shape[2], key.shape[2]
    if rows == 1:
        return "one query"
    if not (getattr(module, "is_causal", True) if causal is None else causal):
        return "attention both ways"
    if rest.get("position_bias") is not None:
        return "a position bias"
    if is_spans(mask):
        if torch.compiler.is_compiling():
            return "offsets of a graph that is compiled"
    elif mask is not None:
        if torch.compiler.is_compiling():
            return "a mask of a graph that is compiled"
        return getattr(mask, "minfc_reason", "a mask of its own")
    elif rows != keys:
        return "an unknown offset: the model did not ask for a mask"
    if rows < layer.min_queries:
        return f"fewer than {layer.min_queries} queries"
    return None


def _run(
    layer: Layer, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, offset: int, window: int
) -> torch.Tensor:
    """Attention of sequences whose queries all begin at one offset: [batch, heads, rows, dim]."""
    _check_heads(layer, query)
    spec = _spec(layer, window)
    if not layer.recall or torch.compiler.is_compiling():
        return attention(query, key, value, spec, q_offset=offset, scale=scaling, fallback=layer.fallback)
    out, lse = attention(query, key, value, spec, q_offset=offset, scale=scaling, fallback=layer.fallback, return_lse=True)
    layer.look(kept_mass(query, key, value, lse, spec, rows=layer.recall, q_offset=offset, scale=scaling))
    return out


def _in_context(
    context: parallel.ContextParallel, length: int, module: Any, layer: Layer, query: Any, key: Any, value: Any, scaling: float | None
) -> torch.Tensor:
    """Attention of this rank's rows of a sequence: [batch, rows, heads, dim]. Raises ValueError where the call is none of a whole prompt."""
    if torch.compiler.is_compiling():
        raise RuntimeError("a model of torch.compile over ranks that hold a part of the sequence each: call the model itself")
    if query.shape[2] != key.shape[2]:
        raise ValueError("a call with a cache that is not empty: over ranks that hold a part of the sequence each a prompt comes in one piece")
    _check_heads(layer, query)
    layer.note("minfc", "part of a sequence")
    window = window_of(module) or 0
    spec = _spec(layer, window if window < length else 0)
    return context.attention(query, key, value, spec, length=length, scale=scaling).transpose(1, 2)


def _spec(layer: Layer, window: int) -> str:
    return spec_of("sliding", {"window": window}) if window else layer.spec


def _check_heads(layer: Layer, query: torch.Tensor) -> None:
    """Raises ValueError where a head plan meets other heads than install found in the model."""
    if layer.planned and layer.heads is not None and query.shape[1] != layer.heads.q_heads:
        raise ValueError(
            f"a call with {query.shape[1]} query heads of a layer where minfc.install found {layer.heads.q_heads}: split a model among ranks by "
            "the tp_plan of from_pretrained, before minfc.install, or install a pattern for all heads"
        )


def _by_spans(
    layer: Layer, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, spans: list[list[int]]
) -> torch.Tensor:
    """Attention of a batch by its spans: [batch, rows, heads, dim], zeros in rows of padding.

    One launch. Spans that differ go along in tensors: kernels for that are compiled when they are first needed.
    """
    layer.note("minfc", _kind(spans, query.shape[2]))
    offset, first, end, window = spans[0]
    rows = query.shape[2]
    if all(x == spans[0] for x in spans) and first <= offset and end >= offset + rows:
        return _run(layer, query, key[:, :, first:end], value[:, :, first:end], scaling, offset - first, window).transpose(1, 2)
    _check_heads(layer, query)
    sizes = [_rows_of(*span[:3], rows) for span in spans]
    begins, counts, firsts, keys, offsets = torch.tensor(sizes, dtype=torch.int32).t().contiguous().to(query.device)
    out = attention(
        query, key, value, _spec(layer, window), q_offset=offsets, scale=scaling, fallback=layer.fallback,
        lengths=counts, starts=begins, lengths_k=keys, starts_k=firsts,
    )  # fmt: skip
    return out.transpose(1, 2)


def _rows_of(offset: int, first: int, end: int, rows: int) -> tuple[int, int, int, int, int]:
    """Of a sequence of the batch: its first row of the queries and how many it has, its first row of the keys and how many they are, and the
    position of its first query among them."""
    begin, behind = max(first - offset, 0), min(end - offset, rows)
    if begin >= behind:  # a sequence of padding alone
        return 0, 0, 0, 0, 0
    return begin, behind - begin, first, offset + behind - first, offset + begin - first


def _kind(spans: list[list[int]], rows: int) -> str:
    """Spans in words, for the report."""
    words = ["chunk" if spans[0][0] else "prompt"]
    if any(first or end < offset + rows for offset, first, end, _ in spans):
        words.append("padded batch")
    if spans[0][3]:
        words.append(f"window of {spans[0][3]}")
    return ", ".join(words)
