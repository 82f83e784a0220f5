"""python -m minfc_evals STAGE [--toy]: see docs/evals.md."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import torch
import transformers

from . import evaluate, fetch, model, plans, report, train
from .score import SCORES
from .settings import SETTINGS, Settings
from .work import Missing, Work, default

STAGES = ("fetch", "model", "train", "search", "evaluate", "report")


def arguments(given: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m minfc_evals", description="Does a model answer as before when its attention is sparse?")
    p.add_argument("stages", nargs="+", choices=("all", *STAGES), metavar="STAGE", help=f"all, or some of: {', '.join(STAGES)}")
    p.add_argument("--model", default="smollm2", choices=[m for m in SETTINGS if m != "toy"], help="whose weights; smollm2 unless given")
    p.add_argument("--toy", action="store_true", help="a tiny model with random weights, on the emulator")
    p.add_argument("--work", type=Path, help="where everything is kept; minfc-evals in the user's cache folder unless given")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="of torch; cuda where there is one")
    p.add_argument("--lengths", type=_lengths, help="tokens of prompts, such as 8k,32k")
    p.add_argument("--plans", type=lambda s: tuple(s.split(",")), help="names of plans, separated by commas")
    p.add_argument("--tasks", type=lambda s: tuple(s.split(",")), help="names of tasks, separated by commas")
    p.add_argument("--scores", type=_scores, help='cases a task by each score, such as "strict=200,decoded=50"; scores that are not named are not taken')
    p.add_argument("--only", type=lambda s: tuple(s.split(",")), help="of clock, text, task, map: what evaluate measures; all unless given")
    p.add_argument("--text-bytes", type=int, help="least bytes of held-out text")
    p.add_argument("--minutes", type=float, default=6, help="of training; 6 unless given")
    p.add_argument("--seconds", type=float, help="after which evaluate ends; what is left is measured by the next run")
    p.add_argument("--out", type=Path, help="the page to write; docs/accuracy.md in a clone, or in the work folder with --toy, unless given")
    return p.parse_args(given)


def _lengths(said: str) -> tuple[int, ...]:
    try:
        return tuple(int(s[:-1]) * 1024 if s.lower().endswith("k") else int(s) for s in said.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{said!r} is no list of lengths, want something like 8k,32k") from None


def _scores(said: str) -> dict[str, int]:
    try:
        given = {name: int(cases) for name, cases in (part.split("=") for part in said.split(","))}
    except ValueError:
        given = {"": 0}
    if not set(given) <= set(SCORES) or min(given.values()) < 1:
        raise argparse.ArgumentTypeError(f"{said!r} is no list of scores with cases, want something like strict=200,decoded=50; there are {', '.join(SCORES)}")
    return given


def settings_of(a: argparse.Namespace) -> Settings:
    s = SETTINGS["toy" if a.toy else a.model]
    changed = {name: getattr(a, name) for name in ("lengths", "plans", "tasks", "text_bytes", "scores", "only") if getattr(a, name) is not None}
    return dataclasses.replace(s, **changed)


def run(given: list[str] | None = None) -> Work:
    """Runs the stages asked for. Raises Missing with what to do about it."""
    a = arguments(given)
    s = settings_of(a)
    work = Work((a.work or default()) / s.model)
    device = "cpu" if s.toy else a.device
    transformers.utils.logging.disable_progress_bar()
    for stage in STAGES if "all" in a.stages else sorted(a.stages, key=STAGES.index):
        if stage == "fetch":
            fetch.fetch_text(work, s)
            if not s.toy:
                fetch.fetch_weights(work, s)
        elif stage == "model":
            model.make_model(work, s)
        elif stage == "train":
            train.train(work, s, device, a.minutes)
        elif stage == "search":
            plans.make_plans(work, s, device)
        elif stage == "evaluate":
            evaluate.evaluate(work, s, device, a.seconds)
        else:
            report.write(work, s, a.out)
    return work


if __name__ == "__main__":
    try:
        run()
    except (Missing, ValueError) as e:
        sys.exit(f"minfc_evals: {e}")
