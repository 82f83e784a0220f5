"""Head plans: a pattern and budgets for each head of each layer, in minfc's JSON or in MInference's (docs/plans.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence, Union

from ._library import in_parent, lib, text

Text = Union[str, "os.PathLike[str]", Mapping[str, Any], Sequence[Any]]


class Layer:
    """A layer of a head plan. It stands where a pattern may stand: minfc.attention(q, k, v, plan.layer(3)).

    index counts from 0. spec is its JSON as the C library takes it: a plan of this layer alone, without scores, so that layers whose heads
    do the same are one attention, compiled once.
    """

    __slots__ = ("index", "spec")

    def __init__(self, index: int, heads: Mapping[str, Any]):
        entries = {head: {"pattern": entry["pattern"], "params": entry["params"]} for head, entry in heads.items()}
        self.index = index
        self.spec = json.dumps({"plan": {"schema": 1, "layers": [entries]}, "layer": 0}, separators=(",", ":"))

    def __repr__(self) -> str:
        return f"minfc.Layer({self.index})"


class Plan:
    """A head plan.

    text_or_path_or_dict is JSON text, the path of a JSON file, or what json.load makes of one, in minfc's format or in MInference's. Names
    of patterns, parameters and numbers are checked here. Heads that a layer does not name run vertical_slash with 1000 columns and 6096
    diagonals, as in MInference. Raises ValueError with file, line and column, OSError for a file that does not open.
    """

    def __init__(self, text_or_path_or_dict: Text):
        name, said = _read(text_or_path_or_dict)
        in_parent()
        whole = json.loads(text(lib.minfc_plan_read, name.encode(), said.encode()))
        self.layers: tuple[Layer, ...] = tuple(Layer(i, heads) for i, heads in enumerate(whole["layers"]))

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
        return f"minfc.Plan({len(self.layers)} layers)"


def _read(given: Text) -> tuple[str, str]:
    """What errors call a plan, and its text."""
    if isinstance(given, (str, os.PathLike)):
        if isinstance(given, str) and given.lstrip()[:1] in ("{", "["):
            return "plan", given
        return os.fspath(given), Path(given).read_text(encoding="utf-8")
    try:
        return "plan", json.dumps(given)
    except TypeError as e:
        raise TypeError(f"a plan is JSON, its path, or what json.load gives: {e}") from e
