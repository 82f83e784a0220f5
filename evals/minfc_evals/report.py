"""Stage report: the page and its pictures, from the lines of evaluate and nothing else."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from . import draw, plans, score
from .evaluate import RESULTS, units
from .model import identity
from .score import Window
from .settings import Settings
from .work import Lines, Missing, Work

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {"smollm2": DOCS / "accuracy.md", "gemma3": DOCS / "accuracy-gemma3.md"}
NONE = "–"
LITTLE = 0.05  # more bits per byte
PLANS = """\
- **stock** is transformers' own attention (sdpa), **dense** our dense kernel.
- **search X%** is `minfc.search(model, prompts, density=X, weights="drift")`; "without weights" counts all layers alike, "without gate" leaves out the
  retrieval check, "twice" searches again with what layers get under the first plan, "by tasks" by prompts of
  tasks whose answers have several parts.
- **minference X%** is the rule of MInference 1.0: for each head the best of its candidates at equal density, one sample.
- Names of patterns are that pattern in all heads, sized for the density; **random** plans are windows of random widths.
- *density* is of the search's prompts, *on the test* of a prompt of the test; *error* and *attention* are what the search predicts of them.""".splitlines()


class Results:
    """What is known of each plan at each length, None where it was not measured."""

    def __init__(self, work: Work, settings: Settings):
        self.work, self.settings, self.which = work, settings, identity(work)
        self.rows: dict[tuple[str, int], list[dict[str, Any]]] = {}  # of a plan at a length
        for row in Lines(work.root / "evaluate" / RESULTS).rows.values():
            self.rows.setdefault((row["key"]["plan"], row["key"]["length"]), []).append(row)

    def line(self, plan: str, length: int, **wanted: Any) -> dict[str, Any] | None:
        """The line of a plan for what is wanted; of several the one with the most cases."""
        try:
            _, digest = plans.read(self.work, plan, length)
        except Missing:
            return None
        want = {"model": self.which, "digest": digest, "seed": self.settings.seed, **wanted}
        found = [row for row in self.rows.get((plan, length), []) if all(row["key"].get(k) == v for k, v in want.items())]
        return max(found, key=lambda row: row["key"].get("cases", 0), default=None)

    def hits(self, plan: str, length: int, task: str, by: str) -> list[bool] | None:
        found = self.line(plan, length, what="task", task=task, score=by)
        return None if found is None else found["hits"]

    def windows(self, plan: str, length: int) -> list[Window] | None:
        found = self.line(plan, length, what="text")
        return None if found is None else [Window(**w) for w in found["windows"]]

    def milliseconds(self, plan: str, length: int) -> float | None:
        found = self.line(plan, length, what="clock")
        return None if found is None else found["seconds"] * 1000

    def plan(self, name: str, length: int) -> dict[str, Any] | None:
        """The JSON of a plan, None for stock attention. Raises Missing where it was not made."""
        return plans.read(self.work, name, length)[0]

    def expected(self, plan: str, length: int, what: str, of: str = "search") -> float | None:
        """What minfc search says of a plan: its density, error or milliseconds, on the prompts of the search or on one of the test."""
        try:
            made = self.plan(plan, length)
        except Missing:
            return None
        return {"density": 1.0, "error": 0.0}.get(what) if made is None else plans.expected(made, of).get(what)

    def drift(self, plan: str, length: int) -> float | None:
        """The mean drift of a plan on held-out text, in nats."""
        windows = self.windows(plan, length)
        return None if windows is None else sum(w.drift for w in windows) / len(windows)

    @property
    def plans(self) -> list[str]:
        return [p for p in self.settings.plans if any(self.line(p, n) for n in self.settings.lengths)]


def write(work: Work, settings: Settings, out: Path | None = None) -> Path:
    """Writes the page and a folder of pictures beside it, whole or not at all. Raises Missing where nothing was measured."""
    page = out or PAGES.get(settings.model, work.root / "accuracy.md")
    r = Results(work, settings)
    if not r.plans:
        raise Missing(f"nothing was measured in {work.root}: run the stage evaluate")
    pictures = page.with_suffix("")
    new = page.parent / (pictures.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    drawn = _pictures(r, new)
    text = "\n".join(_lines(r, pictures.name, drawn))
    shutil.rmtree(pictures, ignore_errors=True)
    new.rename(pictures)
    page.write_text(text, encoding="utf-8")
    work.say(f"report: {page}")
    return page


def _lines(r: Results, folder: str, drawn: list[str]) -> list[str]:
    facts = r.work.manifest("text")["facts"]
    out = ["# Accuracy", "", "This page is made by `python -m minfc_evals report`; [evals.md](evals.md) says what is measured and how.", ""]
    out += [f"Model: {r.settings.model}. {_trained(r.work)} Every number is of this model under a plan that `minfc.install` runs, lists chosen on the device.", ""]
    out += [*PLANS, "", *_text_facts(facts)]
    for length in r.settings.lengths:
        if not any(r.line(p, length) for p in r.settings.plans):
            continue
        out += ["", f"## {length} tokens", "", *_main_table(r, length)]
        for by in r.settings.scores:
            out += _task_table(r, length, by)
    out += ["", "## Pictures", "", *[f"![{name}]({folder}/{name}.svg)" for name in drawn], "", *_missing(r)]
    return out


def _trained(work: Work) -> str:
    if not (work.root / "train").exists():
        return "It was not trained."
    facts = work.manifest("train")["facts"]
    steps = facts["steps"]
    return f"It was trained densely for {len(steps)} steps, {sum(s['tokens'] for s in steps) / 1e6:.1f} million tokens, on {facts['device']}."


def _text_facts(facts: dict[str, Any]) -> list[str]:
    packages = facts.get("packages", {})
    out = [f"- {name} {p['version']}, for {p['split']}: {p['licence']}" for name, p in packages.items()]
    return ["Text:", "", *out, *[f"- {m}" for m in facts.get("missing", [])]] if out else [f"Text: {facts.get('licence', '')}"]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *["| " + " | ".join(row) + " |" for row in rows]]


def _percent(x: float | None, digits: int = 1) -> str:
    return NONE if x is None else f"{100 * x:.{digits}f}%"


def _main_table(r: Results, length: int) -> list[str]:
    """Density, time and text of each plan."""
    dense = r.windows("stock", length)
    rows = []
    for plan in r.plans:
        windows, ms = r.windows(plan, length), r.milliseconds(plan, length)
        if windows is None and ms is None:
            continue
        bits = more = NONE
        if windows is not None:
            bits = f"{score.bits_per_byte(windows):.4f}"
            if dense is not None:
                m = score.more_bits(windows, dense)
                more = f"{100 * m.value:+.2f}% [{100 * m.low:+.2f}, {100 * m.high:+.2f}]"
        error, attention = r.expected(plan, length, "error"), r.expected(plan, length, "ms")
        rows.append([plan, _percent(r.expected(plan, length, "density")), _percent(r.expected(plan, length, "density", "test")), _number(attention, 2),
                     NONE if ms is None else f"{ms:.1f}", _number(error, 3), bits, more, _number(r.drift(plan, length), 4)])  # fmt: skip
    size = sum(w.bytes for w in dense or [])
    where = (r.line("stock", length, what="clock") or {}).get("device", "nothing yet")
    head = ["plan", "density", "on the test", "attention, ms, predicted", "prefill, ms", "error, predicted", "bits per byte", "more than stock", "drift, nats"]
    return [f"Text: {size} bytes in {len(dense or [])} windows. Times: {where}.", "", *_table(head, rows), "", *_order(r, length)]


def _number(x: float | None, digits: int) -> str:
    return NONE if x is None else f"{x:.{digits}f}"


def _order(r: Results, length: int) -> list[str]:
    """How well the error that the search expects orders plans by what they do to the model."""
    pairs = [(r.expected(p, length, "error"), r.drift(p, length)) for p in r.plans if p not in ("stock", "dense")]
    known = [(e, d) for e, d in pairs if e is not None and d is not None]
    if len(known) < 3:
        return []
    return [f"Rank correlation of the predicted error with the drift, over {len(known)} plans: {score.rank_correlation(known):.2f}."]


def _task_table(r: Results, length: int, by: str) -> list[str]:
    """The part of cases that are right, with the interval of the difference to stock attention on the same cases; where stock attention was not asked,
    to our dense kernel."""
    rows, counts = [], set()
    beside = next((p for p in ("stock", "dense") if any(r.hits(p, length, task, by) for task in r.settings.tasks)), "stock")
    for plan in r.plans:
        row = [plan]
        for task in r.settings.tasks:
            hits = r.hits(plan, length, task, by)
            counts |= {len(hits)} if hits else set()
            row.append(_hits(hits, None if plan == beside else r.hits(beside, length, task, by)))
        if any(cell != NONE for cell in row[1:]):
            rows.append(row)
    if not rows:
        return []
    cases = " or ".join(map(str, sorted(counts)))
    return ["", f"### Tasks, {by}", "", f"{cases} cases a task, percent right; in parentheses the 95% interval of the difference to {beside}.", "", *_table(["plan", *r.settings.tasks], rows)]


def _hits(hits: list[bool] | None, beside: list[bool] | None) -> str:
    """A cell of the table: cases are the same for all plans, so that where one has more of them, the first ones are compared."""
    if hits is None:
        return NONE
    if beside is None:
        m = score.rate(hits)
        return f"{100 * m.value:.0f} [{100 * m.low:.0f}, {100 * m.high:.0f}]"
    both = min(len(hits), len(beside))
    d = score.difference(hits[:both], beside[:both])
    return f"{100 * score.rate(hits).value:.0f} ({100 * d.low:+.0f} to {100 * d.high:+.0f})"


def _pictures(r: Results, folder: Path) -> list[str]:
    drawn = []
    for plan in r.plans:
        maps = {n: r.line(plan, n, what="map") for n in r.settings.lengths}
        if any(maps.values()):
            name = f"needles-{plan.replace(' ', '-').replace('%', '')}"
            depths = next(m for m in maps.values() if m)["depths"]
            values = [[None if m is None else sum(m["hits"][i]) / len(m["hits"][i]) for m in maps.values()] for i in range(len(depths))]
            picture = draw.cells(f"{plan}: single needles, strict, % by depth and length", [f"{d:.0%}" for d in depths], [f"{n // 1024}k" if n >= 1024 else str(n) for n in maps], values, 40)
            (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
            drawn.append(name)
    for length in r.settings.lengths:
        drawn += _density_maps(r, length, folder) + _quality(r, length, folder)
    return drawn


def _density_maps(r: Results, length: int, folder: Path) -> list[str]:
    """A map of layers and heads of each plan that says the density of its heads, and whose heads differ in what they run."""
    drawn = []
    for plan in r.plans:
        try:
            made = r.plan(plan, length)
        except Missing:
            continue
        layers = (made or {"layers": []})["layers"]
        values = [[(h.get("search") or {}).get("density") for h in layer.values()] for layer in layers]
        kinds = {json.dumps([h["pattern"], h.get("params")]) for layer in layers for h in layer.values()}
        if len(kinds) > 1 and any(v is not None for row in values for v in row):
            name = f"density-{length}-{plan.replace(' ', '-').replace('%', '')}"
            heads = [str(h) for h in range(max(map(len, values)))]
            (folder / f"{name}.svg").write_text(draw.cells(f"{plan} at {length}: % of pairs kept by layer and head", [str(i) for i in range(len(values))], heads, values, colours=draw.shade), encoding="utf-8")
            drawn.append(name)
    return drawn


def _quality(r: Results, length: int, folder: Path) -> list[str]:
    """Time against what it costs in bits per byte, of plans that cost little: others would leave no room for these. Variants of a search lie where it lies."""
    dense, named = r.windows("stock", length), []
    for plan in (p for p in r.plans if not p.endswith(plans.MORE)):
        windows, ms = r.windows(plan, length), r.milliseconds(plan, length)
        if windows and dense and ms is not None and (more := score.more_bits(windows, dense).value) <= LITTLE:
            named.append((plan, ms, 100 * more))
    if len(named) < 2:
        return []
    (folder / f"quality-{length}.svg").write_text(draw.points(f"{length} tokens", "prefill, ms", "% more bits per byte", named), encoding="utf-8")
    return [f"quality-{length}"]


def _missing(r: Results) -> list[str]:
    """What was asked for and is not here."""
    not_made: dict[str, str] = {}
    for length in r.settings.lengths:
        with contextlib.suppress(Missing):
            not_made |= r.work.manifest(plans.stage_of(length))["facts"]["missing"]
    out = [f"- plan {name}: {why.splitlines()[0] if why else ''}" for name, why in not_made.items()]
    out += [f"- {n} tokens: {_percent(part, 0)} of the measurements" for n, part in _left(r).items() if part]
    return ["## Not measured", "", *(out or ["Nothing is missing."]), ""]


def _left(r: Results) -> dict[int, float]:
    """The part of what evaluate would measure at each length that is not here."""
    wanted = [{k: v for k, v in unit.items() if k != "cases"} for unit, _ in units(r.settings)]
    return {n: 1 - sum(r.line(p, n, **unit) is not None for p in r.settings.plans for unit in wanted) / (len(r.settings.plans) * len(wanted)) for n in r.settings.lengths}
