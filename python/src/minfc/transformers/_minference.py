"""Programs that use MInference: its class by another name, with its arguments, over minfc's kernels (docs/minference.md).

What is taken from MInference (github.com/microsoft/MInference, minference/models_patch.py and minference_configuration.py) are facts: names
of arguments, their meaning and defaults, and where the files of its models lie.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import torch

from .._plan import Plan
from ._model import install

_SHAPES = {  # attn_type: our pattern, and which of its arguments is which of our parameters, with its default
    "a_shape": ("a_shape", {"n_init": ("sink", 128), "n_local": ("window", 3968)}),
    "tri_shape": ("tri_shape", {"n_init": ("sink", 128), "n_local": ("window", 3968), "n_last": ("last", 100)}),
}
_DENSE = ("dense", "minference_with_dense")
_UNTOUCHED = "hf"
_PLANNED = "minference"


def patch_minference_config(
    attn_type: str = _PLANNED,
    model_name: str | None = None,
    config_path: str | os.PathLike[str] | None = None,
    starting_layer: int = -1,
    kv_cache_cpu: bool = False,
    kv_type: str = "dense",
    is_search: bool = False,
    attn_kwargs: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Callable[[torch.nn.Module], torch.nn.Module]:
    """MInference(...) with minfc's kernels: takes the same arguments and returns a function that patches a model and returns it.

    attn_type       "minference": the plan of config_path, or of model_name; "a_shape", "tri_shape": for all heads; "dense"; "hf": nothing
    model_name      the name at the Hub whose file in the installed package minference is the plan; the package is not imported
    config_path     the plan, a file of MInference or of minfc
    starting_layer  layers before it run dense
    attn_kwargs     best_pattern (the plan itself), starting_layer, n_init, n_local, n_last

    Raises ValueError for what minfc does not do: other kinds of attention, caches that are compressed or lie on the host, the search.
    """
    kinds = [_PLANNED, *_SHAPES, *_DENSE, _UNTOUCHED]
    if attn_type not in kinds:
        raise ValueError(f'attn_type is "{attn_type}", and minfc has {", ".join(kinds)}')
    _refuse(kv_cache_cpu, kv_type, is_search, rest)
    options = {"starting_layer": starting_layer, **(attn_kwargs or {})}
    if attn_type == _UNTOUCHED:
        return lambda model: model
    first = int(options.pop("starting_layer"))
    if attn_type in _DENSE:
        _nothing_else(options, attn_type)
        return lambda model: install(model, "dense")
    if attn_type in _SHAPES:
        pattern, params = _shape(attn_type, options)
        return lambda model: install(model, pattern, **params)
    plan = Plan(options.pop("best_pattern", None) or _config(model_name, config_path))
    _nothing_else(options, attn_type)
    return lambda model: install(model, _from(plan, first))


def _from(plan: Plan, first: int) -> Plan | Sequence[Any]:
    """A plan whose layers before the first are dense."""
    return plan if first <= 0 else ["dense" if i < first else layer for i, layer in enumerate(plan)]


def _shape(attn_type: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Our pattern of a kind that all heads share, and its parameters."""
    pattern, names = _SHAPES[attn_type]
    params: dict[str, Any] = {ours: int(options.pop(theirs, default)) for theirs, (ours, default) in names.items()}
    _nothing_else(options, attn_type)
    return pattern, params


def _refuse(kv_cache_cpu: bool, kv_type: str, is_search: bool, rest: dict[str, Any]) -> None:
    if kv_cache_cpu or "kv_cache_cpu_device" in rest:
        raise ValueError(
            'kv_cache_cpu: minfc leaves the cache to transformers; generate(cache_implementation="offloaded") keeps it on the host'
        )
    if kv_type not in ("dense", ""):
        raise ValueError(f'kv_type is "{kv_type}": minfc computes the prefill and does not change the cache, want "dense"')
    if is_search:
        raise ValueError("is_search: minfc does not search while a model runs: minfc.search(model, prompts) finds a plan, and MInference's own file goes as config_path")
    if rest:
        raise ValueError(f"{', '.join(rest)}: minfc knows no such argument of MInference")


def _nothing_else(options: dict[str, Any], attn_type: str) -> None:
    if options:
        raise ValueError(f'attn_kwargs has {", ".join(options)}, which minfc does not know for attn_type "{attn_type}"')


def _config(model_name: str | None, config_path: str | os.PathLike[str] | None) -> Path | str:
    """The plan's file: the one that was given, or the one that the installed package minference has for a model. Without the package the
    model's name, where minfc has its plan."""
    if config_path:
        return Path(config_path)
    if model_name is None:
        raise ValueError("neither model_name nor config_path says which plan the model has")
    where = importlib.util.find_spec("minference")
    if where is None or not where.submodule_search_locations:
        try:
            Plan(json.dumps({"published": model_name}))
        except ValueError as e:
            raise ValueError(
                f"the plan of {model_name} is a file of the package minference, which is not installed: give config_path, a file of "
                f"minference/configs in github.com/microsoft/MInference ({e})"
            ) from e
        return model_name
    paths = _paths(Path(where.submodule_search_locations[0]) / "configs" / "model2path.py")
    if model_name not in paths:
        raise ValueError(f"minference has no plan for {model_name}, only for {', '.join(sorted(paths))}: give config_path")
    return Path(paths[model_name])


def _paths(source: Path) -> dict[str, str]:
    """The files of MInference's models by their names. Its own table says it, which is run alone: the package would want Triton."""
    spec = importlib.util.spec_from_file_location("minfc_minference_paths", source)
    assert spec is not None and spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(table)
        return dict(table.MODEL2PATH)
    except (OSError, AttributeError) as e:
        raise ValueError(f"the installed package minference has no table of plans ({e}): give config_path") from e
