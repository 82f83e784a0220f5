"""generate and caches: a dense plan gives stock tokens, and a prompt in chunks stock logits."""

import pytest
import torch

import minfc
from families import PROMPT, error, model, padded, prompts

transformers = pytest.importorskip("transformers")

NEW = 6
CHUNK = 130  # so that the second chunk, of 130 rows, is above the least that minfc runs
TOLERANCE = 4e-3  # see test_hf_families.py

CACHES = {
    "dynamic": {},
    "none": {"use_cache": False},
    "static": {"cache_implementation": "static"},
    "dynamic, chunks": {"prefill_chunk_size": CHUNK},
    "static, chunks": {"prefill_chunk_size": CHUNK, "cache_implementation": "static"},
}


def batches():
    """One prompt, and three of other lengths with padding on the left, as generate wants it."""
    ids = prompts(tokens=2 * CHUNK)
    return {"one": (ids, torch.ones_like(ids)), "padded": padded([2 * CHUNK, 141, 60])}


def tokens(m, cache):
    """What generate makes of each batch, greedily: tokens, and the logits of the first one."""
    out = {}
    for name, (ids, mask) in batches().items():
        made = m.generate(
            ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, output_logits=True, return_dict_in_generate=True, **CACHES[cache]
        )
        out[name] = made.sequences[:, ids.shape[1] :], made.logits[0]
    return out


# Llama with every cache; families whose layers slide with caches that forget: the others differ from Llama in projections alone.
@pytest.mark.parametrize(
    "family, cache",
    [("Llama", c) for c in CACHES] + [(f, c) for f in ("Mistral", "Gemma3") for c in ("dynamic", "static, chunks")],
)
def test_generate_gives_stock_tokens(family, cache):
    m = model(family)
    want = tokens(m, cache)
    minfc.install(m, "dense")
    got = tokens(m, cache)
    for name in want:
        assert error(got[name][1], want[name][1]) < TOLERANCE, name
        assert torch.equal(got[name][0], want[name][0]), name
    total = minfc.report(m).total
    assert sum(n for (where, _), n in total.items() if where == "minfc") >= 4  # both layers, both batches
    assert {why for where, why in total if where == "stock"} <= {"one query"}, total
    if "chunks" in cache:
        assert any(why.startswith("chunk") for _, why in total), total


def test_tokens_depend_on_attention():
    """A pattern that keeps next to nothing gives other tokens: the test above would see it."""
    m = model()
    want = tokens(m, "dynamic")["one"][0]
    assert not torch.equal(tokens(minfc.install(m, "sliding", window=2), "dynamic")["one"][0], want)


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_chunks_give_the_logits_of_the_whole(static):
    """A prompt in three chunks over a cache, which a static one has in device memory, against stock attention at once."""
    m = model()
    ids = prompts(tokens=400)
    want = m(ids).logits
    minfc.install(m, "dense")
    cache = transformers.StaticCache(config=m.config, max_cache_len=512) if static else transformers.DynamicCache(config=m.config)
    if static:
        m(prompts(tokens=512, seed=9), past_key_values=cache)  # what a cache held before is beyond what it holds now
        for layer in cache.layers:
            layer.cumulative_length.zero_()
    got = torch.cat([m(chunk, past_key_values=cache).logits for chunk in ids.split([130, 140, 130], 1)], 1)
    assert error(got, want) < TOLERANCE
    assert ("minfc", "chunk") in minfc.report(m).total


def test_sparse_chunks_are_the_sparse_whole():
    """A static pattern keeps the same pairs whatever the chunks are."""
    m = minfc.install(model(), "a_shape", sink=5, window=90)
    ids = prompts(tokens=260)
    want = m(ids).logits
    cache = transformers.DynamicCache(config=m.config)
    got = torch.cat([m(chunk, past_key_values=cache).logits for chunk in ids.split(130, 1)], 1)
    assert error(got, want) < TOLERANCE


def test_right_padding():
    """A sequence in a padded batch has the logits that it has alone, on whichever side the padding is."""
    m = minfc.install(model(), "a_shape", sink=5, window=90)
    lengths = [PROMPT, 141, 190]
    for side in ("left", "right"):
        ids, mask = padded(lengths, side)
        got = m(ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(0)).logits
        for row, (tokens_, keep) in enumerate(zip(ids, mask.bool())):
            assert error(got[row, keep], m(tokens_[keep][None]).logits[0]) < TOLERANCE, (side, row)
