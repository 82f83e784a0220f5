"""kept_mass against float64: patterns of every kind, layouts, offsets, rows, and what is refused. On a GPU with MINFC_RECALL_DEVICE=cuda."""

import math
import os

import minfc
import pytest
import torch
from reference import a_shape, causal, masked, positions

DEVICE = os.environ.get("MINFC_RECALL_DEVICE", "cpu")


@pytest.fixture
def make(make):
    """Makes q, k and v on the device."""
    return lambda **sizes: [t.to(DEVICE) for t in make(**sizes)]


def mass_of(q, k, mask, bound, scale=None):
    """The share of each row's attention that a mask keeps of a bound, [B, Hq, Sq] in float64, on the host."""
    q, k = q.cpu(), k.cpu()
    _, kept = masked(q, k, k, mask & bound, scale)
    _, all_ = masked(q, k, k, bound, scale)
    return (kept - all_).exp()


def same(got, want, rows):
    """Whether masses are the mean of a reference over some rows."""
    assert got.dtype == torch.float32 and got.shape == want.shape[:2] and got.device.type == DEVICE
    assert (got.cpu().double() - want[:, :, rows].mean(2)).abs().max() < 1e-3
    return True


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("heads, kv_heads, dim, rows, keys, offset", [(4, 2, 64, 150, 150, 0), (6, 2, 32, 65, 200, 135), (3, 3, 128, 33, 90, 20)])
def test_a_shape(make, dtype, heads, kv_heads, dim, rows, keys, offset):
    q, k, v = make(batch=2, q_heads=heads, kv_heads=kv_heads, dim=dim, rows=rows, keys=keys, dtype=dtype)
    call = dict(sink=3, window=20, q_offset=offset)
    _, lse = minfc.attention(q, k, v, "a_shape", return_lse=True, **call)
    want = mass_of(q, k, a_shape(rows, keys, 3, 20, offset), causal(rows, keys, offset))
    mass, each, sampled = minfc.kept_mass(q, k, v, lse, "a_shape", rows=40, seed=5, by_row=True, **call)
    assert len(sampled) == min(40, rows) and sampled == sorted(set(sampled)) and sampled[-1] < rows
    assert same(mass, want, sampled) and (each.cpu().double() - want[:, :, sampled]).abs().max() < 1e-3
    assert torch.equal(mass, minfc.kept_mass(q, k, v, lse, "a_shape", rows=40, seed=5, **call)), "one seed, one result"
    assert same(minfc.kept_mass(q, k, v, lse, "a_shape", rows=range(5, 30, 6), **call), want, list(range(5, 30, 6)))
    ranges = [range(3), range(10, 33)]
    assert same(minfc.kept_mass(q, k, v, lse, "a_shape", rows=ranges, **call), want, [i for r in ranges for i in r])


def test_more_rows_than_a_launch_takes(make):
    q, k, v = make(rows=300)
    _, lse = minfc.attention(q, k, v, "a_shape", sink=1, window=9, return_lse=True)
    want = mass_of(q, k, a_shape(300, 300, 1, 9), causal(300, 300))
    assert same(minfc.kept_mass(q, k, v, lse, "a_shape", rows=1000, sink=1, window=9), want, range(300))


def test_everything_is_kept(make):
    q, k, v = make(rows=130, keys=200)
    for pattern, offset in (("dense", 70), ("full", 0)):
        _, lse = minfc.attention(q, k, v, pattern, q_offset=offset, return_lse=True)
        mass = minfc.kept_mass(q, k, v, lse, pattern, q_offset=offset)
        assert (mass - 1).abs().max() < 1e-3, pattern


def test_a_pattern_that_looks_ahead_is_held_against_all_keys(make):
    q, k, v = make(rows=100)
    ahead = "pattern ahead(left = 20, right = 10) { keep window(left, right) }"
    _, lse = minfc.attention(q, k, v, ahead, return_lse=True)
    at, key = positions(100, 100)
    want = mass_of(q, k, (at - key < 20) & (key - at <= 10), torch.ones(100, 100, dtype=torch.bool))
    assert same(minfc.kept_mass(q, k, v, lse, ahead, rows=100), want, range(100))


def test_a_lost_needle_is_told(make):
    """Every row from 64 on gives 0.6 of its attention to key 9, which a window of 16 loses."""
    q, k, v = make(rows=200, q_heads=2, kv_heads=1, dtype=torch.float16)
    q.zero_(), k.zero_()
    k[:, :, 9, 0] = 1
    others = torch.arange(64, 200).double()  # of row i: keys 0 to i but key 9
    q[:, :, 64:, 0] = (0.6 / 0.4 * others).log().mul(math.sqrt(64)).half().to(DEVICE)
    rows = range(64, 200)
    for sink, want in ((0, 0.4 * 16 / others), (10, 0.6 + 0.4 * 25 / others)):
        _, lse = minfc.attention(q, k, v, "a_shape", sink=sink, window=16, return_lse=True)
        mass = minfc.kept_mass(q, k, v, lse, "a_shape", sink=sink, window=16, rows=rows)
        assert (mass.cpu().double() - want.mean()).abs().max() < 3e-3


def test_plans_and_choices(make):
    """Heads of a plan keep what their own patterns keep; what data chose is in the LSE."""
    q, k, v = make(rows=300, q_heads=4, kv_heads=2)
    plan = minfc.Plan({"schema": 1, "layers": [{
        "0": {"pattern": "a_shape", "params": {"sink": 2, "window": 30}},
        "1": {"pattern": "dense"},
        "2": {"pattern": "full"},
        "3": {"pattern": "vertical_slash", "params": {"vertical": 30, "slash": 101}},
    }]})  # fmt: skip
    _, lse = minfc.attention(q, k, v, plan.layer(0), fallback=False, return_lse=True)
    mass, each, sampled = minfc.kept_mass(q, k, v, lse, plan.layer(0), by_row=True)
    want = (lse.cpu().double() - masked(q.cpu(), k.cpu(), v.cpu(), causal(300, 300))[1]).exp()
    want[:, 2] = 1
    assert same(mass, want, sampled)
    assert mass[0, 0] < 0.9 and mass[0, 3] < 0.999 and (mass[0, 1:3] - 1).abs().max() < 1e-3


def test_layouts_and_scale(make):
    q, k, v = make(rows=90)
    _, lse = minfc.attention(q, k, v, "a_shape", sink=2, window=9, scale=0.3, return_lse=True)
    want = mass_of(q, k, a_shape(90, 90, 2, 9), causal(90, 90), 0.3)
    as_bshd = [t.transpose(1, 2).contiguous() for t in (q, k, v)]
    assert same(minfc.kept_mass(*as_bshd, lse, "a_shape", sink=2, window=9, scale=0.3, layout="bshd", rows=90), want, range(90))


def test_a_number_that_is_none_stays_none(make):
    q, k, v = make(rows=70)
    _, lse = minfc.attention(q, k, v, "a_shape", return_lse=True)
    lse[0, 1, 30] = float("nan")
    lse[0, 2, 30] = float("-inf")
    mass = minfc.kept_mass(q, k, v, lse, "a_shape", rows=range(30, 31))
    assert mass[0, 1].isnan() and mass[0, 2] == 0 and mass[0, 0] > 0.99


@pytest.mark.skipif(DEVICE == "cpu", reason="graphs are of GPUs")
def test_a_graph_looks_at_new_numbers(make):
    q, k, v = make(rows=300)
    call = dict(sink=1, window=9)

    def looked():
        _, lse = minfc.attention(q, k, v, "a_shape", return_lse=True, **call)
        return minfc.kept_mass(q, k, v, lse, "a_shape", **call)

    looked()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        mass = looked()
    q.copy_(make(rows=300, seed=2)[0])
    graph.replay()
    assert torch.equal(mass, looked())


def test_refused(make):
    q, k, v = make(rows=70)
    _, lse = minfc.attention(q, k, v, "a_shape", return_lse=True)
    for words, error, change in (
        ("expected lse as return_lse=True gives it", ValueError, dict(lse=lse[:, :, :69])),
        ("expected lse as return_lse=True gives it", ValueError, dict(lse=lse.double())),
        ("expected lse as return_lse=True gives it", ValueError, dict(lse=torch.zeros(1, 4, 140)[:, :, ::2])),
        ("the call has the rows 0 to 69", ValueError, dict(rows=range(60, 80))),
        ("want a range with rows in it, in ascending order", ValueError, dict(rows=range(5, 5))),
        ("want a range with rows in it, in ascending order", ValueError, dict(rows=range(9, 5, -1))),
        ("want how many, a range such as", TypeError, dict(rows="all")),
        ("0 rows", ValueError, dict(rows=0)),
        ("give it each sequence by itself", ValueError, dict(cu_seqlens=torch.tensor([0, 70]))),
        ("give it each sequence by itself", ValueError, dict(q_offset=torch.tensor([0]))),
        ("scale is -1", ValueError, dict(scale=-1)),
        ("unknown parameter", ValueError, dict(windw=3)),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            minfc.kept_mass(**{**dict(q=q, k=k, v=v, lse=lse, pattern="a_shape"), **change})
    none = q[:, :, :0]
    with pytest.raises(ValueError, match="has no attention mass"):
        minfc.kept_mass(none, k, v, lse[:, :, :0].contiguous(), "a_shape")
    with torch.enable_grad(), pytest.raises(RuntimeError, match="requires grad"):
        minfc.kept_mass(q.clone().requires_grad_(), k, v, lse, "a_shape")
