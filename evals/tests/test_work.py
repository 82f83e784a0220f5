"""Stages are made once, whole or not at all; lines that were written stay."""

import json

import pytest

from minfc_evals.work import Lines, Missing, Work


def test_a_stage_is_made_once_for_the_same_inputs(tmp_path):
    work, made = Work(tmp_path, lambda _: None), []

    def make(folder):
        made.append(1)
        (folder / "x").write_text("x" * len(made))
        return {"fact": 1}

    folder = work.stage("a", {"seed": 1}, make)
    first = work.identity("a")
    work.stage("a", {"seed": 1}, make)
    assert len(made) == 1 and work.manifest("a")["facts"] == {"fact": 1}
    work.stage("a", {"seed": 2}, make)
    assert len(made) == 2 and work.identity("a") != first
    (folder / "x").write_text("changed by hand")
    work.stage("a", {"seed": 2}, make)
    assert len(made) == 3


def test_what_fails_leaves_what_there_was(tmp_path):
    work = Work(tmp_path, lambda _: None)

    def good(folder):
        (folder / "x").write_text("good")
        return {}

    def bad(folder):
        (folder / "x").write_text("half")
        raise OSError("no room")

    folder = work.stage("a", {"seed": 1}, good)
    with pytest.raises(OSError):
        work.stage("a", {"seed": 2}, bad)
    assert (folder / "x").read_text() == "good" and work.manifest("a")["inputs"] == {"seed": 1}
    with pytest.raises(Missing, match="stage b was not run"):
        work.manifest("b")


def test_lines_outlive_a_run_that_was_stopped(tmp_path):
    path = tmp_path / "lines.jsonl"
    Lines(path).add({"plan": "a"}, {"hits": [1]})
    with open(path, "a") as f:
        f.write('{"key": {"plan": "b"}, "hi')
    lines = Lines(path)
    assert lines.get({"plan": "a"})["hits"] == [1] and lines.get({"plan": "b"}) is None
    lines.add({"plan": "b"}, {"hits": [2]})
    assert Lines(path).get({"plan": "b"})["hits"] == [2]
    assert json.loads(path.read_text().splitlines()[0])["hits"] == [1]
