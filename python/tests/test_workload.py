"""workload: the bytes of `minfc gen`, and errors."""

import hashlib

import pytest
import torch

import minfc

# sha256 of q, k and v one after the other. The same comes from
#   minfc gen --kind mixed --heads 10 --kv-heads 5 --head-dim 64 --dtype bf16 --seqlen 100 --seed 7 -o x.safetensors
# by hashing the tensors in the file; internal/workload/testdata holds digests of the generator itself.
DIGEST = "e460209e706cd65ac475c62479d9854397519019cfd33d8a0cc1d2e7a04c40b1"


def digest(tensors):
    h = hashlib.sha256()
    for x in tensors:
        h.update(x.contiguous().view(torch.int16).numpy().tobytes())
    return h.hexdigest()


def test_bytes():
    made = minfc.workload("mixed", q_heads=10, kv_heads=5, head_dim=64, seqlen=100, device="cpu", seed=7)
    assert [tuple(x.shape) for x in made] == [(1, 10, 100, 64), (1, 5, 100, 64), (1, 5, 100, 64)]
    assert digest(made) == DIGEST


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(kind="mixd"), 'there is no workload "mixd"'),
        (dict(seqlen=0), "sequence length 0"),
        (dict(q_heads=3), "want QHeads to be a multiple of KVHeads"),
        (dict(batch=0), "batch 0"),
        (dict(dtype=torch.float32), "expected dtype bfloat16 or float16"),
        (dict(device="meta"), "device is meta"),
    ],
)
def test_bad_calls(change, words):
    with pytest.raises(ValueError, match=words):
        minfc.workload(**{**dict(q_heads=4, kv_heads=2, head_dim=64, seqlen=10, device="cpu"), **change})
