"""What errors of each layer do to a model's predictions, for a search that spends a budget over layers (docs/search.md)."""

from __future__ import annotations

import contextlib
import math
from typing import Any, Iterator

import torch

from ._capture import searched
from ._layers import Layer
from ._model import _attending, install

ANSWERS = 32  # last rows, which hold the question and become the answer: they have half of the weight, as in minfc search
SPREAD = 512  # of the other rows so many count, evenly spread
DENSITY = 0.05  # of the window that layers are tried with


@torch.no_grad()
def layer_weights(model: Any, prompts: list[torch.Tensor]) -> list[float]:
    """What the squared error of the attention of each layer of a model counts, 1 on average: the drift that it causes (mean Kullback-Leibler
    divergence of the predictions from the ones under dense attention) over its size. Layers that a search leaves alone count nothing.

    Each layer alone runs a sink and a window, which leave out 95% of the pairs, so a layer costs a run of the model a prompt [1, tokens]. minfc is
    installed in the model, dense when this returns."""
    n = prompts[0].shape[1]
    install(model, "a_shape", min_queries=1, fallback=False, sink=min(max(n // 256, 4), 128), window=max(1, round(n * (1 - math.sqrt(1 - DENSITY)))))
    modules = _attending(model)
    sparse = [m.minfc_layer for m in modules]
    install(model, "dense", min_queries=1, fallback=False)
    of = searched(modules, n)
    tried, rows = [i for i, m in enumerate(modules) if m in of], _rows(n, model.device)
    drift, size = [0.0] * len(modules), [0.0] * len(modules)
    for prompt in prompts:
        dense, dense_logits = _run(model, modules, prompt, rows)
        for i in tried:
            module = modules[i]
            with _running(module, sparse[i]):
                (output,), logits = _run(model, [module], prompt, rows)
            drift[i] += _mean(torch.nn.functional.kl_div(logits, dense_logits, log_target=True, reduction="none").sum(-1))
            size[i] += _mean((output - dense[i]).square().sum(-1)) / max(_mean(dense[i].square().sum(-1)), 1e-30)
    counts = [d / s if s > 0 else 0.0 for d, s in zip(drift, size)]
    mean = sum(counts) / len(tried)
    return [c / mean if mean > 0 else 1.0 for c in counts]


def _rows(n: int, device: torch.device) -> torch.Tensor:
    """The rows that are looked at, the last ones last."""
    early = torch.linspace(0, max(n - ANSWERS - 1, 0), min(SPREAD, max(n - ANSWERS, 1))).long().unique()
    return torch.cat([early[early < n - ANSWERS], torch.arange(max(n - ANSWERS, 0), n)]).to(device)


def _mean(of_rows: torch.Tensor) -> float:
    """Half of it of the last rows, half of the others."""
    early, late = of_rows[:-ANSWERS], of_rows[-ANSWERS:]
    return float(late.mean() if len(early) == 0 else (early.mean() + late.mean()) / 2)


@contextlib.contextmanager
def _running(module: Any, layer: Layer) -> Iterator[None]:
    before, module.minfc_layer = module.minfc_layer, layer
    try:
        yield
    finally:
        module.minfc_layer = before


def _run(model: Any, modules: list[Any], prompt: torch.Tensor, rows: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What the heads of some modules give in some rows, side by side before their projection, and the log-probabilities that the model predicts
    in these rows."""
    outputs: list[torch.Tensor] = []
    with contextlib.ExitStack() as stack:
        for module in modules:
            handle = module.o_proj.register_forward_pre_hook(lambda _, given: outputs.append(given[0][0, rows].float()))
            stack.callback(handle.remove)
        logits = model(prompt, use_cache=False, logits_to_keep=rows).logits[0]
    return outputs, logits.float().log_softmax(-1)
