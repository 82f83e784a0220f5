"""Numbers: the library's patterns against torch and against masks, in all layouts and types."""

import minfc
import pytest
import torch
from reference import a_shape, causal, close, close_lse, masked, vertical_slash

DTYPES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_is_torchs(make, dtype):
    q, k, v = make(batch=2, rows=150, dtype=dtype)
    want = torch.nn.functional.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True, enable_gqa=True)
    o = minfc.attention(q, k, v, "dense")
    assert o.dtype == dtype and o.shape == q.shape
    close(o, want)


@pytest.mark.parametrize("heads, kv_heads, dim", [(3, 3, 64), (4, 1, 128), (6, 2, 32), (1, 1, 80)])
def test_heads(make, heads, kv_heads, dim):
    q, k, v = make(q_heads=heads, kv_heads=kv_heads, dim=dim, rows=70)
    o, lse = minfc.attention(q, k, v, "dense", return_lse=True)
    want, want_lse = masked(q, k, v, causal(70, 70))
    assert close(o, want) and close_lse(lse, want_lse)


def test_a_shape(make):
    q, k, v = make(rows=260)
    o, lse = minfc.attention(q, k, v, "a_shape", sink=5, window=33, return_lse=True)
    want, want_lse = masked(q, k, v, a_shape(260, 260, 5, 33))
    assert close(o, want) and close_lse(lse, want_lse)
    other, _ = masked(q, k, v, a_shape(260, 260, 5, 34))
    with pytest.raises(AssertionError):
        close(o, other)  # the comparison tells a window of 33 from one of 34


@pytest.mark.parametrize("dtype", DTYPES)
def test_vertical_slash(make, dtype):
    """Heads choose by themselves, what the rule of the pattern's header chooses."""
    q, k, v = make(rows=600, q_heads=2, kv_heads=1, dtype=dtype)
    vertical, slash = 60, 103
    kept, gaps = zip(*(vertical_slash(q[0, h], k[0, 0], vertical, slash) for h in range(2)))
    assert min(gaps) > 1e-5, "the choice hangs on rounding: take another seed"
    keep = torch.stack(kept)[None]
    assert keep.double().mean() < 0.8 * causal(600, 600).double().mean(), "nothing is left to choose"
    o, lse = minfc.attention(q, k, v, vertical=vertical, slash=slash, fallback=False, return_lse=True)
    want, want_lse = masked(q, k, v, keep)
    assert close(o, want) and close_lse(lse, want_lse)


def test_vertical_slash_of_everything_is_dense(make):
    q, k, v = make(rows=130)
    o = minfc.attention(q, k, v, "vertical_slash", vertical=1000, slash=6096, fallback=False)
    close(o, masked(q, k, v, causal(130, 130))[0])


def test_chosen(make):
    q, k, v = make(batch=2, rows=300)
    for heads in minfc.chosen(q, k, v, vertical=40, slash=110, fallback=False):
        assert [(h.dense, h.columns, h.diagonals, h.blocks) for h in heads] == [(False, 40, 110, 0)] * 4
    fell_back = minfc.chosen(q, k, v, vertical=40, slash=110)
    assert [len(heads) for heads in fell_back] == [4, 4]
    assert all(h.dense and h.sparse_ms > h.dense_ms > 0 for heads in fell_back for h in heads)


def test_fallback_computes_dense(make):
    """Short inputs run dense unless that is forbidden."""
    q, k, v = make(rows=300)
    dense, _ = masked(q, k, v, causal(300, 300))
    close(minfc.attention(q, k, v, vertical=30, slash=100), dense)
    with pytest.raises(AssertionError):
        close(minfc.attention(q, k, v, vertical=30, slash=100, fallback=False), dense)


@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
def test_output_lies_as_a_projection_reads_it(make, layout):
    q, k, v = make(batch=2, rows=40, layout=layout)
    o = minfc.attention(q, k, v, "dense", layout=layout)
    rows_first = o if layout == "bshd" else o.transpose(1, 2)
    assert o.shape == q.shape and rows_first.is_contiguous()
    assert rows_first.view(2, 40, 4 * 64).data_ptr() == o.data_ptr()


def test_layouts_agree(make):
    q, k, v = make(batch=2, rows=90)
    want, want_lse = minfc.attention(q, k, v, "a_shape", sink=3, window=40, return_lse=True)
    turned = [t.transpose(1, 2).contiguous() for t in (q, k, v)]
    o, lse = minfc.attention(*turned, "a_shape", sink=3, window=40, layout="bshd", return_lse=True)
    assert torch.equal(o.transpose(1, 2), want) and torch.equal(lse, want_lse)


def test_views_of_packed_projections(make):
    """A fused projection [B, S, (Hq + 2 Hk) D] is read in place: its gaps, set to NaN here, never get into the output."""
    q, k, v = make(batch=2, rows=70)
    packed = torch.full((2, 70, 4 + 2 + 2 + 1, 64), torch.nan, dtype=q.dtype)
    packed[:, :, :4], packed[:, :, 4:6], packed[:, :, 6:8] = (t.transpose(1, 2) for t in (q, k, v))
    views = packed[:, :, :4], packed[:, :, 4:6], packed[:, :, 6:8]
    want = minfc.attention(q, k, v, "dense")
    assert not views[0].is_contiguous()
    assert torch.equal(minfc.attention(*views, "dense", layout="bshd").transpose(1, 2), want)
    assert torch.equal(minfc.attention(*(t.transpose(1, 2) for t in views), "dense"), want)


def test_one_cache_for_all_batches(make):
    """An expanded dimension has stride 0."""
    q, k, v = make(batch=3, rows=50)
    k, v = k[:1].expand(3, -1, -1, -1), v[:1].expand(3, -1, -1, -1)
    assert torch.equal(minfc.attention(q, k, v, "dense"), minfc.attention(q, k.contiguous(), v.contiguous(), "dense"))


def test_chunks_are_the_whole(make):
    q, k, v = make(rows=200)
    want, want_lse = masked(q, k, v, a_shape(200, 200, 4, 50))
    for first, last in ((0, 90), (90, 91), (91, 200)):
        chunk = q[:, :, first:last], k[:, :, :last], v[:, :, :last]
        o, lse = minfc.attention(*chunk, "a_shape", sink=4, window=50, q_offset=first, return_lse=True)
        assert close(o, want[:, :, first:last]) and close_lse(lse, want_lse[:, :, first:last])


def test_a_cache_that_is_longer_than_filled(make):
    """Keys after the last query do not count, whatever they hold."""
    q, k, v = make(rows=30, keys=100)
    k[:, :, 50:], v[:, :, 50:] = torch.nan, torch.nan
    o = minfc.attention(q, k, v, "dense", q_offset=20)
    close(o, masked(q, k[:, :, :50], v[:, :, :50], causal(30, 50, 20))[0])


def test_scale(make):
    q, k, v = make(rows=60)
    close(minfc.attention(q, k, v, "dense", scale=0.5), masked(q, k, v, causal(60, 60), 0.5)[0])


def test_rows_without_keys(make):
    """A sink alone, two keys of which lie after the first query."""
    q, k, v = make(rows=20, keys=20)
    late = "pattern late { keep causal \\ sink(10) }"
    o, lse = minfc.attention(q, k, v, late, return_lse=True)
    mask = causal(20, 20) & (torch.arange(20) >= 10)
    assert close(o, masked(q, k, v, mask)[0]) and close_lse(lse, masked(q, k, v, mask)[1])
    assert not o[:, :, :10].any()


@pytest.mark.parametrize("batch, rows, keys", [(0, 5, 5), (1, 0, 5), (1, 5, 0), (0, 0, 0)])
def test_empty(make, batch, rows, keys):
    q, k, v = make(batch=batch, rows=rows, keys=keys)
    o, lse = minfc.attention(q, k, v, "vertical_slash", return_lse=True)
    assert o.shape == q.shape and not o.any() and lse.shape == (batch, 4, rows) and (lse == -torch.inf).all()
    assert minfc.chosen(q, k, v) == []


def test_source_text_and_spec(make):
    q, k, v = make(rows=80)
    near = "pattern near(n = 9) { keep causal & window(n) }"
    want = masked(q, k, v, a_shape(80, 80, 0, 20))[0]
    close(minfc.attention(q, k, v, near, n=20), want)
    close(minfc.attention(q, k, v, minfc.spec_of(near, {"n": 20})), want)


def test_compiled(make):
    q, k, v = make(rows=80)
    f = minfc.compile("a_shape", q_heads=4, kv_heads=2, head_dim=64, dtype=q.dtype, device="cpu", sink=2, window=20)
    o, lse = f(q, k, v, return_lse=True)
    want, want_lse = minfc.attention(q, k, v, "a_shape", sink=2, window=20, return_lse=True)
    assert torch.equal(o, want) and torch.equal(lse, want_lse)
    turned = [t.transpose(1, 2) for t in (q, k, v)]
    assert torch.equal(f(*turned, layout="bshd", q_offset=0, scale=0.125, fallback=False).transpose(1, 2), want)


def test_counters(make):
    q, k, v = make(rows=10)
    name = "emulator a_shape(sink=1, window=7)"
    before = minfc.counters().get(name, 0)
    for _ in range(3):
        minfc.attention(q, k, v, "a_shape", sink=1, window=7)
    assert minfc.counters()[name] == before + 3
