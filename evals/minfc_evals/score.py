"""How answers and text are scored, and how sure a score is.

strict      every row is sparse: the model reads the prompt and the answer in one call (teacher forcing), and each token of the answer must be what it
            would have said. This is greedy decoding by a model that reads everything sparsely, but for one thing: block choices see all queries of
            their block, so later tokens of the answer as well.
strict free the same without that: the answer is decoded freely, and everything is read anew for each token.
decoded     as MInference scores: the prompt is read sparsely into a cache, then each token of the answer is decoded over it by dense attention.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import torch
import torch.nn.functional as F
from transformers import DynamicCache

from .tasks import Case
from .tokens import Tokens

ROWS = 2048  # of logits at a time
RESAMPLES = 2000
Model = Any


def _ids(model: Model, tokens: Any) -> torch.Tensor:
    return torch.tensor(tokens, dtype=torch.long, device=model.device)[None]


@torch.no_grad()
def strict(model: Model, case: Case) -> bool:
    """Whether each token of each answer is the most likely one, all rows being read in one call."""
    at = [i - 1 for a in case.answers for i in range(a.start, a.stop)]
    keep = torch.tensor(at, device=model.device)
    logits = model(_ids(model, case.tokens[:-1]), logits_to_keep=keep, use_cache=False).logits[0]
    return logits.argmax(-1).tolist() == [case.tokens[i + 1] for i in at]


@torch.no_grad()
def strict_free(model: Model, case: Case) -> bool:
    """Whether the answers come out of greedy decoding that reads everything anew for each token."""
    for answer in case.answers:
        for i in range(answer.start, answer.stop):
            logits = model(_ids(model, case.tokens[:i]), logits_to_keep=1, use_cache=False).logits
            if int(logits[0, -1].argmax()) != case.tokens[i]:
                return False
    return True


@torch.no_grad()
def decoded(model: Model, case: Case) -> bool:
    """Whether the answers come out of greedy decoding over a cache. A later question follows the right answer of the one before."""
    cache, read = DynamicCache(config=model.config), 0
    for answer in case.answers:
        logits = model(_ids(model, case.tokens[read : answer.start]), past_key_values=cache, logits_to_keep=1).logits
        for i in range(answer.start, answer.stop):
            if int(logits[0, -1].argmax()) != case.tokens[i]:
                return False
            logits = model(_ids(model, case.tokens[i : i + 1]), past_key_values=cache, logits_to_keep=1).logits
        read = answer.stop
    return True


SCORES: dict[str, Callable[[Model, Case], bool]] = {"strict": strict, "strict free": strict_free, "decoded": decoded}


@dataclass(frozen=True)
class Window:
    """What a model makes of a window of text: its surprise in nats, how many bytes that is about, and how far its predictions are from the ones
    under dense attention, the mean over tokens of the Kullback-Leibler divergence in nats."""

    nats: float
    bytes: int
    drift: float


@torch.no_grad()
def hidden(model: Model, tokens: Any) -> torch.Tensor:
    """The last layer's output for all tokens but the last one, [tokens - 1, hidden size]."""
    out: torch.Tensor = model.model(_ids(model, tokens[:-1]), use_cache=False).last_hidden_state[0]
    return out


@torch.no_grad()
def window(model: Model, tokens: Any, vocabulary: Tokens, dense: torch.Tensor | None = None) -> tuple[Window, torch.Tensor]:
    """Scores a window of text [tokens]; dense is its hidden() under dense attention. Returns hidden() of this model, too."""
    state, target = hidden(model, tokens), _ids(model, tokens)[0, 1:]
    nats = drift = 0.0
    for at in range(0, len(target), ROWS):
        logits = model.lm_head(state[at : at + ROWS]).float()
        nats += F.cross_entropy(logits, target[at : at + ROWS], reduction="sum").item()
        if dense is not None:
            of = model.lm_head(dense[at : at + ROWS].to(state.device)).float().log_softmax(-1)
            drift += F.kl_div(logits.log_softmax(-1), of, log_target=True, reduction="sum").item()
    size = int(vocabulary.bytes_of[np.asarray(tokens)[1:]].sum())
    return Window(nats, size, drift / len(target)), state


def bits_per_byte(windows: list[Window]) -> float:
    """Surprise of all windows together."""
    return sum(w.nats for w in windows) / sum(w.bytes for w in windows) / math.log(2)


@dataclass(frozen=True)
class Measured:
    """A number and the 95% interval of it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def bootstrap(numbers: np.ndarray, of: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> Measured:
    """What a statistic is, and its 95% percentile interval over RESAMPLES resamples of the cases.

    numbers is [cases, what is known of each]; cases are drawn whole, so that what was measured of the same case stays paired. of takes
    [..., cases, what] and gives [...].
    """
    numbers = np.asarray(numbers, float)
    if len(numbers) == 0:
        raise ValueError("there are no cases to take an interval of: ask for one at least")
    draws = np.random.default_rng(seed).integers(0, len(numbers), (RESAMPLES, len(numbers)))
    low, high = np.percentile(of(numbers[draws]), [2.5, 97.5])
    return Measured(float(of(numbers)), float(low), float(high))


def rate(hits: list[bool]) -> Measured:
    """The part of cases that are right."""
    return bootstrap(np.array(hits, float)[:, None], lambda x: x[..., 0].mean(-1))


def more_bits(sparse: list[Window], dense: list[Window]) -> Measured:
    """By which part sparse attention takes more bits per byte than dense on the same windows: 0.01 is 1% more."""
    pairs = np.array([(a.nats, b.nats) for a, b in zip(sparse, dense, strict=True)])
    return bootstrap(pairs, lambda x: x[..., 0].sum(-1) / x[..., 1].sum(-1) - 1)


def difference(sparse: list[bool], dense: list[bool]) -> Measured:
    """By which part more of the same cases are right than with dense attention: -0.01 is one of a hundred fewer."""
    pairs = np.array(list(zip(sparse, dense, strict=True)), float)
    return bootstrap(pairs, lambda x: x[..., 0].mean(-1) - x[..., 1].mean(-1))


def rank_correlation(pairs: list[tuple[float, float]]) -> float:
    """Spearman's: the correlation of the ranks, of equal numbers the mean rank."""
    ranks = [_ranks(np.array(x)) for x in zip(*pairs)]
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(x: np.ndarray) -> np.ndarray:
    return np.array([((x < v).sum() + (x <= v).sum()) / 2 for v in x])
