"""Stage search: the plans that are compared. Each is a JSON file of one length, with what was measured of it where the search says so."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable

import minfc

from . import mixture, tasks, text
from .model import identity, load
from .settings import Settings
from .tokens import Tokens
from .work import Missing, Work

BLOCK = 64
Layers = list[dict[str, Any]]
MORE = ("without gate", "without weights", "twice", "again", "by tasks")
ASKING = ("multi-value", "variables")  # tasks whose answers have several parts, which no question of calibration() has
NAMES = rf"(?P<how>[a-z_ ]+?)(?: (?P<percent>\d+)%)?(?: (?P<more>{'|'.join(MORE)}))?"


class Source:
    """What plans are made from: a model, its prompts of one length, and the q, k and v of its layers, captured once for all plans. asking gives other
    prompts, of tasks."""

    def __init__(self, model: Any, prompts: list[list[int]], inputs: Any, folder: Path, asking: Callable[[], list[list[int]]] = list):
        self.model, self.prompts, self.inputs, self.folder, self.asking = model, prompts, inputs, folder, asking
        self.tokens = len(prompts[0])
        self.layers, self.heads = model.config.num_hidden_layers, model.config.num_attention_heads

    def alike(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A plan of one entry in all heads."""
        return {"schema": 1, "layers": [{str(h): entry for h in range(self.heads)} for _ in range(self.layers)]}

    def searched(self, inputs: Any = None, **goal: Any) -> dict[str, Any]:
        """The JSON of what a search finds."""
        return _kept(self.folder, lambda out: (inputs or self.inputs).search(**goal, out=out))

    def measured(self, plan: dict[str, Any]) -> dict[str, Any]:
        """The JSON of a plan with what a search expects of it."""
        return _kept(self.folder, lambda out: self.inputs.measure(bare(plan), out=out))


def _kept(folder: Path, write: Callable[[Path], Any]) -> dict[str, Any]:
    out = folder / "found"
    try:
        write(out)
        plan: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    finally:
        out.unlink(missing_ok=True)
    return plan


def make_plans(work: Work, settings: Settings, device: str) -> None:
    """Stage search: FOLDER/LENGTH/NAME.json for each plan but "stock", a stage of its own for each length. A plan that cannot be made is named in the
    manifest of its length, with the reason."""
    for length in settings.lengths:
        _plans_of_length(work, settings, device, length)


def _plans_of_length(work: Work, settings: Settings, device: str, length: int) -> None:
    inputs = {"model": identity(work), "plans": list(settings.plans), "length": length, "samples": settings.samples, "seed": settings.seed}

    def make(folder: Path) -> dict[str, Any]:
        model, tokens = load(work, device)
        missing: dict[str, str] = {}
        try:
            asking = partial(task_prompts, work, settings, tokens, length)
            made = _searched(work, settings, model, calibration(work, settings, tokens, length), asking, folder, missing)
            made = _on_test(work, model, test_prompt(work, settings, tokens, length), folder, made, missing)
        except FileNotFoundError as e:  # the command minfc
            raise Missing(str(e)) from e
        for name, plan in made.items():
            (folder / f"{name}.json").write_text(json.dumps(plan), encoding="utf-8")
        return {"missing": missing}

    work.stage(stage_of(length), inputs, make)


def stage_of(length: int) -> str:
    """The stage that makes the plans of a length."""
    return f"search/{length}"


def _searched(
    work: Work, settings: Settings, model: Any, prompts: list[list[int]], asking: Callable[[], list[list[int]]], folder: Path, missing: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """The plans of a length, by name. The reason of each that cannot be made goes to missing."""
    made: dict[str, dict[str, Any]] = {}
    length = len(prompts[0])
    with minfc.captured(model, prompts, folder=folder) as inputs:
        source = Source(model, prompts, inputs, folder, asking)
        for name in settings.plans:
            if name == "stock":
                continue
            begin = time.monotonic()
            try:
                made[name] = plan_of(name, source)
            except RuntimeError as e:
                missing[f"{name} at {length}"] = str(e)
                work.say(f"plan {name} at {length} tokens: {e}")
                continue
            work.say(f"plan {name} at {length} tokens: {made[name].get('search')} in {time.monotonic() - begin:.1f} s")
    return made


def _on_test(
    work: Work, model: Any, prompt: list[int], folder: Path, made: dict[str, dict[str, Any]], missing: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """The plans with what they keep of a prompt of the test, which no search has seen: "test" beside "search". A plan that cannot be measured on it is
    evaluated all the same, and named among what is missing."""
    out: dict[str, dict[str, Any]] = {}
    with minfc.captured(model, [prompt], folder=folder) as inputs:
        source = Source(model, [prompt], inputs, folder)
        for name, plan in made.items():
            try:
                out[name] = {**plan, "test": source.measured(plan)["search"]}
            except RuntimeError as e:
                out[name] = plan
                missing[f"{name} at {len(prompt)}, on the test"] = str(e)
                work.say(f"plan {name} at {len(prompt)} tokens, on a prompt of the test: {e}")
    return out


def calibration(work: Work, settings: Settings, tokens: Tokens, length: int) -> list[list[int]]:
    """Prompts that plans are searched by: training sequences with facts in them and questions at their end. No text of the test is in them."""
    books = text.read(work.root / "model", "train")
    out: list[list[int]] = []
    for seed in range(settings.samples):
        s = mixture.Source(tokens, books, "train", random.Random(f"calibration {settings.seed} {length} {seed}"))
        out.append(mixture.soup(s, length)[0])
    return out


def task_prompts(work: Work, settings: Settings, tokens: Tokens, length: int) -> list[list[int]]:
    """Prompts of the training split that are tasks of ASKING with their answers, one after the other, as many as a plan is searched by."""
    books = text.read(work.root / "model", "train")
    which = [ASKING[i % len(ASKING)] for i in range(settings.samples)]
    return [list(tasks.make(task, tokens, books, length, settings.seed * 1_000_000 + i, split="train").tokens) for i, task in enumerate(which)]


def test_prompt(work: Work, settings: Settings, tokens: Tokens, length: int) -> list[int]:
    """A prompt of the test that no task is scored by."""
    return list(tasks.make("single", tokens, text.read(work.root / "model", "test"), length, settings.seed * 1_000_000 + 999_999).tokens)


def plan_of(name: str, source: Source) -> dict[str, Any]:
    """The JSON of a plan by its name. Raises ValueError for a name that none of HOW makes."""
    said = re.fullmatch(NAMES, name)
    if said is None or said["how"] not in HOW:
        raise ValueError(f"there is no plan {name!r}: have stock, {', '.join(HOW)}, with a density such as 10%")
    part = float(said["percent"]) / 100 if said["percent"] else 1.0
    return HOW[said["how"]](source, part, said["more"] or "")


def _dense(source: Source, *_: Any) -> dict[str, Any]:
    return source.measured(source.alike({"pattern": "dense"}))


def _keep_all(source: Source, *_: Any) -> dict[str, Any]:
    """Sparse patterns, with budgets that keep everything: what their index stages and masks do wrong would show."""
    n = source.tokens
    kinds = [
        {"pattern": "a_shape", "params": {"sink": 1, "window": n}},
        {"pattern": "vertical_slash", "params": {"vertical": n, "slash": n}},
        {"pattern": "block_sparse", "params": {"topk": -(-n // BLOCK)}},
    ]
    plan = [{str(h): kinds[(i + h) % len(kinds)] for h in range(source.heads)} for i in range(source.layers)]
    return source.measured({"schema": 1, "layers": plan})


def _search(source: Source, part: float, more: str) -> dict[str, Any]:
    """minfc.search, with everything it has unless the name says otherwise; "twice" searches again with what layers get under the first plan, "by tasks"
    by prompts of tasks."""
    goal: dict[str, Any] = {"density": part, "weights": None if more == "without weights" else "drift"}
    if more == "without gate":
        goal["options"] = ("--gate", "1")
    if more == "by tasks":
        with minfc.captured(source.model, source.asking(), folder=source.folder) as inputs:
            return source.searched(inputs, **goal)
    first = source.searched(**goal)
    if more != "twice":
        return first
    with minfc.captured(source.model, source.prompts, plan=minfc.Plan(bare(first)), folder=source.folder) as inputs:
        return source.searched(inputs, **goal)


def _minference(source: Source, part: float, more: str) -> dict[str, Any]:
    return source.searched(density=part, options=("--rule", "minference"))


def across(n: int, part: float) -> int:
    """The width of a causal band that keeps a part of n * n / 2 pairs: of n rows with w keys each, but for the first w, n^2 part is n^2 - (n - w)^2."""
    return max(1, round(n * (1 - math.sqrt(1 - part))))


SIZED: dict[str, Callable[[int, float], dict[str, int]]] = {
    "a_shape": lambda n, part: {"sink": min(max(n // 256, 4), 128), "window": across(n, part)},
    "vertical_slash": lambda n, part: {"vertical": max(30, int(part * n / 2)), "slash": max(100, int(part * n / 4))},
    "block_sparse": lambda n, part: {"topk": across(-(-n // BLOCK), part)},
    "sink_blocks": lambda n, part: {"topk": across(-(-n // BLOCK), part)},
}


def _one_pattern(pattern: str) -> Callable[..., dict[str, Any]]:
    """One pattern in all heads, sized for a density. What it really keeps is measured."""

    def make(source: Source, part: float, more: str) -> dict[str, Any]:
        return source.measured(source.alike({"pattern": pattern, "params": SIZED[pattern](source.tokens, part)}))

    return make


def _random(source: Source, part: float, more: str) -> dict[str, Any]:
    """A window of random width a head, in all of them together of the density asked for or a bit more. It is what a search has to beat."""
    n, heads = source.tokens, source.heads
    r = random.Random(f"random {n} {part} {more}")
    weights = [r.random() ** 2 for _ in range(source.layers * heads)]
    low, high = 0.0, 1e6
    for _ in range(60):  # the scale of the widths that gives the density
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_band(n, weights, middle) < part else (low, middle)
    widths = [_width(n, w, high) for w in weights]
    plan = [{str(h): {"pattern": "a_shape", "params": {"sink": 0, "window": widths[i * heads + h]}} for h in range(heads)} for i in range(source.layers)]
    return source.measured({"schema": 1, "layers": plan})


def _width(n: int, weight: float, scale: float) -> int:
    return max(1, min(n, round(weight * scale)))


def _mean_band(n: int, weights: list[float], scale: float) -> float:
    """The density of windows, exact: a window of w keeps w keys of each row but for the first w rows, which have less."""
    kept = [w * n - w * (w - 1) // 2 for w in (_width(n, x, scale) for x in weights)]
    return sum(kept) / len(kept) / (n * (n + 1) / 2)


HOW: dict[str, Callable[..., dict[str, Any]]] = {
    "dense": _dense,
    "keep all": _keep_all,
    "search": _search,
    "minference": _minference,
    **{pattern: _one_pattern(pattern) for pattern in SIZED},
    "random": _random,
}


def expected(plan: dict[str, Any], of: str = "search") -> dict[str, float]:
    """What was measured of a plan on the prompts of the search, or on a prompt of the test: density, error, milliseconds. Nothing where nobody did."""
    found: dict[str, float] = plan.get(of) or {}
    return found


def bare(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan without what a search noted."""
    layers = [{head: {k: v for k, v in entry.items() if k in ("pattern", "params")} for head, entry in layer.items()} for layer in plan["layers"]]
    return {"schema": 1, "layers": layers}


def read(work: Work, name: str, length: int) -> tuple[dict[str, Any] | None, str]:
    """A plan of the stage search and a digest of it; None for "stock". Raises Missing where it was not made."""
    if name == "stock":
        return None, "stock"
    path = work.root / stage_of(length) / f"{name}.json"
    if not path.exists():
        raise Missing(f"there is no plan {name} for {length} tokens: run the stage search; its manifest says why if it was not made")
    said = path.read_bytes()
    return json.loads(said), hashlib.sha256(said).hexdigest()[:16]
