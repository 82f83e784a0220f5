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

    recall is how many query rows of each head are looked at in each call to learn what share of the attention it kept, 0 for none; mass is
    the sum of what looked calls found, [q_heads], the mean over their batches, on the device of the layer.
    """

    mass: torch.Tensor | None = None
    looked = 0

    observe: Callable[[torch.nn.Module, torch.Tensor, torch.Tensor, torch.Tensor, float | None], None] | None = None

    def __init__(
        self,
        spec: str,
        min_queries: int = MIN_QUERIES,
        fallback: bool = True,
        heads: RankHeads | None = None,
        planned: bool = False,
        recall: int = 0,
    ):
        self.spec, self.min_queries, self.fallback, self.heads, self.planned = spec, min_queries, fallback, heads, planned
        self.recall = recall
        self.counts: Counter[tuple[str, str]] = Counter()
        self._number()

    def _number(self) -> None:
        self.number = next(_numbers)
        _by_number[self.number] = self

    def __deepcopy__(self, _: Any) -> "Layer":  # a copied model counts for itself
        return Layer(self.spec, self.min_queries, self.fallback, self.heads, self.planned, self.recall)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._number()

    def look(self, mass: torch.Tensor) -> None:
        """Adds what a call kept, [batch, q_heads]. Nothing waits for the device."""
        mean = mass.mean(0)
        self.mass = mean if self.mass is None else self.mass + mean
        self.looked += 1

    def kept(self) -> tuple[float, ...] | None:
        """What share of the attention each head kept, the mean of the calls that were looked at; None of none. It waits for the device."""
        return None if self.mass is None else tuple((self.mass / self.looked).tolist())

    def clear(self) -> None:
        """Forgets the calls so far."""
        self.counts.clear()
        self.mass, self.looked = None, 0

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
