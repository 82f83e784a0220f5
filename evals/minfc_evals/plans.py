"""Stage search: the plans that are compared. Each is a JSON file of one length, with what was measured of it where the search says so."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from pathlib import Path
from typing import Any, Callable

import minfc

from . import mixture, text
from .model import identity, load
from .settings import Settings
from .tokens import Tokens
from .work import Missing, Work

BLOCK = 64
Layers = list[dict[str, Any]]
NAMES = r"(?P<how>[a-z_ ]+?)(?: (?P<percent>\d+)%)?(?P<more> without gate| again)?"


def make_plans(work: Work, settings: Settings, device: str) -> Path:
    """Stage search: FOLDER/LENGTH/NAME.json for each plan but "stock". A plan that cannot be made is named in the manifest, with the reason."""
    inputs = {"model": identity(work), "plans": settings.plans, "lengths": settings.lengths, "samples": settings.samples, "seed": settings.seed}
    inputs = json.loads(json.dumps(inputs))

    def make(folder: Path) -> dict[str, Any]:
        model, tokens = load(work, device)
        missing: dict[str, str] = {}
        for length in settings.lengths:
            (folder / str(length)).mkdir()
            prompts = calibration(work, settings, tokens, length)
            for name in settings.plans:
                if name == "stock":
                    continue
                try:
                    plan = plan_of(name, model, prompts, folder / str(length))
                except (FileNotFoundError, RuntimeError) as e:
                    missing[f"{name} at {length}"] = str(e)
                    work.say(f"plan {name} at {length} tokens: {e}")
                    continue
                (folder / str(length) / f"{name}.json").write_text(json.dumps(plan), encoding="utf-8")
                work.say(f"plan {name} at {length} tokens: density {density(plan)}")
        return {"missing": missing}

    return work.stage("search", inputs, make)


def calibration(work: Work, settings: Settings, tokens: Tokens, length: int) -> list[list[int]]:
    """Prompts that plans are searched by: training sequences with facts in them and questions at their end. No text of the test is in them."""
    books = text.read(work.root / "model", "train")
    out: list[list[int]] = []
    for seed in range(settings.samples):
        s = mixture.Source(tokens, books, "train", random.Random(f"calibration {settings.seed} {length} {seed}"))
        out.append(mixture.soup(s, length)[0])
    return out


def plan_of(name: str, model: Any, prompts: list[list[int]], folder: Path) -> dict[str, Any]:
    """The JSON of a plan by its name. Raises ValueError for a name that none of HOW makes."""
    said = re.fullmatch(NAMES, name)
    if said is None or said["how"] not in HOW:
        raise ValueError(f"there is no plan {name!r}: have stock, {', '.join(HOW)}, with a density such as 10%")
    part = float(said["percent"]) / 100 if said["percent"] else 1.0
    return HOW[said["how"]](model, prompts, part, said["more"] or "", folder)


def _heads(model: Any) -> tuple[int, int]:
    return model.config.num_hidden_layers, model.config.num_attention_heads


def _all_alike(model: Any, entry: dict[str, Any]) -> dict[str, Any]:
    layers, heads = _heads(model)
    return {"schema": 1, "layers": [{str(h): entry for h in range(heads)} for _ in range(layers)]}


def _dense(model: Any, *_: Any) -> dict[str, Any]:
    return {**_all_alike(model, {"pattern": "dense"}), "search": {"density": 1.0}}


def _keep_all(model: Any, prompts: list[list[int]], *_: Any) -> dict[str, Any]:
    """Sparse patterns, with budgets that keep everything: what their index stages and masks do wrong would show."""
    n = len(prompts[0])
    kinds = [
        {"pattern": "a_shape", "params": {"sink": 1, "window": n}},
        {"pattern": "vertical_slash", "params": {"vertical": n, "slash": n}},
        {"pattern": "block_sparse", "params": {"topk": -(-n // BLOCK)}},
    ]
    layers, heads = _heads(model)
    plan = [{str(h): kinds[(i + h) % len(kinds)] for h in range(heads)} for i in range(layers)]
    return {"schema": 1, "layers": plan, "search": {"density": 1.0}}


def _search(model: Any, prompts: list[list[int]], part: float, more: str, folder: Path) -> dict[str, Any]:
    return _by_command(model, prompts, folder, ("--gate", "1") if more else (), part)


def _minference(model: Any, prompts: list[list[int]], part: float, more: str, folder: Path) -> dict[str, Any]:
    return _by_command(model, prompts[:1], folder, ("--rule", "minference"), part)


def _by_command(model: Any, prompts: list[list[int]], folder: Path, options: tuple[str, ...], part: float) -> dict[str, Any]:
    out = folder / "found"
    try:
        minfc.search(model, prompts, density=part, out=out, folder=folder, options=options)
        plan: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    finally:
        out.unlink(missing_ok=True)
    return plan


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
    """One pattern in all heads, sized for a density. What it really keeps, minfc search measures: of this one candidate, in the heads that it
    takes it for, which is all of them where it is predicted to be faster than dense attention."""

    def make(model: Any, prompts: list[list[int]], part: float, more: str, folder: Path) -> dict[str, Any]:
        entry = {"pattern": pattern, "params": SIZED[pattern](len(prompts[0]), part)}
        candidates = folder / "candidates"
        candidates.write_text(json.dumps([entry]), encoding="utf-8")
        plan, out = _all_alike(model, entry), folder / "found"
        try:
            options = ("--candidates", str(candidates), "--gate", "1")
            minfc.search(model, prompts[:1], error=1e6, out=out, folder=folder, options=options)
            found = [h["search"]["density"] for layer in json.loads(out.read_text())["layers"] for h in layer.values() if h["pattern"] == pattern]
        finally:
            candidates.unlink()
            out.unlink(missing_ok=True)
        return {**plan, "search": {"density": sum(found) / len(found)}} if found else plan

    return make


def _random(model: Any, prompts: list[list[int]], part: float, more: str, folder: Path) -> dict[str, Any]:
    """A window of random width a head, in all of them together of the density asked for or a bit more. It is what a search has to beat."""
    n, (layers, heads) = len(prompts[0]), _heads(model)
    r = random.Random(f"random {n} {part} {more}")
    weights = [r.random() ** 2 for _ in range(layers * heads)]
    low, high = 0.0, 1e6
    for _ in range(60):  # the scale of the widths that gives the density
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_band(n, weights, middle) < part else (low, middle)
    widths = [_width(n, w, high) for w in weights]
    plan = [{str(h): {"pattern": "a_shape", "params": {"sink": 0, "window": widths[i * heads + h]}} for h in range(heads)} for i in range(layers)]
    return {"schema": 1, "layers": plan, "search": {"density": _mean_band(n, weights, high)}}


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


def density(plan: dict[str, Any]) -> float | None:
    """What the search measured on its own prompts, None where nobody did."""
    found = plan.get("search", {}).get("density")
    return None if found is None else float(found)


def bare(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan without what a search noted."""
    layers = [{head: {k: v for k, v in entry.items() if k in ("pattern", "params")} for head, entry in layer.items()} for layer in plan["layers"]]
    return {"schema": 1, "layers": layers}


def read(work: Work, name: str, length: int) -> tuple[dict[str, Any] | None, str]:
    """A plan of the stage search and a digest of it; None for "stock". Raises Missing where it was not made."""
    if name == "stock":
        return None, "stock"
    path = work.root / "search" / str(length) / f"{name}.json"
    if not path.exists():
        raise Missing(f"there is no plan {name} for {length} tokens: run the stage search; its manifest says why if it was not made")
    said = path.read_bytes()
    return json.loads(said), hashlib.sha256(said).hexdigest()[:16]
