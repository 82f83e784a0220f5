"""Runs as a GPU has them, on the emulator's memory: addresses, lengths, lists, the workspace and what becomes of it."""

import contextlib

import pytest
import torch

import minfc
from minfc import _calls, _enqueue
from minfc._device import EMULATOR, Memory

HERE = EMULATOR  # the number of the device that a run is for


class At:
    """A tensor of the emulator, of which a run asks only the address."""

    def __init__(self, address):
        self.address = address

    def data_ptr(self):
        return self.address


@pytest.fixture
def gpu(monkeypatch):
    """Torch's functions over the memory of an emulator; workspaces are the addresses that were taken, given what came back."""
    with Memory(_calls.device_of(EMULATOR)) as memory:
        memory.workspaces, memory.given, memory.current = [], [], HERE

        def take(size, stream):
            assert memory.current == HERE, "torch takes memory from its current device"
            memory.workspaces.append(memory.take(size))
            return memory.workspaces[-1]

        @contextlib.contextmanager
        def device(index):
            before, memory.current = memory.current, index
            yield
            memory.current = before

        monkeypatch.setattr(_enqueue, "_stream", lambda index: 0)
        monkeypatch.setattr(_enqueue, "_device", lambda: memory.current)
        monkeypatch.setattr(_enqueue, "_take", take)
        monkeypatch.setattr(_enqueue, "_give", memory.given.append)
        monkeypatch.setattr(torch.cuda, "device", device)
        yield memory


def inputs(rows=40):
    g = torch.Generator().manual_seed(rows)
    return [torch.randn(1, n, rows, 64, generator=g).to(torch.bfloat16) for n in (2, 1, 1)]


def prepared(run):
    """The result of a run on CPU tensors, and its call."""
    o = run()
    return o, list(_calls.calls.values())[-1]


def enqueued(gpu, call, q, k, v, want, others=()):
    at = [At(gpu.copy_in(t)) for t in (q, k, v)]
    to = At(gpu.copy_in(torch.zeros(want.shape, dtype=want.dtype)))
    _enqueue.enqueue(call, *at, to, None, others)
    o = torch.empty(call.o_shape, dtype=want.dtype).as_strided(call.o_shape, call.o_strides)
    gpu.copy_out(o, to.address)
    assert torch.equal(o, want)
    assert gpu.given == gpu.workspaces


def test_runs_of_several_kinds_in_turn(gpu):
    """Lengths of one run are not read by the next, which has none."""
    q, k, v = inputs()
    kept = {"vertical": 5, "slash": 9, "fallback": False}
    lengths = torch.tensor([23], dtype=torch.int32)
    plain, call = prepared(lambda: minfc.attention(q, k, v, "vertical_slash", **kept))
    padded, by_length = prepared(lambda: minfc.attention(q, k, v, "vertical_slash", lengths=lengths, **kept))
    assert call is not by_length and not torch.equal(plain, padded)
    for _ in range(2):
        enqueued(gpu, call, q, k, v, plain)
        enqueued(gpu, by_length, q, k, v, padded, (gpu.copy_in(lengths), 0, 0, 0, 0, 0, 0, 0, 0))
    assert len(gpu.given) == 4


def test_workspace_is_of_the_device_of_the_call(gpu):
    q, k, v = inputs()
    o, call = prepared(lambda: minfc.attention(q, k, v, "vertical_slash", vertical=4, slash=9, fallback=False))
    gpu.current = HERE + 1
    enqueued(gpu, call, q, k, v, o)
    assert len(gpu.given) == 1 and gpu.current == HERE + 1


def test_workspace_comes_back_after_an_error(gpu):
    q, k, v = inputs()
    o, call = prepared(lambda: minfc.attention(q, k, v, "vertical_slash", vertical=4, slash=9, fallback=False))
    at = [At(gpu.copy_in(t)) for t in (q, k, v)]
    with pytest.raises(ValueError, match="minfc: bad call: O overlaps Q"):
        _enqueue.enqueue(call, *at, at[0], None)
    assert len(gpu.given) == 1 and gpu.given == gpu.workspaces
