"""merge: partial results of attention over parts of the keys, put together by their LSE."""

from __future__ import annotations

import torch


def merge(outputs: torch.Tensor, lses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention over the union of disjoint sets of keys, from attention over each of them.

    outputs [parts, ..., head_dim], lses float32 [parts, ...], natural logarithms. A part that keeps no key has 0 and -inf. Returns O [...,
    head_dim] of the outputs' dtype and the LSE [...], computed in float32: O = sum of exp(lse_i - lse) O_i (FlashDecoding's reduction).
    """
    lse = torch.logsumexp(lses, 0)
    weights = torch.exp(lses - torch.where(torch.isinf(lse), torch.zeros_like(lse), lse))
    return (weights.unsqueeze(-1) * outputs.float()).sum(0).to(outputs.dtype), lse
