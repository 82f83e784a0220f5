"""Threads, forked children, and libraries that are missing or not ours."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import minfc
import pytest
import torch
from minfc import _calls, _library


def test_threads(make, monkeypatch):
    """Threads that compile, prepare and run the same and different things at once all get right results, and nothing is compiled twice."""
    made = []
    compiled = _calls.Attention
    monkeypatch.setattr(_calls, "Attention", lambda *what: made.append(what) or compiled(*what))
    cases = [(make(rows=20 + 7 * n, seed=n), {"sink": n % 3, "window": 41}) for n in range(6)]
    begin = threading.Barrier(8)

    def work(n):
        begin.wait()
        return [minfc.attention(*inputs, "a_shape", **params) for inputs, params in cases[n % 6 :] + cases[: n % 6]]

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(work, range(8)))
    assert len(made) == 3, "six cases have three sets of parameters"
    want = [minfc.attention(*inputs, "a_shape", **params) for inputs, params in cases]
    for n, outs in enumerate(got):
        for out, good in zip(outs, want[n % 6 :] + want[: n % 6]):
            assert torch.equal(out, good)


def test_calls_are_forgotten_and_counted(make, monkeypatch):
    monkeypatch.setattr(_calls, "MOST_CALLS", 3)
    count = lambda: minfc.counters().get("emulator sliding(window=77)", 0)  # noqa: E731
    for n in range(1, 8):
        q, k, v = make(rows=n)
        minfc.attention(q, k, v, "sliding", window=77)
        assert count() == n
        assert len(_calls.calls) <= _calls.MOST_CALLS


def test_many_attentions_are_told(make, monkeypatch):
    """A parameter that is another one in every call fills the device with kernels."""
    monkeypatch.setattr(_calls, "MANY_ATTENTIONS", len(_calls._attentions) + 2)
    q, k, v = make(rows=4)
    minfc.attention(q, k, v, "sliding", window=91)
    with pytest.warns(UserWarning, match="different attentions are compiled"):
        minfc.attention(q, k, v, "sliding", window=92)


def child(q, k, v, pipe):
    said = []
    for window in (5, 6):  # prepared in the parent, and new
        try:
            minfc.attention(q, k, v, "sliding", window=window)
        except RuntimeError as e:
            said.append(str(e))
    pipe.send(said)


def test_forked_child(make):
    q, k, v = make(rows=20)
    minfc.attention(q, k, v, "sliding", window=5)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    with _calls._lock:  # a thread that does not live in the child may hold it
        process = context.Process(target=child, args=(q, k, v, theirs))
        process.start()
    answered = ours.poll(30)
    if not answered:
        process.kill()
    process.join(30)
    assert answered, "the child hangs"
    said = ours.recv()
    assert process.exitcode == 0
    assert len(said) == 2 and all('get_context("spawn")' in text for text in said)
    minfc.attention(q, k, v, "sliding", window=6)  # the parent works on


def python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "MINFC_CACHE": "off", **env}, capture_output=True, text=True, timeout=120
    )


def test_spawned_process():
    code = "import torch, minfc; q = torch.ones(1, 1, 8, 64).bfloat16(); print(minfc.attention(q, q, q, 'dense').sum().item())"
    ran = python(code)
    assert ran.returncode == 0 and ran.stdout == "512.0\n" and ran.stderr == ""


def test_no_library(tmp_path):
    ran = python("import minfc", MINFC_LIBRARY=str(tmp_path / "none.so"))
    assert ran.returncode == 1
    assert f"ImportError: minfc has no library at {tmp_path}/none.so: install a wheel" in ran.stderr and "MINFC_LIBRARY" in ran.stderr


def test_not_a_library(tmp_path):
    (tmp_path / "bad.so").write_text("no library")
    ran = python("import minfc", MINFC_LIBRARY=str(tmp_path / "bad.so"))
    assert ran.returncode == 1 and "ImportError: minfc's library does not load" in ran.stderr
    compiler = shutil.which("cc")
    if compiler:
        subprocess.run([compiler, "-shared", "-o", tmp_path / "empty.so", "-x", "c", os.devnull], check=True)
        ran = python("import minfc", MINFC_LIBRARY=str(tmp_path / "empty.so"))
        assert ran.returncode == 1 and "empty.so is no library of minfc" in ran.stderr and "minfc_version" in ran.stderr


def test_another_version(tmp_path):
    """A package of another version, as after an upgrade of one of the two."""
    shutil.copytree(Path(minfc.__file__).parent, tmp_path / "minfc", ignore=shutil.ignore_patterns("*.so"))
    (tmp_path / "minfc/version.txt").write_text("99.1.2\n")
    ran = python("import minfc", MINFC_LIBRARY=str(_library.path()), PYTHONPATH=str(tmp_path))
    assert ran.returncode == 1
    assert f"is minfc {minfc.__version__} and the Python package is 99.1.2: install the wheel again" in ran.stderr


def test_errors_of_the_device_are_runtime_errors():
    error = _library.Error(code=5, message=b"out of device memory")
    with pytest.raises(RuntimeError, match="minfc: out of device memory"):
        _library.fail(error)


def test_long_reports(make):
    """JSON that is longer than the first guess of its length."""
    q, k, v = make(batch=8, q_heads=16, kv_heads=1, rows=3)
    heads = minfc.chosen(q, k, v)
    assert [len(entry) for entry in heads] == [16] * 8
