"""What a model is trained on: text, tasks of the training split, and text with facts and questions all along. Pure functions of a seed."""

from __future__ import annotations

import random
from typing import Mapping

import numpy as np

from .facts import Source
from .tasks import INTRO, TASKS, Case, _ask, _needle, _question, assemble
from .tokens import Tokens

TEXT, SOUP = 0.25, 0.15  # parts of the sequences; the rest are tasks one after the other
SHORTEST = 512
# Lengths of tasks, and how often each: a task is learned from many cases, most of them short, and a few as long as the sequence.
LENGTHS = {512: 8, 1024: 6, 2048: 4, 4096: 2, 8192: 1, 16384: 1}
Sequence = tuple[list[int], list[bool]]


def sequence(tokens: Tokens, text: Mapping[str, np.ndarray], length: int, seed: int) -> Sequence:
    """length + 1 tokens, and for each of them whether it is part of an answer. The same seed gives the same sequence."""
    s = Source(tokens, text, "train", random.Random(f"sequence {length} {seed}"))
    kind = s.random.random()
    if kind < TEXT:
        ids = [*tokens.bos, *s.hay(length + 1 - len(tokens.bos))]
        return ids, [False] * len(ids)
    return soup(s, length + 1) if kind < TEXT + SOUP else packed(s, length + 1)


def packed(s: Source, length: int) -> Sequence:
    """Cases of random tasks and lengths, one after the other, cut at length."""
    ids: list[int] = []
    asked: list[bool] = []
    end = s.tokens.encode(".\n\n")
    while len(ids) < length:
        task = s.random.choice(list(TASKS))
        lengths = {n: often for n, often in LENGTHS.items() if n < length} | {length: 1}
        room = min(s.random.choices(list(lengths), list(lengths.values()))[0], max(SHORTEST, length - len(ids)))
        case = assemble(task, s, TASKS[task](s, room), room, None)
        ids += [*case.tokens, *end]
        asked += [*_asked(case), *[False] * len(end)]
    return ids[:length], asked[:length]


def _asked(case: Case) -> list[bool]:
    out = [False] * len(case.tokens)
    for a in case.answers:
        out[a.start : a.stop] = [True] * (a.stop - a.start)
    return out


def soup(s: Source, length: int) -> Sequence:
    """Text with needles all over, and after most of them a question for one that came before: many answers at all distances."""
    known: list[tuple[str, str]] = []
    pieces: list[tuple[list[int], int]] = []  # tokens, and how many of the last of them are an answer
    for _ in range(max(4, length // 700)):
        known.append((s.name(), s.number()))
        pieces.append((_needle(s, *known[-1]), 0))
        if s.random.random() < 0.8:
            pieces.append(_asking(s, *s.random.choice(known)))
    pieces += [_asking(s, *s.random.choice(known)) for _ in range(4)]
    ids = [*s.tokens.bos, *s.tokens.encode(INTRO)]
    asked = [False] * len(ids)
    hay = s.hay(max(0, length - len(ids) - sum(len(p) for p, _ in pieces)))
    places = sorted(s.random.randint(0, len(hay)) for _ in pieces)
    for (piece, answer), start, stop in zip(pieces, [0, *places], places):
        ids += [*hay[start:stop], *piece]
        asked += [False] * (stop - start + len(piece) - answer) + [True] * answer
    ids += hay[places[-1] :]
    asked += [False] * (len(ids) - len(asked))
    return ids[:length], asked[:length]


def _asking(s: Source, key: str, value: str) -> tuple[list[int], int]:
    question, answer = _question(s, _ask([key], 1), value)
    return [*question, *answer], len(answer)
