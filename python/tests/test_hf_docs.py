"""docs/transformers.md and docs/minference.md: their code blocks run, one after the other, and print what the pages say."""

import contextlib
import io
from pathlib import Path

import pytest
import torch

from test_docs import blocks

pytest.importorskip("transformers")

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page, least", [("transformers.md", 4), ("minference.md", 2)])
def test_page_runs(page, least, monkeypatch, tmp_path):
    torch._dynamo.reset()
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    parts = blocks((DOCS / page).read_text())
    assert len(parts) >= least
    names: dict = {}
    for code, printed in parts:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, page, "exec"), names)
        assert out.getvalue() == (printed or "")
