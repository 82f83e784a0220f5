"""The torch ops: their contract with torch, and torch.compile without breaks and without recompilation."""

import minfc
import pytest
import torch
from minfc import _spec
from torch._dynamo.testing import CompileCounter

SPEC = minfc.spec_of("a_shape", {"sink": 2, "window": 30})


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
@pytest.mark.parametrize("op", ["attention", "attention_lse"])
def test_opcheck(make, op, layout):
    op = getattr(torch.ops.minfc, op).default
    torch.library.opcheck(op, (*make(rows=40, layout=layout), SPEC), {"layout": layout})
    torch.library.opcheck(op, (*make(rows=40, layout=layout), SPEC, 0.3, 7, layout, False))


def test_the_op_is_the_function(make):
    q, k, v = make(rows=50)
    want, want_lse = minfc.attention(q, k, v, SPEC, scale=0.3, q_offset=4, return_lse=True)
    o, lse = torch.ops.minfc.attention_lse(q, k, v, SPEC, 0.3, 4)
    assert torch.equal(o, want) and torch.equal(lse, want_lse)
    assert torch.equal(torch.ops.minfc.attention(q, k, v, SPEC, scale=0.3, q_offset=4, layout="bhsd", fallback=True), want)


def projected(x, w, offset):
    """What a model does around attention: a projection whose views are read, and one that reads the output."""
    rows = x.shape[1]
    q, k, v = (x @ w).view(x.shape[0], rows, 8, 64).split([4, 2, 2], 2)
    o, lse = minfc.attention(q, k, v, "a_shape", layout="bshd", sink=2, window=30, q_offset=offset, return_lse=True)
    return o.reshape(x.shape[0], rows, 256) @ w.T[:256], lse


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_graphs(make, backend):
    """One graph serves all lengths and offsets, whatever other patterns are used meanwhile."""
    _spec._specs.clear()
    g = torch.Generator().manual_seed(1)
    w = torch.randn(64, 512, generator=g).bfloat16() / 8
    counter = CompileCounter()
    counted = torch.compile(projected, fullgraph=True, dynamic=True, backend=counter)
    compiled = torch.compile(projected, fullgraph=True, dynamic=True, backend=backend)
    for rows, offset in ((40, 5), (57, 9), (130, 70), (64, 3)):
        x = torch.randn(2, rows, 64, generator=g).bfloat16()
        outs = [f(x, w, offset) for f in (counted, compiled)]
        want, want_lse = projected(x, w, offset)
        minfc.spec_of("sliding", {"window": rows})
        for out, lse in outs:
            torch.testing.assert_close(lse, want_lse, rtol=2e-2, atol=2e-2)
            torch.testing.assert_close(out, want, rtol=3e-2, atol=3e-2)
    assert counter.frame_count == 1, "another length was another graph"


def test_layers_and_compiled_functions_in_graphs(make):
    q, k, v = make(rows=50)
    layer = minfc.Plan({"schema": 1, "layers": [{str(h): {"pattern": "sliding", "params": {"window": 9}} for h in range(4)}]}).layer(0)
    own = minfc.compile("sliding", q_heads=4, kv_heads=2, head_dim=64, device="cpu", window=9)
    want = minfc.attention(q, k, v, "sliding", window=9)
    for f in (lambda q, k, v: minfc.attention(q, k, v, layer), lambda q, k, v: own(q, k, v)):
        assert torch.equal(torch.compile(f, fullgraph=True, backend="aot_eager")(q, k, v), want)


def test_strides_of_the_fake_kernel(make):
    """Shapes, strides and types of outputs under FakeTensorMode are the real ones."""
    from torch._subclasses import FakeTensorMode

    for layout in ("bhsd", "bshd"):
        real = make(batch=2, rows=30, layout=layout)
        outs = torch.ops.minfc.attention_lse(*real, SPEC, layout=layout)
        with FakeTensorMode() as mode:
            fakes = torch.ops.minfc.attention_lse(*(mode.from_tensor(t) for t in real), SPEC, layout=layout)
        for out, fake in zip(outs, fakes):
            assert (out.shape, out.stride(), out.dtype, out.device) == (fake.shape, fake.stride(), fake.dtype, fake.device)


def test_fake_kernel_refuses(make):
    q, k, v = (t.to("meta") for t in make(rows=30))
    with pytest.raises(ValueError, match="expected q to be 4-D"):
        torch.ops.minfc.attention(q[0], k, v, SPEC)
    assert torch.ops.minfc.attention(q, k, v, SPEC).device.type == "meta"


@torch.enable_grad()
def test_graphs_refuse_autograd(make):
    q, k, v = make(rows=30)
    q.requires_grad_()
    with pytest.raises(Exception, match="inference only"):
        torch.compile(lambda q, k, v: minfc.attention(q, k, v, SPEC), fullgraph=True, backend="aot_eager")(q, k, v)
    with pytest.raises(Exception, match="inference only"):
        torch.compile(lambda q, k, v: torch.ops.minfc.attention(q, k, v, SPEC), fullgraph=True, backend="aot_eager")(q, k, v)
