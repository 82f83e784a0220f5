"""Estimates without a device."""

import minfc
import pytest

HEADS = {"q_heads": 32, "kv_heads": 8, "head_dim": 128}


def test_static_pattern():
    e = minfc.explain("a_shape", **HEADS, seqlen=131072, sink=128, window=4096)
    assert (e.machine, e.target, e.runs_dense) == ("H200", "sm_90a", False)
    assert 0 < e.low_ms == e.high_ms < e.dense_ms / 5
    times = f"{e.low_ms:.3g} ms; dense attention would take {e.dense_ms:.3g} ms"
    assert str(e) == f"a_shape(sink=128, window=4096) at 131072 tokens on H200 (sm_90a): {times}"


def test_pattern_of_data():
    e = minfc.explain(**HEADS, seqlen=131072)
    assert 0 < e.low_ms < e.high_ms and f"{e.low_ms:.3g} to {e.high_ms:.3g} ms" in str(e)


def test_short_inputs_run_dense():
    assert minfc.explain(**HEADS, seqlen=512).runs_dense
    assert "dense attention runs instead" in str(minfc.explain(**HEADS, seqlen=512))
    assert not minfc.explain(**HEADS, seqlen=512, fallback=False).runs_dense


def test_chunks_and_batches():
    whole = minfc.explain("dense", **HEADS, seqlen=16384).high_ms
    last = minfc.explain("dense", **HEADS, seqlen=4096, keys=16384).high_ms
    first = minfc.explain("dense", **HEADS, seqlen=4096, keys=16384, q_offset=0).high_ms
    assert first < last < whole
    assert minfc.explain("dense", **HEADS, seqlen=16384, batch=4).high_ms > 3 * whole


def test_layers():
    plan = minfc.Plan({"schema": 1, "layers": [{str(h): {"pattern": "a_shape"} for h in range(32)}]})
    e = minfc.explain(plan.layer(0), **HEADS, seqlen=131072)
    assert 0 < e.high_ms < e.dense_ms and str(e).startswith("a layer of a plan with 32 heads at")


def test_errors():
    with pytest.raises(ValueError, match="H20x"):
        minfc.explain(**HEADS, seqlen=1024, machine="H20x")
    with pytest.raises(ValueError, match="seqlen is -1"):
        minfc.explain(**HEADS, seqlen=-1)
    with pytest.raises(ValueError, match="unknown parameter"):
        minfc.explain(**HEADS, seqlen=1024, windw=4)
