"""search: a plan for a model, from prompts of its own, by the command minfc search (docs/search.md)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Iterable, Sequence

import torch

from .._plan import Plan
from ._capture import capture, searched
from ._model import _attending, install, uninstall

GOALS = ("density", "time", "error")


def search(
    model: Any,
    prompts: torch.Tensor | Sequence[torch.Tensor],
    *,
    density: float | None = None,
    time: str | None = None,
    error: float | None = None,
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
    passes   2 searches again with what the layers get when the plan of the pass before is installed: with the errors of the layers before them
    out      where to keep the plan's JSON, with what the search measured of each head; nowhere unless given
    folder   where q, k and v lie meanwhile, in a folder of their own that is removed: 2 bytes times samples * tokens * head dim * (heads + 2 * kv
             heads) of a layer, for all layers. The system's folder for temporary files unless given
    command  of minfc: the environment's MINFC or the one on PATH unless given
    options  more arguments of minfc search: ("--rule", "minference"), ("--machine", "H200")

    Every layer's q, k and v are written when the model computes them, so that no two layers are in memory at once. The model is as before
    afterwards. Layers with a sliding window that leaves out keys stay as they are, dense in the plan. Raises ValueError for prompts, goals and
    models that cannot be, FileNotFoundError without the command, RuntimeError with what minfc search says where it fails.
    """
    rows = _prompts(prompts, model.device)
    goal = _goal(density, time, error)
    program = _command(command)
    if passes < 1:
        raise ValueError(f"passes is {passes}, want 1 or more")
    plan: Any = "dense"
    with tempfile.TemporaryDirectory(prefix="minfc-search-", dir=folder) as temporary:
        for number in range(passes):
            run = Path(temporary) / f"pass{number}"
            run.mkdir()
            plan = _one_pass(model, plan, rows, run, [program, "search", *goal, *options])
    text = json.dumps(plan)
    if out is not None:
        Path(out).write_text(text, encoding="utf-8")
    return Plan(text)


def _one_pass(model: Any, plan: Any, rows: list[torch.Tensor], folder: Path, arguments: list[str]) -> dict[str, Any]:
    """The JSON of a plan, searched with what layers get when plan is installed."""
    files, of, layers = _captured(model, plan, rows, folder)
    found = folder / "plan.json"
    given = [x for f in files for x in ("--qkv", str(f))]
    done = subprocess.run([*arguments, "--samples", str(len(rows)), *given, "-o", str(found)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"minfc search failed: {done.stderr.strip() or done.stdout.strip()}")
    for file in files:
        file.unlink()
    made: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return {**made, "layers": _spread(made["layers"], of, layers)}


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
