"""What the tests share: no cache of the user's makes one pass, and inputs with and without structure."""

import os

os.environ["MINFC_CACHE"] = "off"

import pytest
import torch


@pytest.fixture(autouse=True)
def _inference():
    """Tests are callers of inference; a test of autograd enables it for itself."""
    with torch.no_grad():
        yield


@pytest.fixture
def make():
    """Makes q, k and v [batch, heads, rows, head_dim], or as layout says."""
    return inputs


def inputs(batch=1, q_heads=4, kv_heads=2, rows=200, keys=None, dim=64, dtype=torch.bfloat16, layout="bhsd", seed=1):
    g = torch.Generator().manual_seed(seed)

    def one(heads, n):
        shape = (batch, heads, n, dim) if layout == "bhsd" else (batch, n, heads, dim)
        return torch.randn(shape, generator=g).to(dtype)

    keys = rows if keys is None else keys
    return one(q_heads, rows), one(kv_heads, keys), one(kv_heads, keys)
