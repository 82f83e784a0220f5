"""What ran where, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch

from ._layers import Layer
from ._parallel import RankHeads
from .._attention import label


@dataclass(frozen=True)
class LayerReport:
    """A layer: its index, what minfc runs there, and how often each (where, why) happened.

    kept is what share of the attention each head of this process kept, the mean of the prompts and chunks that install was asked to look at;
    None where there are none.
    """

    index: int
    pattern: str
    counts: dict[tuple[str, str], int]
    kept: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Report:
    """The calls of a model's attention since install, or since the last report that cleared them.

    heads are the heads of the model that this process computes under tensor parallelism, None where it computes all of them.

    Where is "minfc" or "stock" (transformers' sdpa), with ", compiled" for calls that torch.compile traced into a graph: these are 1 a
    layer, however often the graph runs. str() has a table.
    """

    layers: tuple[LayerReport, ...]
    heads: RankHeads | None = None

    @property
    def total(self) -> dict[tuple[str, str], int]:
        """How often each (where, why) happened in all layers."""
        out: Counter[tuple[str, str]] = Counter()
        for layer in self.layers:
            out.update(layer.counts)
        return dict(out)

    def calls(self, where: str) -> int:
        """How many calls ran somewhere: "minfc" or "stock"."""
        return sum(n for (at, _), n in self.total.items() if at == where)

    def __str__(self) -> str:
        return self._table() if self.heads is None else f"{self.heads}\n{self._table()}"

    def _table(self) -> str:
        if not self.total:
            return "no attention has run yet"
        rows = [("layers", "where", "calls", "why")]
        for (where, why), n in sorted(self.total.items()):
            of = [layer.index for layer in self.layers if (where, why) in layer.counts]
            rows.append((_ranges(of), where, str(n), why))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths)), row[3]]) for row in rows]
        return "\n".join(lines + self._recall())

    def _recall(self) -> list[str]:
        """What layers kept of the attention, a line each."""
        lines = []
        for layer in self.layers:
            if layer.kept is not None:
                least = min(range(len(layer.kept)), key=layer.kept.__getitem__)
                mean = sum(layer.kept) / len(layer.kept)
                lines.append(f"layer {layer.index} kept {100 * mean:.2f}% of the attention, least {100 * layer.kept[least]:.2f}% in head {least}")
        return lines


def report(model: torch.nn.Module, *, clear: bool = False) -> Report:
    """What ran where in a model's layers, and why. clear begins anew. Raises ValueError where minfc never was in the model."""
    found: list[tuple[int, Layer]] = [(m.layer_idx, m.minfc_layer) for m in model.modules() if hasattr(m, "minfc_layer")]  # type: ignore[misc]
    if not found:
        raise ValueError(f"no layer of this {type(model).__name__} has run or installed minfc")
    found.sort(key=lambda x: x[0])
    heads = found[0][1].heads
    out = Report(
        tuple(LayerReport(i, label(layer.spec), dict(layer.counts), layer.kept()) for i, layer in found),
        heads if heads is not None and heads.world > 1 else None,
    )
    if clear:
        for _, layer in found:
            layer.clear()
    return out


def _ranges(numbers: list[int]) -> str:
    """0, 1, 2, 5 as "0-2,5"."""
    out: list[list[int]] = []
    for n in sorted(set(numbers)):
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in out)
