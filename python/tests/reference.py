"""Attention by a mask in float64, and the masks of library patterns by the rules in their headers (patterns/*.minf)."""

import math

import torch

TOLERANCE = {torch.bfloat16: 4e-3, torch.float16: 6e-4}  # relative norm; rounding q, p and o to the type gives about half of it


def masked(q, k, v, mask, scale=None):
    """O [B, Hq, Sq, D] and LSE [B, Hq, Sq] in float64. q [B, Hq, Sq, D], k and v [B, Hk, Sk, D]; mask [..., Sq, Sk] says what is kept."""
    group = q.shape[1] // k.shape[1]
    q, k, v = q.double(), k.double().repeat_interleave(group, 1), v.double().repeat_interleave(group, 1)
    logits = (q @ k.transpose(2, 3)) * (scale or 1 / math.sqrt(q.shape[3]))
    logits = logits.masked_fill(~mask, -math.inf)
    lse = logits.logsumexp(3)
    p = (logits - lse.nan_to_num(neginf=0.0)[..., None]).exp()
    return p @ v, lse


def close(got, want):
    """Whether an output is the reference but for its type's rounding, and finite."""
    error = (got.double() - want).norm() / want.norm()
    assert error < TOLERANCE[got.dtype], f"relative error {error:.2e}"
    return True


def close_lse(got, want):
    """Whether an LSE is the reference's."""
    assert got.dtype == torch.float32
    assert torch.equal(got.isinf(), want.isinf())
    error = (got.double() - want).nan_to_num().abs().max()
    assert error < 1e-3, f"largest difference {error:.2e}"
    return True


def positions(rows, keys, q_offset=0):
    """Positions of queries [rows, 1] and of keys [1, keys]."""
    return q_offset + torch.arange(rows)[:, None], torch.arange(keys)[None]


def causal(rows, keys, q_offset=0):
    at, key = positions(rows, keys, q_offset)
    return key <= at


def a_shape(rows, keys, sink, window, q_offset=0):
    at, key = positions(rows, keys, q_offset)
    return (key <= at) & ((key < sink) | (at - key < window))


def vertical_slash(q, k, vertical, slash):
    """What one head keeps, [N, N], and the smallest gap between what was and was not chosen. q and k are [N, D]."""
    n = q.shape[0]
    last = min(64, n)
    at, key = positions(last, n, n - last)
    logits = (q[-last:].double() @ k.double().T) / math.sqrt(q.shape[1])
    p = logits.masked_fill(key > at, -math.inf).softmax(1)
    columns = p.sum(0)
    diagonals = torch.zeros(n, dtype=torch.float64).index_put_(((at - key).clamp(min=0).flatten(),), p.flatten(), accumulate=True)
    chosen_columns, gap_columns = top(columns, vertical, 30)
    chosen_diagonals, gap_diagonals = top(diagonals, slash, 100)
    at, key = positions(n, n)
    keep = (key <= at) & (chosen_columns[None, :] | cover(chosen_diagonals))
    return keep, min(gap_columns, gap_diagonals)


def top(worth, budget, first):
    """The members of the budget's best, the first ones always among them, as a mask; and the gap at the edge."""
    worth = worth.clone()
    worth[:first] = math.inf
    budget = min(max(budget, first), len(worth))
    order = worth.sort(descending=True)
    out = torch.zeros(len(worth), dtype=torch.bool)
    out[order.indices[:budget]] = True
    gap = math.inf if budget in (first, len(worth)) else (order.values[budget - 1] / order.values[budget] - 1).item()
    return out, gap


def cover(distances):
    """The pairs [N, N] that tiles over chosen distances keep (ir/index.go): they lie relative to a block of 64 rows, and do not overlap."""
    n = len(distances)
    covered = torch.zeros(n + 192, dtype=torch.bool)  # by delta, the distance from the block's last row
    last = -math.inf  # the tile begins so far before the block's first row
    for d in distances.nonzero().flatten().tolist():
        if d > last:
            last = last + 64 if d <= last + 64 else d
            covered[last : last + 64] = True
    at, key = positions(n, n)
    delta = at // 64 * 64 - key + 63
    return (delta >= 0) & covered[delta.clamp(min=0)]
