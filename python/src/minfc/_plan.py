"""Head plans: a pattern and budgets for each head of each layer, in minfc's JSON or in MInference's (docs/plans.md)."""

from __future__ import annotations

import json
import operator
import os
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence, Union

from ._library import in_parent, lib, text

Text = Union[str, "os.PathLike[str]", Mapping[str, Any], Sequence[Any]]


class Layer:
    """A layer of a head plan. It stands where a pattern may stand: minfc.attention(q, k, v, plan.layer(3)).

    index counts from 0. spec is its JSON as the C library takes it: a plan of this layer alone, without scores, so that layers whose heads
    do the same are one attention, compiled once. said is what the plan says of its heads beside the layers.
    """

    __slots__ = ("index", "spec")

    def __init__(self, index: int, heads: Mapping[str, Any], said: Mapping[str, int] | None = None):
        entries = {head: {"pattern": entry["pattern"], "params": entry["params"]} for head, entry in heads.items()}
        self.index = index
        self.spec = json.dumps({"plan": {"schema": 1, **(said or {}), "layers": [entries]}, "layer": 0}, separators=(",", ":"))

    def __repr__(self) -> str:
        return f"minfc.Layer({self.index})"


class Plan:
    """A head plan.

    text_or_path_or_dict is JSON text, the path of a JSON file, or what json.load makes of one, in minfc's format or in MInference's; or the
    name of a model whose plan MInference has published (docs/plans.md), such as "gradientai/Llama-3-8B-Instruct-262k". Names of patterns, parameters and numbers are checked here. Heads that a layer does not name run vertical_slash with 1000 columns and 6096
    diagonals, as in MInference. Raises ValueError with file, line and column, OSError for a file that does not open.

    layers     the layers, in order
    heads      how many query heads the plan says that it is for, None where it says nothing. A call with another number is an error
    heads_from of a plan for a rank's heads: the number in the model of its head 0
    """

    layers: tuple[Layer, ...]
    heads: int | None
    heads_from: int

    def __init__(self, text_or_path_or_dict: Text):
        self._take(*_read(text_or_path_or_dict))

    def _take(self, name: str, said: str) -> None:
        """Reads the text of a plan, or of a part of one; errors call it name."""
        in_parent()
        self._whole = whole = json.loads(text(lib.minfc_plan_read, name.encode(), said.encode()))
        counts = {key: whole[key] for key in ("heads", "heads_from") if key in whole}
        self.layers = tuple(Layer(i, heads, counts) for i, heads in enumerate(whole["layers"]))
        self.heads, self.heads_from = counts.get("heads"), counts.get("heads_from", 0)

    def shard(self, rank: int, world: int, *, heads: int | None = None) -> Plan:
        """The plan of one rank of tensor parallelism, which has an equal range of the query heads of every layer: the heads from
        rank * heads / world on, heads / world of them. Its head 0 is the first of them.

        heads is how many query heads the model has: what the plan says unless given, or else the heads up to the last one that it names. The kv
        heads that go with these query heads are max(kv_heads / world, 1) from rank * kv_heads / world on. minfc.install does this by itself.
        Raises ValueError where heads do not divide among the ranks and for a rank that is none, TypeError for what is no number.
        """
        part = {"rank": operator.index(rank), "world": operator.index(world), "heads": operator.index(heads or 0)}
        out = Plan.__new__(Plan)
        out._take("plan", json.dumps({"plan": self._whole, "shard": part}))
        return out

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
        of = "" if self.heads is None else f", heads {self.heads_from} to {self.heads_from + self.heads - 1}"
        return f"minfc.Plan({len(self.layers)} layers{of})"


def _read(given: Text) -> tuple[str, str]:
    """What errors call a plan, and its text."""
    if isinstance(given, (str, os.PathLike)):
        if isinstance(given, str) and given.lstrip()[:1] in ("{", "["):
            return "plan", given
        if isinstance(given, str) and not os.path.splitext(given)[1].lower() == ".json" and not os.path.exists(given):
            return given, json.dumps({"published": given})
        return os.fspath(given), Path(given).read_text(encoding="utf-8")
    try:
        return "plan", json.dumps(given)
    except TypeError as e:
        raise TypeError(f"a plan is JSON, its path, or what json.load gives: {e}") from e
