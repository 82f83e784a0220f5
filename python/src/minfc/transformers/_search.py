"""search: a plan for a model, from prompts of its own, by the command minfc search (docs/search.md)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Iterable, Iterator, Sequence

import torch

from .._plan import Plan
from ._capture import capture, searched
from ._model import _attending, install, uninstall
from ._weights import layer_weights

GOALS = ("density", "time", "error")


def search(
    model: Any,
    prompts: torch.Tensor | Sequence[torch.Tensor],
    *,
    density: float | None = None,
    time: str | None = None,
    error: float | None = None,
    weights: str | None = None,
    passes: int = 1,
    out: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    command: str | None = None,
    options: Iterable[str] = (),
) -> Plan:
    """Searches a head plan for a model of transformers, to give to install(model, plan, fallback=False).

    prompts  token ids [samples, tokens], or a list of [tokens] of one length: text of the kind and of the length that the plan is for, with
             questions at its end where answers matter (docs/search.md says why). At least 128 tokens.
    density, time, error  the goal, one of them unless options say a rule that needs none: the mean part of the causal pairs, a time such as
             "0.2x" of dense attention's or "12.5ms", the relative error of the outputs
    weights  "drift": errors of a layer count what they do to the model's predictions (layer_weights), for a run of the model a layer and
             prompt. None: the layers count alike
    passes   2 searches again with what the layers get when the plan of the pass before is installed: with the errors of the layers before them
    out      where to keep the plan's JSON, with what the search measured of each head; nowhere unless given
    folder   where q, k and v lie meanwhile, in a folder of their own that is removed: 2 bytes times samples * tokens * head dim * (heads + 2 * kv
             heads) of a layer, for all layers. The system's folder for temporary files unless given
    command  of minfc: the environment's MINFC or the one on PATH unless given
    options  more arguments of minfc search: ("--rule", "minference"), ("--machine", "H200")

    Every layer's q, k and v are written when the model computes them, so that no two layers are in memory at once. The model is as before
    afterwards. Layers with a sliding window that leaves out keys stay as they are, dense in the plan. For several goals over the same prompts
    see captured. Raises ValueError for prompts, goals and models that cannot be, FileNotFoundError without the command, RuntimeError with
    what minfc search says where it fails.
    """
    goal = {"density": density, "time": time, "error": error}
    _goal(*goal.values())
    if passes < 1:
        raise ValueError(f"passes is {passes}, want 1 or more")
    plan: Plan | str = "dense"
    known: list[float] | None = None
    for _ in range(passes):
        with captured(model, prompts, plan=plan, folder=folder, command=command) as inputs:
            inputs._weights = known  # they are of the model and the prompts, whatever is installed
            plan = inputs.search(**goal, weights=weights, out=out, options=options)
            known = inputs._weights
    assert isinstance(plan, Plan)
    return plan


@contextlib.contextmanager
def captured(
    model: Any,
    prompts: torch.Tensor | Sequence[torch.Tensor],
    *,
    plan: Any = "dense",
    folder: str | os.PathLike[str] | None = None,
    command: str | None = None,
) -> Iterator[Captured]:
    """The q, k and v of prompts in files, for several searches: `with minfc.captured(model, prompts) as inputs: inputs.search(density=0.1)`. The
    layers get what they get when plan is installed. Prompts, folder, command and errors are as of search; the files are removed at the end."""
    rows, program = _prompts(prompts, model.device), _command(command)
    with tempfile.TemporaryDirectory(prefix="minfc-search-", dir=folder) as temporary:
        yield Captured(model, plan, rows, Path(temporary), program)


class Captured:
    """What captured gives. What one search measured the next one finds."""

    def __init__(self, model: Any, plan: Any, rows: list[torch.Tensor], folder: Path, program: str):
        self._model, self._rows, self._folder, self._program = model, rows, folder, program
        self._files, self._of, self._layers = _captured(model, plan, rows, folder)
        self._weights: list[float] | None = None

    def search(
        self,
        *,
        density: float | None = None,
        time: str | None = None,
        error: float | None = None,
        weights: str | None = None,
        out: str | os.PathLike[str] | None = None,
        options: Iterable[str] = (),
    ) -> Plan:
        """A plan for a goal, as of minfc.search."""
        more = [*_goal(density, time, error), *options]
        if weights is not None:
            more += ["--weights", str(self._write("weights", self._layer_weights(weights)))]
        return self._run(more, out)

    def measure(self, plan: Any, *, out: str | os.PathLike[str] | None = None, options: Iterable[str] = ()) -> Plan:
        """A plan on these inputs, with what a search would expect of it: density, time, error and kept part of each head and of all, in out. Layers
        that the search leaves alone are left out."""
        whole = (plan if isinstance(plan, Plan) else Plan(plan))._whole
        layers = [whole["layers"][i] for i in self._of]
        return self._run(["--measure", str(self._write("given", {**whole, "layers": layers})), *options], out)

    def _layer_weights(self, by: str) -> list[float]:
        if by != "drift":
            raise ValueError(f'weights are {by!r}, want "drift" or None')
        if self._weights is None:
            before = _installed(self._model)
            try:
                every = layer_weights(self._model, self._rows)
            finally:
                _restore(self._model, before)
            self._weights = [every[i] for i in self._of]
        return self._weights

    def _write(self, name: str, said: Any) -> Path:
        path = self._folder / name
        path.write_text(json.dumps(said), encoding="utf-8")
        return path

    def _run(self, options: list[str], out: str | os.PathLike[str] | None) -> Plan:
        """One run of the command. Its plan has one name, so that what was measured lies beside it for the next run."""
        found = self._folder / "plan.json"
        given = [x for f in self._files for x in ("--qkv", str(f))]
        arguments = [self._program, "search", *options, "--samples", str(len(self._rows)), *given, "-o", str(found)]
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"minfc search failed: {done.stderr.strip() or done.stdout.strip()}")
        made: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
        text = json.dumps({**made, "layers": _spread(made["layers"], self._of, self._layers)})
        if out is not None:
            Path(out).write_text(text, encoding="utf-8")
        return Plan(text)


def _captured(model: Any, plan: Any, rows: list[torch.Tensor], folder: Path) -> tuple[list[Path], list[int], dict[int, int]]:
    """Files of q, k and v of all samples, the layers that they are of, and how many heads each layer of the model has."""
    before = _installed(model)
    try:
        install(model, plan, min_queries=1, fallback=False)
        modules = _attending(model)
        of = searched(modules, rows[0].shape[1])
        if not of:
            raise ValueError("all layers have a sliding window that leaves out keys: there is nothing to search")
        if modules[0].minfc_layer.heads.world > 1:
            raise ValueError("the model is split among ranks: search in one process that has all heads; install gives each rank its part of a plan")
        files = [path for i, row in enumerate(rows) for path in capture(model, of, row, folder, i)]
        heads = {m.layer_idx: m.minfc_layer.heads.q_heads for m in modules}
    finally:
        _restore(model, before)
    return files, [m.layer_idx for m in of], heads


def _installed(model: Any) -> dict[int, Any] | None:
    """What minfc runs in the layers of a model, None where it is not installed."""
    if "_minfc_before" not in model.__dict__:
        return None
    return {id(m): m.minfc_layer for m in model.modules() if hasattr(m, "minfc_layer")}


def _restore(model: Any, before: dict[int, Any] | None) -> None:
    if before is None:
        if "_minfc_before" in model.__dict__:
            uninstall(model)
        return
    for module in model.modules():
        if id(module) in before:
            module.minfc_layer = before[id(module)]


def _spread(found: list[Any], of: list[int], heads: dict[int, int]) -> list[Any]:
    """The layers of a plan for the whole model: what was found, and dense in the layers that were not searched."""
    plan = {index: layer for index, layer in zip(of, found, strict=True)}
    return [plan.get(i, {str(h): {"pattern": "dense"} for h in range(heads.get(i, 0))}) for i in range(max(heads) + 1)]


def _prompts(prompts: torch.Tensor | Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """The prompts, [1, tokens] each."""
    rows = [torch.as_tensor(p) for p in prompts]
    if not rows:
        raise ValueError("there are no prompts: give one at least")
    lengths = sorted({tuple(r.shape) for r in rows})
    if len(lengths) > 1 or len(lengths[0]) != 1:
        raise ValueError(f"prompts have the shapes {', '.join(map(str, lengths))}, want one length for all, [samples, tokens]: cut them")
    if rows[0].is_floating_point() or rows[0].dtype == torch.bool:
        raise ValueError(f"prompts are {rows[0].dtype}, want token ids")
    if len(rows[0]) < 128:
        raise ValueError(f"prompts have {len(rows[0])} tokens, want 128 or more: a search is of long prompts")
    return [r.to(device=device, dtype=torch.long)[None] for r in rows]


def _goal(*given: Any) -> list[str]:
    named = [(name, x) for name, x in zip(GOALS, given) if x is not None]
    if len(named) > 1:
        raise ValueError(f"{' and '.join(name for name, _ in named)} are both goals, want one of them")
    return [f"--{name}={x}" for name, x in named]


def _command(given: str | None) -> str:
    """The program minfc. Raises FileNotFoundError that says how to get it."""
    name = given or os.environ.get("MINFC") or "minfc"
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(
            f"there is no command {name}, which minfc.search runs: in a clone of minfc, `go build -o bin/minfc ./cmd/minfc`, then put it on PATH or "
            "name it in the environment's MINFC"
        )
    return path
