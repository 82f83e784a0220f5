"""The mask function and the attention function against transformers' own, over offsets, padding, windows and caches that hold more."""

import random

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import minfc

minfc_transformers = pytest.importorskip("minfc.transformers")

from transformers import masking_utils as hf

from minfc.transformers._forward import attention_forward
from minfc.transformers._layers import Layer
from minfc.transformers._masks import as_stock, is_spans, mask

from families import error

Q, DIM = 130, 16


class Attention(torch.nn.Module):
    """What the attention function asks of a module."""

    def __init__(self):
        super().__init__()
        self.is_causal, self.layer_idx, self.head_dim, self.num_key_value_groups = True, 0, DIM, 2


def dense():
    return running("dense")


def running(pattern, **params):
    """A module that runs a pattern, without fallback."""
    module = Attention()
    module.minfc_layer = Layer(minfc.spec_of(pattern, params), fallback=False)
    return module


def causal(window=None):
    return hf.causal_mask_function if window is None else hf.sliding_window_causal_mask_function(window)


def runs(keys, tokens):
    """A padding mask [batch, keys] with tokens first .. end - 1 of each row."""
    out = torch.zeros(len(tokens), keys, dtype=torch.bool)
    for row, (first, end) in zip(out, tokens):
        row[first:end] = True
    return out


# name: offset of the queries, keys, rows of the cache before the first key, window, tokens of each sequence among all positions
CASES = {
    "prompt": (0, Q, 0, None, None),
    "chunk": (70, Q + 70, 0, None, None),
    "static": (70, 400, 0, None, None),
    "static, empty": (0, 400, 0, None, None),
    "left": (0, Q, 0, None, [(0, Q), (40, Q), (Q - 1, Q), (Q, Q)]),
    "right": (0, Q, 0, None, [(0, Q), (0, 60), (0, 1), (30, 90)]),
    "left, chunk": (70, Q + 70, 0, None, [(0, 200), (30, 200), (100, 200), (200, 200)]),
    "right, chunk": (70, Q + 70, 0, None, [(0, 200), (0, 120), (0, 71), (0, 50)]),
    "left, static": (70, 400, 0, None, [(0, 200), (30, 200), (100, 200), (200, 200)]),
    "all the same padding": (0, Q, 0, None, [(40, Q)] * 4),
    "window": (0, Q, 0, 50, None),
    "window, wide": (0, Q, 0, Q, None),
    "window, chunk": (70, Q + 70, 0, 50, None),
    "window, cut cache": (70, Q + 49, 21, 50, None),
    "window, cut cache, left": (70, Q + 49, 21, 50, [(0, 200), (30, 200), (100, 200), (199, 200)]),
    "window, left": (0, Q, 0, 50, [(0, Q), (40, Q), (90, Q), (Q, Q)]),
}


@pytest.mark.parametrize("on_device", [False, True], ids=["host", "tensor"])
@pytest.mark.parametrize("name", CASES)
def test_against_stock(name, on_device):
    spans = against_stock(Q, *CASES[name], on_device)
    assert spans != (name in ("prompt", "window, wide"))


def test_random_calls_against_stock():
    rng = random.Random(4)
    for _ in range(100):
        rows, offset = rng.choice([2, 17, 64, 65, 128, 150]), rng.choice([0, 1, 63, 64, 130])
        window, seen = rng.choice([None, 1, 2, 50, 64, 300]), offset + rows
        before = offset - window + 1 if window and offset >= window and rng.random() < 0.5 else 0
        keys = seen - before + (rng.choice([0, 1, 256]) if not before else 0)
        tokens = None
        if rng.random() < 0.6:
            tokens = [sorted([rng.choice([0, rng.randint(0, seen)]), rng.choice([seen, rng.randint(0, seen)])]) for _ in range(4)]
        against_stock(rows, offset, keys, before, window, tokens, rng.random() < 0.3)


def against_stock(queries, offset, keys, before, window, tokens, on_device):
    """Spans mean what sdpa's mask means, and attention by them is sdpa's, zeros in rows of padding. Returns whether there are spans."""
    said = f"{queries} queries at {offset}, {keys} keys after {before}, window {window}, tokens {tokens}, on the device: {on_device}"
    padding = None if tokens is None else runs(offset + queries, tokens)
    batch = 4
    q_offset = torch.tensor(offset) if on_device else offset
    arguments = (batch, queries, keys, q_offset, before, causal(window), padding, window)
    made = mask(*arguments)
    want = hf.sdpa_mask(*arguments, allow_is_causal_skip=False)
    rows = torch.ones(batch, queries, dtype=torch.bool) if padding is None else padding[:, offset:]
    if made is not None:
        assert is_spans(made) and made.device.type == "cpu", said
        got = as_stock(made, queries, keys, made.device).expand(want.shape)
        assert torch.equal(got[rows[:, None]], want[rows[:, None]]), said

    g = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(batch, h, n, DIM, generator=g).half() for h, n in ((4, queries), (2, keys), (2, keys)))
    beyond = offset + queries - before
    k[:, :, beyond:], v[:, :, beyond:] = torch.nan, torch.nan  # what a static cache has there means nothing
    module = dense()
    module.minfc_layer.min_queries = 1
    got, _ = attention_forward(module, q, k, v, made, scaling=0.3)
    k, v = k[:, :, :beyond].repeat_interleave(2, 1), v[:, :, :beyond].repeat_interleave(2, 1)
    ref = scaled_dot_product_attention(q.double(), k.double(), v.double(), attn_mask=want[..., :beyond], scale=0.3).transpose(1, 2)
    assert got.shape == ref.shape and got.is_contiguous(), said
    assert not rows.any() or error(got[rows], ref[rows]) < 1e-3, said
    assert torch.equal(got[~rows], torch.zeros_like(got[~rows])), said
    assert [where for where, _ in module.minfc_layer.counts] == ["minfc"], said
    return made is not None


def test_one_launch_for_a_batch():
    """A batch is one call, padded or not, also behind a cache."""
    x = torch.randn(3, 2, 200, DIM).half()
    for tokens in (None, [(0, 200), (3, 200), (5, 200)]):
        before = minfc.counters().get("emulator dense", 0)
        made = mask(3, Q, 200, 70, 0, causal(), None if tokens is None else runs(200, tokens))
        attention_forward(dense(), x[:, :, 70:], x, x, made)
        assert minfc.counters()["emulator dense"] - before == 1


@pytest.mark.parametrize("pattern, budget", [("vertical_slash", {"vertical": 40, "slash": 70}), ("full", {})])
def test_what_a_cache_has_beyond_is_not_there(pattern, budget):
    """Patterns see the keys that were written, not all that a static cache has room for: data does not choose them, and a pattern that is
    not causal does not keep them."""
    g = torch.Generator().manual_seed(3)
    q, k = (torch.randn(1, h, n, DIM, generator=g).half() for h, n in ((2, Q), (1, 400)))
    made = mask(1, Q, 400, 70, 0, causal())
    q, k[:, :, 70 + Q :] = q.abs(), 9.0  # keys that every query would look at
    got, _ = attention_forward(running(pattern, **budget), q, k, k, made)
    cut = k[:, :, : 70 + Q].clone()
    want = minfc.attention(q, cut, cut, pattern, q_offset=70, fallback=False, **budget)
    assert torch.equal(got, want.transpose(1, 2))


STOCK = {
    "packed": dict(mask_function=hf.and_masks(causal(), hf.packed_sequence_mask_function(torch.zeros(1, Q))), allow_is_causal_skip=False),
    "chunked": dict(mask_function=hf.chunked_causal_mask_function(40, torch.zeros(1, dtype=int)), local_size=40),
    "both ways": dict(mask_function=hf.bidirectional_mask_function, allow_is_causal_skip=False, allow_is_bidirectional_skip=True),
    "another window": dict(mask_function=causal(41), local_size=40),
    "no function": dict(mask_function=lambda b, h, q, k: k <= q, allow_is_causal_skip=False),
    "holes": dict(attention_mask=torch.arange(Q)[None] % 7 > 0),
}
REASONS = {
    "packed": "a mask that is not causal with padding: causal_mask_function, packed_sequence_mask_function",
    "chunked": "a mask that is not causal with padding: chunked_overlay, causal_mask_function",
    "both ways": "a mask that is not causal with padding: bidirectional_mask_function",
    "another window": "a mask that is not causal with padding: sliding_window_overlay, causal_mask_function",
    "no function": "a mask that is not causal with padding: <lambda>",
    "holes": "padding between the tokens of a sequence",
}


@pytest.mark.parametrize("name", STOCK)
def test_other_masks_are_stock(name):
    settings = STOCK[name]
    made = mask(1, Q, Q, **settings)
    want = hf.sdpa_mask(1, Q, Q, **{**settings, "allow_is_bidirectional_skip": False})
    assert torch.equal(made, want)
    module = dense()
    x = torch.randn(1, 2, Q, DIM).half()
    attention_forward(module, x, x[:, :1], x[:, :1], made)
    assert module.minfc_layer.counts == {("stock", REASONS[name]): 1}


def test_one_query_is_stock():
    made = mask(1, 1, 200, 199, 0, causal(), torch.ones(1, 200, dtype=torch.bool))
    assert made is None
    module = dense()
    x = torch.randn(1, 2, 200, DIM).half()
    attention_forward(module, x[:, :, :1], x[:, :1], x[:, :1], made)
    assert module.minfc_layer.counts == {("stock", "one query"): 1}


def test_an_unknown_offset_is_stock():
    """A model that asks for no mask says nothing about where its queries are."""
    module = dense()
    x = torch.randn(1, 2, 200, DIM).half()
    attention_forward(module, x[:, :, :Q], x[:, :1], x[:, :1], None)
    assert module.minfc_layer.counts == {("stock", "an unknown offset: the model did not ask for a mask"): 1}


@pytest.mark.parametrize("name, value", [("softcap", 30.0), ("s_aux", torch.zeros(2)), ("output_attentions", True)])
def test_what_sdpa_would_leave_out_is_an_error(name, value):
    x = torch.randn(1, 2, Q, DIM).half()
    with pytest.raises(ValueError, match=rf"\({name}\): minfc does not compute it"):
        attention_forward(dense(), x, x[:, :1], x[:, :1], None, **{name: value})


def test_dropout_is_an_error():
    x = torch.randn(1, 2, Q, DIM).half()
    with pytest.raises(ValueError, match="dropout is 0.1.*model.eval"):
        attention_forward(dense(), x, x[:, :1], x[:, :1], None, dropout=0.1)


def test_position_bias_is_stock():
    """As stock does it, from spans as well."""
    g = torch.Generator().manual_seed(0)
    x, bias = torch.randn(1, 2, 200, DIM, generator=g).half(), torch.randn(1, 2, Q, 200, generator=g).half()
    module = dense()
    made = mask(1, Q, 200, 70, 0, causal())
    got, _ = attention_forward(module, x[:, :, :Q], x[:, :1], x[:, :1], made, position_bias=bias)
    keep = hf.sdpa_mask(1, Q, 200, 70, 0, causal(), allow_is_causal_skip=False)
    k = x[:, :1].expand(-1, 2, -1, -1)
    want = scaled_dot_product_attention(x[:, :, :Q], k, k, attn_mask=bias.masked_fill(~keep, -torch.inf)).transpose(1, 2)
    assert error(got, want) < 2e-3
    assert module.minfc_layer.counts == {("stock", "a position bias"): 1}
