"""All stages at toy size, as docs/evals.md has them: a plan that keeps everything changes nothing, and a searched plan beats random ones."""

import dataclasses
import json
import os
import shutil
import subprocess

import pytest

from minfc_evals import __main__ as command
from minfc_evals import plans, report
from minfc_evals.settings import SETTINGS
from minfc_evals.tokens import Tokens
from minfc_evals.work import Missing

TOY = SETTINGS["toy"]
LENGTH = TOY.lengths[0]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    work = command.run(["all", "--toy", "--work", str(tmp_path_factory.mktemp("evals"))])
    return report.Results(work, TOY)


def knows_search():
    program = shutil.which(os.environ.get("MINFC") or "minfc")
    return program is not None and subprocess.run([program, "search", "--help"], capture_output=True).returncode == 0


def drift(results, plan):
    windows = results.windows(plan, LENGTH)
    return sum(w.drift for w in windows) / len(windows)


def test_a_plan_that_keeps_everything_is_exact(results):
    """Stock attention, dense kernels, and sparse kernels that keep all pairs predict the same."""
    for plan in ("dense", "keep all"):
        assert results.expected(plan, LENGTH, "density") == 1
        assert drift(results, plan) < 1e-4, plan  # rounding in bfloat16 makes 2e-5
        for by in TOY.scores:
            for task in TOY.tasks:
                assert results.hits(plan, LENGTH, task, by) == results.hits("stock", LENGTH, task, by)
    assert drift(results, "random 50%") > 50 * drift(results, "keep all")  # what is measured can be wrong


@pytest.mark.skipif(not knows_search(), reason="MINFC and PATH name no minfc with the command search")
def test_a_searched_plan_beats_random_ones(results):
    searched = results.expected("search 50% without gate", LENGTH, "density")
    for plan in ("random 50%", "random 50% again"):
        assert results.expected(plan, LENGTH, "density") >= 0.5 >= searched
        assert drift(results, "search 50% without gate") < drift(results, plan) / 2


def test_all_that_could_be_made_is_measured(results):
    page = (results.work.root / "accuracy.md").read_text()
    made = [p for p in TOY.plans if p != "search 50% without gate" or knows_search()]
    assert results.plans == made
    for plan in made:
        assert f"| {plan} | " in page
    if knows_search():
        assert "Nothing is missing." in page
    else:
        assert "- plan search 50% without gate at 512: " in page


def test_a_second_run_measures_nothing_again(results, capsys):
    before = (results.work.root / "evaluate" / "results.jsonl").read_bytes()
    command.run(["model", "train", "evaluate", "--toy", "--work", str(results.work.root.parent)])
    assert (results.work.root / "evaluate" / "results.jsonl").read_bytes() == before
    said = capsys.readouterr().out
    assert "model: kept" in said and "train: kept" in said and "all is measured" in said


def test_time_that_is_up_leaves_the_rest(results, tmp_path, capsys):
    """No measurement begins after the time, and the page says what is missing."""
    for stage in ("text", "model", "train", "search"):
        shutil.copytree(results.work.root / stage, tmp_path / "toy" / stage)
    command.run(["evaluate", "--toy", "--work", str(tmp_path), "--seconds", "0"])
    assert "measurements are left: run it again" in capsys.readouterr().out
    with pytest.raises(Missing, match="nothing was measured"):
        command.run(["report", "--toy", "--work", str(tmp_path)])


def test_training_is_of_the_seed(results):
    steps = results.work.manifest("train")["facts"]["steps"]
    assert [s["tokens"] for s in steps] == [512, 768] and all(s["loss"] > 0 for s in steps)


def test_stages_say_which_comes_before(tmp_path):
    for stage, before in [("model", "text"), ("train", "model"), ("search", "model"), ("evaluate", "model")]:
        with pytest.raises(Missing, match=f"stage {before} was not run"):
            command.run([stage, "--toy", "--work", str(tmp_path)])


def test_what_is_asked_for_changes_the_settings():
    a = command.arguments(["evaluate", "--lengths", "8k,512", "--scores", "strict=40,strict free=4", "--only", "task,clock", "--plans", "stock,dense", "--tasks", "single"])
    s = command.settings_of(a)
    assert (s.lengths, s.plans, s.tasks) == ((8192, 512), ("stock", "dense"), ("single",))
    assert s.scores == {"strict": 40, "strict free": 4} and s.only == ("task", "clock")
    with pytest.raises(SystemExit):
        command.arguments(["evaluate", "--scores", "strct=40"])
    assert dataclasses.replace(s, model="x").model == "x" and json.dumps(dataclasses.asdict(s))


@pytest.mark.skipif(not knows_search(), reason="no minfc search here: $MINFC names the command, CI has it")
def test_a_plan_is_searched_by_tasks(results, tmp_path):
    """A plan that is searched by prompts of tasks is one of its own, of the density asked for."""
    for stage in ("text", "model", "train"):
        shutil.copytree(results.work.root / stage, tmp_path / "toy" / stage)
    name = "search 50% by tasks"
    work = command.run(["search", "--toy", "--work", str(tmp_path), "--plans", f"stock,{name},search 50%"])
    assert work.manifest(plans.stage_of(LENGTH))["facts"]["missing"] == {}
    by_tasks, alike = (plans.read(work, n, LENGTH)[0] for n in (name, "search 50%"))
    assert 0.3 < by_tasks["search"]["density"] <= 0.51
    assert plans.bare(by_tasks) != plans.bare(alike)


def test_prompts_of_tasks_differ_and_fill_the_length(results):
    settings = dataclasses.replace(TOY, samples=3)
    tokens = Tokens.read(results.work.root / "model" / "tokenizer.json")
    prompts = plans.task_prompts(results.work, settings, tokens, LENGTH)
    assert [len(p) for p in prompts] == [LENGTH] * 3 and len({tuple(p) for p in prompts}) == 3
