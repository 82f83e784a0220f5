"""The q, k and v that the layers of a model attend with, written to files, a layer at a time."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Iterator, Sequence

import torch
from safetensors.torch import save_file

from ._layers import Layer, window_of


def searched(modules: Sequence[Any], tokens: int) -> list[Any]:
    """The modules whose pattern decides something for a prompt of so many tokens: those whose window leaves out no keys."""
    return [m for m in modules if (window_of(m) or tokens) >= tokens]


@torch.no_grad()
def capture(model: Any, modules: Sequence[Any], prompt: torch.Tensor, folder: Path, sample: int) -> list[Path]:
    """Runs a prompt [1, tokens] and writes a file a module, in their order: q [1, heads, tokens, dim], k and v [1, kv heads, tokens, dim].

    minfc is installed in the model, and computes the attention as it is installed. Only one layer's tensors are in memory beside the model's.
    """
    paths = [folder / f"sample{sample}.layer{m.layer_idx}.safetensors" for m in modules]
    with contextlib.ExitStack() as stack:
        for module, path in zip(modules, paths):
            stack.enter_context(_observed(module.minfc_layer, path))
        decoder = getattr(model, "model", model)  # without the head: its logits of a long prompt are large, and nobody reads them
        decoder(prompt, use_cache=False)
    missing = [str(m.layer_idx) for m, path in zip(modules, paths) if not path.exists()]
    if missing:
        raise ValueError(f"layers {', '.join(missing)} did not attend through minfc, so there is nothing to search a plan by")
    return paths


@contextlib.contextmanager
def _observed(layer: Layer, path: Path) -> Iterator[None]:
    def write(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None) -> None:
        usual = query.shape[-1] ** -0.5
        if scaling is not None and abs(scaling / usual - 1) > 1e-6:
            query = query * (scaling / usual)  # files have no scale, and programs that read them take the usual one
        save_file({name: x.contiguous().cpu() for name, x in (("q", query), ("k", key), ("v", value))}, path)

    layer.observe = write
    try:
        yield
    finally:
        layer.observe = None
