"""docs/python.md: its code blocks run, one after the other, and print what the page says."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs/python.md"


def blocks(text):
    """The Python blocks of a page, each with what stands in the text block behind it, or None."""
    found = re.findall(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", text, re.DOTALL)
    return [(code, printed or None) for code, printed in found]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the page takes long tensors on a GPU; the emulator is what CI has")
def test_page_runs():
    torch._dynamo.reset()
    names: dict = {}
    parts = blocks(PAGE.read_text())
    assert len(parts) > 8
    for code, printed in parts:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(PAGE), "exec"), names)
        assert out.getvalue() == (printed or "")
