"""What the attention module of each layer runs, and the notes of what ran."""

from __future__ import annotations

import itertools
import weakref
from collections import Counter
from typing import Any, Callable

import torch
from .._spec import spec_of
from ._parallel import RankHeads
from ._refuse import refuse

MIN_QUERIES = 128
DEFAULT = "vertical_slash"

_numbers = itertools.count()
_by_number: "weakref.WeakValueDictionary[int, Layer]" = weakref.WeakValueDictionary()


class Layer:
    """What one attention module runs.

    spec is the JSON of the C library, min_queries the number of query rows below which sdpa runs, fallback whether heads may run dense, heads
    which heads of the model it is for, as install found, planned whether spec says something of each of them by itself. counts has how often (where, why): where is "minfc" or "stock", with
    ", compiled" for calls that were traced into a graph: these are 1, since nobody counts the runs of a graph. observe, where it is set, is
    given the module and the query, key and value of each call before it runs.
    """

    observe: Callable[[torch.nn.Module, torch.Tensor, torch.Tensor, torch.Tensor, float | None], None] | None = None

    def __init__(
        self, spec: str, min_queries: int = MIN_QUERIES, fallback: bool = True, heads: RankHeads | None = None, planned: bool = False
    ):
        self.spec, self.min_queries, self.fallback, self.heads, self.planned = spec, min_queries, fallback, heads, planned
        self.counts: Counter[tuple[str, str]] = Counter()
        self._number()

    def _number(self) -> None:
        self.number = next(_numbers)
        _by_number[self.number] = self

    def __deepcopy__(self, _: Any) -> "Layer":  # a copied model counts for itself
        return Layer(self.spec, self.min_queries, self.fallback, self.heads, self.planned)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._number()

    def note(self, where: str, why: str) -> None:
        """Counts a call."""
        if torch.compiler.is_compiling():
            _note_traced(self.number, where, why)
        else:
            self.counts[where, why] += 1


@torch.compiler.assume_constant_result
def _note_traced(number: int, where: str, why: str) -> None:
    """Notes a call that is traced. It is not counted: a graph that depends on a count would be traced anew each time, and torch traces a
    graph as often as it likes."""
    layer = _by_number.get(number)
    if layer is not None:
        layer.counts[where + ", compiled", why] = 1


def layer_of(module: torch.nn.Module) -> Layer:
    """The layer of an attention module: what install gave it, else DEFAULT with the parameters of the library."""
    layer = getattr(module, "minfc_layer", None)
    if layer is None:
        if torch.compiler.is_compiling():
            raise RuntimeError("minfc is not installed in this model, and a graph cannot do it: call minfc.install(model) before torch.compile")
        refuse(module)
        layer = module.minfc_layer = Layer(spec_of(DEFAULT))  # type: ignore[assignment]
    return layer


def window_of(module: Any) -> int | None:
    """The sliding window of a layer, if it has one."""
    types = getattr(module.config, "layer_types", None)
    if types is not None and types[module.layer_idx] != "sliding_attention":
        return None
    return getattr(module.config, "sliding_window", None)
