"""Head plans: a pattern and budgets for each head of each layer, in minfc's JSON or in MInference's (docs/plans.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence, Union

Text = Union[str, "os.PathLike[str]", Mapping[str, Any], Sequence[Any]]


class Layer:
    """A layer of a head plan. It stands where a pattern may stand: minfc.attention(q, k, v, plan.layer(3)).

    spec is its JSON as the C library takes it: a plan of one layer, so that layers with the same heads are one attention.
    """

    __slots__ = ("index", "spec")

    def __init__(self, index: int, spec: str):
        self.index = index
        self.spec = spec

    def __repr__(self) -> str:
        return f"minfc.Layer({self.index})"


class Plan:
    """A head plan.

    text_or_path_or_dict is JSON text, the path of a JSON file, or what json.load makes of one. Both formats are told apart by
    themselves: minfc's is an object, MInference's is a list of layers. Names of patterns and numbers are checked when a layer is compiled.
    Raises ValueError for what is no plan, OSError for a file that does not open.
    """

    def __init__(self, text_or_path_or_dict: Text):
        whole, where = _read(text_or_path_or_dict)
        rest, layers = _split(whole, where)
        self.layers: tuple[Layer, ...] = tuple(Layer(i, _spec(rest, one)) for i, one in enumerate(layers))

    def layer(self, index: int) -> Layer:
        """Layer index, from 0. Raises IndexError, which says how many there are."""
        if not 0 <= index < len(self.layers):
            raise IndexError(f"the plan has layers 0 to {len(self.layers) - 1}, not {index}")
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __repr__(self) -> str:
        return f"minfc.Plan(of {len(self.layers)} layers)"


def _read(given: Text) -> tuple[Any, str]:
    """What the plan says, and how to call it in errors."""
    if not isinstance(given, (str, os.PathLike)):
        return given, "the plan"
    if isinstance(given, str) and given.lstrip()[:1] in ("{", "["):
        text, where = given, "the plan"
    else:
        text, where = Path(given).read_text(encoding="utf-8"), str(given)
    try:
        return json.loads(text, object_pairs_hook=_once), where
    except json.JSONDecodeError as e:
        raise ValueError(f"{where} is no JSON: {e}") from e
    except _Twice as e:
        raise ValueError(f"{where} has the key {e} twice in one object") from e


class _Twice(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. A head that is there twice would lose one of its entries without a word."""
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise _Twice(repr(key))
        out[key] = value
    return out


def _split(whole: Any, where: str) -> tuple[dict[str, Any] | None, list[Any]]:
    """What all layers of a plan share, or None for MInference's format, and the layers."""
    if isinstance(whole, Mapping):
        layers = whole.get("layers")
        rest: dict[str, Any] | None = {k: v for k, v in whole.items() if k != "layers"}
    else:
        layers, rest = whole, None
    if not isinstance(layers, Sequence) or isinstance(layers, (str, bytes)) or not all(isinstance(x, Mapping) for x in layers):
        raise ValueError(
            f'{where} is no head plan: want {{"schema": 1, "layers": [{{"0": {{"pattern": ...}}}}, ...]}} or the list of a MInference file'
        )
    if not layers:
        raise ValueError(f"{where} has no layers")
    return rest, list(layers)


def _spec(rest: dict[str, Any] | None, layer: Any) -> str:
    plan = [layer] if rest is None else {**rest, "layers": [layer]}
    return json.dumps({"plan": plan, "layer": 0}, separators=(",", ":"))
