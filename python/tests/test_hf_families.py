"""Real model classes: a dense plan gives stock logits, sliding layers included."""

import pytest
import torch

import minfc
from families import FAMILIES, PROMPT, WINDOW, error, model, padded, prompts

minfc_transformers = pytest.importorskip("minfc.transformers")

# Logits of two layers. transformers' own sdpa and eager differ by 0.8e-3 to 4.5e-3 in float16, sdpa and minfc by up to 2e-3.
TOLERANCE = 4e-3
SUPPORTED = [f for f in FAMILIES if f != "Gemma2"]


@pytest.mark.parametrize("family", SUPPORTED)
def test_dense_gives_stock_logits(family):
    """A prompt, and a padded batch of three: rows of tokens have the logits of stock attention, and no row has a NaN."""
    m = model(family)
    ids, mask = padded([PROMPT, 141, 190])
    alone, batch = m(prompts()).logits, m(ids, attention_mask=mask).logits
    minfc.install(m, "dense")
    assert error(m(prompts()).logits, alone) < TOLERANCE
    got = m(ids, attention_mask=mask).logits
    assert got.isfinite().all()
    keep = mask.bool()
    assert error(got[keep], batch[keep]) < TOLERANCE
    sliding = family in ("Mistral", "Gemma3")
    total = minfc.report(m).total
    window = f", window of {WINDOW}" if sliding else ""
    assert ("minfc", "prompt, padded batch" + window) in total
    assert all(where == "minfc" for where, _ in total), total


def test_sliding_layers_slide():
    """Without the window the same logits would be far off, so the test above sees it."""
    wide, narrow = model("Mistral", sliding_window=None), model("Mistral")
    assert error(wide(prompts()).logits, narrow(prompts()).logits) > 10 * TOLERANCE


def test_plan_runs_where_a_window_leaves_out_nothing():
    m = minfc.install(model("Mistral", sliding_window=PROMPT), "a_shape", sink=4, window=64)
    m(prompts())
    assert minfc.report(m).total == {("minfc", "prompt"): 2}
    assert minfc.counters().get("emulator a_shape(sink=4, window=64)", 0) >= 2


def test_gemma2_is_refused_by_name():
    with pytest.raises(ValueError, match=r"Gemma2Attention caps its scores \(attn_logit_softcapping=50.0\)"):
        minfc.install(model("Gemma2"), "dense")


def test_gemma2_is_refused_without_install():
    m = model("Gemma2")
    m.set_attn_implementation("minfc")
    with pytest.raises(ValueError, match="Gemma2Attention caps its scores"):
        m(prompts())


def test_gemma2_without_cap_runs():
    m = model("Gemma2", attn_logit_softcapping=None)
    want = m(prompts()).logits
    assert error(minfc.install(m, "dense")(prompts()).logits, want) < TOLERANCE


def test_bfloat16():
    m = model(dtype=torch.bfloat16)
    want = m(prompts()).logits
    assert error(minfc.install(m, "dense")(prompts()).logits, want) < 8 * TOLERANCE  # its numbers have three bits fewer
