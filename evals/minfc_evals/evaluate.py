"""Stage evaluate: every plan at every length, on text, tasks, the retrieval map, and the clock. Each result is a line that stays: a run that ends
early goes on where it was."""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import torch

import minfc
import minfc.transformers

from . import plans, score, text
from .model import identity, load
from .settings import Settings
from .tasks import Case, make
from .tokens import Tokens
from .work import Lines, Missing, Work

RESULTS = "results.jsonl"


class Bench:
    """The model and everything that is asked of it at one length. Cases and windows are the same for all plans."""

    def __init__(self, model: Any, tokens: Tokens, books: text.Books, settings: Settings, length: int):
        self.model, self.tokens, self.books, self.settings, self.length = model, tokens, books, settings, length
        self._dense: list[torch.Tensor] = []

    def case(self, task: str, number: int, depth: float | None = None) -> Case:
        seed = self.settings.seed * 1_000_000 + number
        return make(task, self.tokens, self.books, self.length, seed, depth=depth)

    def windows(self) -> list[np.ndarray]:
        s = self.settings
        return text.windows(self.books, self.length, s.text_bytes, self.tokens.bytes_of, self.tokens.bos)

    def dense(self) -> list[torch.Tensor]:
        """What the model makes of the windows with stock attention, in the host's memory. The first call is before a plan is installed."""
        if not self._dense:
            if self.model.config._attn_implementation == minfc.transformers.NAME:
                raise RuntimeError("windows of dense attention are wanted while a plan is in the model")
            self._dense = [score.hidden(self.model, w).cpu() for w in self.windows()]
        return self._dense


# What is measured of an installed plan: each gives the numbers of a line.


def on_text(bench: Bench) -> dict[str, Any]:
    """Bits per byte and drift, a window a row."""
    return {"windows": [asdict(score.window(bench.model, w, bench.tokens, d)[0]) for w, d in zip(bench.windows(), bench.dense())]}


def on_task(bench: Bench, task: str, by: str, cases: int) -> dict[str, Any]:
    """Which cases of a task are right by a score."""
    return {"hits": [score.SCORES[by](bench.model, bench.case(task, i)) for i in range(cases)]}


def on_map(bench: Bench) -> dict[str, Any]:
    """Single needles, strictly, by their depth."""
    s = bench.settings
    depths = [i / max(s.depths - 1, 1) for i in range(s.depths)]
    return {"depths": depths, "hits": [[score.strict(bench.model, bench.case("single", 1000 + i, d)) for i in range(s.map_cases)] for d in depths]}


def on_clock(bench: Bench) -> dict[str, Any]:
    """Seconds of whole prefills, the model's other layers included, after one that is not counted."""
    ids = torch.tensor(bench.case("single", 0).tokens, device=bench.model.device)[None]
    took = []
    for _ in range(bench.settings.timed + 1):
        _wait(bench.model)
        begin = time.perf_counter()
        with torch.no_grad():
            bench.model(ids, logits_to_keep=1, use_cache=False)
        _wait(bench.model)
        took.append(time.perf_counter() - begin)
    where = torch.cuda.get_device_name() if bench.model.device.type == "cuda" else "the emulator: times mean nothing"
    return {"seconds": statistics.median(took[1:]), "all": took[1:], "device": where}


def _wait(model: Any) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def units(settings: Settings) -> Iterator[tuple[dict[str, Any], Callable[[Bench], dict[str, Any]]]]:
    """What is measured of each plan: a key and how."""
    yield from ((key, how) for key, how in _all_units(settings) if key["what"] in settings.only)


def _all_units(settings: Settings) -> Iterator[tuple[dict[str, Any], Callable[[Bench], dict[str, Any]]]]:
    yield {"what": "clock", "timed": settings.timed}, on_clock
    yield {"what": "text", "bytes": settings.text_bytes}, on_text
    for by, cases in settings.scores.items():
        for task in settings.tasks:
            yield {"what": "task", "task": task, "score": by, "cases": cases}, lambda b, t=task, s=by, n=cases: on_task(b, t, s, n)
    yield {"what": "map", "depths": settings.depths, "cases": settings.map_cases}, on_map


@contextlib.contextmanager
def installed(model: Any, plan: dict[str, Any] | None) -> Iterator[None]:
    """A plan in a model, every row of every call by it; None is stock attention."""
    if plan is None:
        yield
        return
    minfc.install(model, minfc.Plan(plans.bare(plan)), min_queries=1, fallback=False)
    try:
        yield
    finally:
        minfc.uninstall(model)


def evaluate(work: Work, settings: Settings, device: str, seconds: float | None = None) -> Path:
    """Stage evaluate: FOLDER/results.jsonl. Ends after so many seconds, where they are given, and says what is left."""
    begin = time.monotonic()
    model, tokens = load(work, device)
    books = text.read(work.root / "model", "test")
    lines = Lines(work.root / "evaluate" / RESULTS)
    which = identity(work)
    left = 0
    for length in settings.lengths:
        bench = Bench(model, tokens, books, settings, length)
        for name in settings.plans:
            try:
                plan, digest = plans.read(work, name, length)
            except Missing as e:
                work.say(f"{e}; the other plans are evaluated")
                continue
            key = {"model": which, "length": length, "plan": name, "digest": digest, "seed": settings.seed}
            todo = [(key | unit, how) for unit, how in units(settings) if lines.get(key | unit) is None]
            left += _run(bench, plan, todo, lines, work, None if seconds is None else begin + seconds)
    work.say(f"evaluate: {'all is measured' if not left else f'{left} measurements are left: run it again'}")
    return lines.path


def _run(bench: Bench, plan: dict[str, Any] | None, todo: list[Any], lines: Lines, work: Work, until: float | None) -> int:
    """Measures what is to do of one plan. Returns how many are left when the time is up."""
    if any(key["what"] == "text" for key, _ in todo) and not _over(until):
        bench.dense()  # before the plan is in the model
    for i, (key, how) in enumerate(todo):
        if _over(until):
            return len(todo) - i
        begin = time.monotonic()
        with installed(bench.model, plan):
            found = how(bench)
        lines.add(key, found)
        said = " ".join(str(key[k]) for k in ("task", "score") if k in key)
        work.say(f"{key['length']} tokens, {key['plan']}: {key['what']} {said} in {time.monotonic() - begin:.1f} s")
    return 0


def _over(until: float | None) -> bool:
    return until is not None and time.monotonic() >= until
