"""Errors say what was found and what to do, in torch's words. No run is counted after one: nothing was enqueued."""

import minfc
import pytest
import torch
from minfc import _check


@pytest.fixture
def refused(make):
    """Checks that a call is refused with a class and a text, and that nothing ran."""

    def check(kind, text, change=lambda q, k, v: (q, k, v), pattern="dense", **options):
        before = sum(minfc.counters().values())
        with pytest.raises(kind, match=text):
            minfc.attention(*change(*make(rows=40)), pattern, **options)
        assert sum(minfc.counters().values()) == before

    return check


def test_dtype(refused):
    refused(ValueError, "expected q of dtype bfloat16 or float16, got float32", lambda q, k, v: (q.float(), k.float(), v.float()))
    refused(ValueError, "expected v of dtype bfloat16 or float16, got int64", lambda q, k, v: (q, k, v.long()))
    refused(ValueError, "of one dtype, got bfloat16 in q and float16 in k", lambda q, k, v: (q, k.half(), v))


def test_rank(refused):
    refused(
        ValueError,
        r"expected q to be 4-D, \[batch, heads, rows, head_dim\], got 3-D with shape \[4, 40, 64\]",
        lambda q, k, v: (q[0], k, v),
    )
    refused(ValueError, r"expected v to be 4-D, \[batch, rows, heads", lambda q, k, v: (q, k, v[0]), layout="bshd")


def test_sizes(refused):
    refused(ValueError, r"expected k and v of one shape, got \[1, 2, 40, 64\] and \[1, 2, 39, 64\]", lambda q, k, v: (q, k, v[:, :, :39]))
    refused(ValueError, "one batch size, got 2 in q and 1 in k and v", lambda q, k, v: (torch.cat([q, q]), k, v))
    refused(ValueError, "one head_dim, got 32 in q and 64 in k", lambda q, k, v: (q[..., :32], k, v))
    refused(ValueError, "multiple of the heads of k and v, got 3 and 2", lambda q, k, v: (q[:, :3], k, v))
    refused(ValueError, "multiple of the heads of k and v, got 4 and 0", lambda q, k, v: (q, k[:, :0], v[:, :0]))
    refused(ValueError, "head.dim.* 24", lambda q, k, v: (q[..., :24], k[..., :24], v[..., :24]))


def test_layout(refused):
    refused(ValueError, "layout is 'bhds', want \"bhsd\"", layout="bhds")


def test_strides(refused):
    def last(t):
        return t.transpose(2, 3).contiguous().transpose(2, 3)

    refused(
        ValueError,
        r"last dimension of q to be contiguous \(stride 1\), got strides .* use q.contiguous\(\)",
        lambda q, k, v: (last(q), k, v),
    )

    def odd(t):
        return torch.zeros(1, 2, 40, 68, dtype=t.dtype)[..., :64]

    refused(ValueError, r"strides of k that are multiples of 8 elements \(16 bytes\), got", lambda q, k, v: (q, odd(k), v))
    refused(
        ValueError,
        r"v is one row, expanded in all dimensions .* use v.contiguous\(\)",
        lambda q, k, v: (q, k, v[:, :1, :1].expand(1, 2, 40, 64)),
    )


def test_a_stride_that_is_never_taken_may_be_any(make):
    """torch gives dimensions of one element strides without a meaning."""
    q, k, v = make(rows=40)
    want = minfc.attention(q, k, v, "dense")
    strange = [t.as_strided(t.shape, (13, *t.stride()[1:])) for t in (q, k, v)]
    assert torch.equal(minfc.attention(*strange, "dense"), want)


def test_alignment(refused):
    def moved(t):
        return torch.zeros(t.numel() + 8, dtype=t.dtype)[4 : 4 + t.numel()].view(t.shape)

    refused(ValueError, r"expected k to begin on 16 bytes, got data_ptr\(\) 0x\w+8 \(storage_offset 4\)", lambda q, k, v: (q, moved(k), v))


def test_alignment_of_a_known_call(make, refused):
    """An address is no part of what a call is found by."""
    q, k, v = make(rows=40)
    minfc.attention(q, k, v, "dense")
    test_alignment(refused)


def test_numbers(refused):
    refused(ValueError, "q_offset is -1, want 0 to", q_offset=-1)
    refused(ValueError, "q_offset is 4294967296, want 0 to", q_offset=2**32)
    refused(ValueError, "last query's position is 1073741863", q_offset=2**30)
    for scale in (0.0, -1.0, float("nan")):
        refused(ValueError, "scale is .*, want a positive number, or None", scale=scale)
    refused(ValueError, "scale", scale=1e39)


def test_patterns(refused):
    refused(ValueError, 'has no pattern "vertical_slsh".* did you mean vertical_slash', pattern="vertical_slsh")
    refused(ValueError, 'unknown parameter "vertcal"; did you mean "vertical"', pattern="vertical_slash", vertcal=4)
    refused(ValueError, "window", pattern="a_shape", window=-4)
    refused(ValueError, r"(?s)unknown set `causl`.*did you mean `causal`", pattern="pattern x { keep causl }")
    refused(ValueError, "the spec is not understood", pattern='{"pattern": ')
    refused(ValueError, "a spec has its parameters inside, so it goes without window", pattern='{"pattern": "a_shape"}', window=3)


def test_types(refused):
    refused(TypeError, "parameter vertical is 1.5, want a whole number", pattern="vertical_slash", vertical=1.5)
    refused(TypeError, "parameter slash is True, want a whole number", pattern="vertical_slash", slash=True)
    refused(TypeError, r"parameter slash is \[1, 2\], want a whole number", pattern="vertical_slash", slash=[1, 2])
    refused(TypeError, "pattern is int, want the name of a pattern", pattern=3)
    refused(TypeError, "pattern is list", pattern=["dense"])


def test_a_failed_call_fails_again(refused):
    for _ in range(3):
        refused(ValueError, 'has no pattern "dnse"', pattern="dnse")


@torch.enable_grad()
def test_autograd(make):
    q, k, v = make(rows=40)
    want = minfc.attention(q, k, v, "dense")
    k.requires_grad_()
    text = r"for inference only: .* k requires grad\. Call it under torch\.no_grad\(\)"
    with pytest.raises(RuntimeError, match=text):
        minfc.attention(q, k, v, "dense")
    with pytest.raises(RuntimeError, match=text):
        torch.ops.minfc.attention(q, k, v, minfc.spec_of("dense"))
    with torch.no_grad():
        assert torch.equal(minfc.attention(q, k, v, "dense"), want)
    with torch.inference_mode():
        assert torch.equal(minfc.attention(q, k, v, "dense"), want)
    assert torch.equal(minfc.attention(q, k.detach(), v, "dense"), want)


def test_devices(make):
    q, k, v = make(rows=40)
    for call in (lambda k: minfc.attention(q, k, v, "dense"), lambda k: _check.alike(q, k, v)):  # meta tensors go to the fake kernel
        with pytest.raises(ValueError, match="on one device, got cpu for q and meta for k"):
            call(k.to("meta"))
    with pytest.raises(ValueError, match="device is meta, want a cuda device, or cpu for the emulator"):
        minfc.compile("dense", q_heads=1, kv_heads=1, head_dim=64, device="meta")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu():
    with pytest.raises(RuntimeError, match="libcuda|no GPU|driver"):
        minfc.compile("dense", q_heads=1, kv_heads=1, head_dim=64, device="cuda:0")


def test_compile_refuses():
    with pytest.raises(ValueError, match="expected dtype bfloat16 or float16, got float32"):
        minfc.compile("dense", q_heads=1, kv_heads=1, head_dim=64, dtype=torch.float32, device="cpu")
    with pytest.raises(ValueError, match="kv_heads is -2, want 0 to"):
        minfc.compile("dense", q_heads=1, kv_heads=-2, head_dim=64, device="cpu")
    with pytest.raises(ValueError, match="3 .*2|multiple"):
        minfc.compile("dense", q_heads=3, kv_heads=2, head_dim=64, device="cpu")
