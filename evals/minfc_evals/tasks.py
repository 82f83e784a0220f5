"""The tasks of RULER (arXiv 2404.06654, section 3 and appendix B), rebuilt from the paper, and three that it does not have.

A case is one sequence of tokens of exactly the length asked for: an introduction, a body with facts in it, and questions with their answers.
It says where the facts and the answers lie. It is a pure function of the tokenizer, the text, the split and the seed.

Where they differ from the paper: answers of several parts come in the order of the text (or of the question, or of frequency), so that one token
sequence is right and each of its tokens can be checked; names are pairs of words; one common word is asked for and not ten.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from typing import Callable, Mapping, NamedTuple

import numpy as np

from .facts import Source, shares
from .tokens import Tokens


class Span(NamedTuple):
    """Tokens start .. stop - 1 of a case."""

    start: int
    stop: int


@dataclass(frozen=True)
class Case:
    """A prompt with its answers inside. tokens[answer.start:answer.stop] is what a model has to say after tokens[:answer.start].

    facts are the places in the prompt that the answers come from, () where they come from all of it."""

    task: str
    tokens: tuple[int, ...]
    answers: tuple[Span, ...]
    facts: tuple[Span, ...]


class Item(NamedTuple):
    """Tokens that stand somewhere in the body; asked: an answer comes from them."""

    tokens: list[int]
    asked: bool = False


@dataclass
class Parts:
    """What a case is assembled from. turns are questions and answers, in order. words: the body is these tokens alone, with no text."""

    intro: str
    items: list[Item]
    turns: list[tuple[list[int], list[int]]]
    words: list[int] = field(default_factory=list)


INTRO = "Some special facts are hidden within the following text. Memorize them. I will quiz you about them afterwards.\n\n"
WORDS_INTRO = "Below is a list of words. Memorize which ones appear most often.\n\n"


# Tasks: each takes a source and how many tokens there are for everything, and gives the parts.


def needle(s: Source, room: int, distractors: int = 0, values: int = 1, queries: int = 1) -> Parts:
    """Needles in a haystack (3.1): a key with a number, or with several, or several keys that are asked for, among keys that are not."""
    asked = [s.name() for _ in range(queries)]
    numbers = {key: [s.number() for _ in range(values)] for key in asked}
    items = [Item(_needle(s, key, v), True) for key in asked for v in numbers[key]]
    fitting = max(0, min(distractors, (room // 2 - sum(len(i.tokens) for i in items)) // len(items[0].tokens)))
    items += [Item(_needle(s, s.name(), s.number())) for _ in range(fitting)]
    order = list(range(len(items)))
    s.random.shuffle(order)
    kept = [i for i in order if i < len(asked) * values]  # the order in the text of what is asked
    flat = [v for key in asked for v in numbers[key]]
    answer = [flat[i] for i in kept] if values > 1 else flat
    return Parts(INTRO, [items[i] for i in order], [_question(s, _ask(asked, values), ", ".join(answer))])


def _needle(s: Source, key: str, value: str) -> list[int]:
    return s.tokens.encode(f"\nThe special magic number for{key} is: {value}.\n")


def _ask(keys: list[str], values: int) -> str:
    names = " and".join(keys)
    what, verb = ("number", "is") if len(keys) * values == 1 else ("numbers", "are")
    return f"\nWhat {verb} the special magic {what} for{names} mentioned in the text above? The special magic {what} for{names} mentioned in the text above {verb}:"


def _question(s: Source, question: str, answer: str) -> tuple[list[int], list[int]]:
    return s.tokens.encode(question), s.tokens.encode(" " + answer)


def key_values(s: Source, room: int) -> Parts:
    """The hardest multi-key form (3.1): the haystack is needles and nothing else."""
    left, kept = room - _around(s, INTRO, _ask([s.name()], 1)), []
    while True:
        key, value = s.name(), s.number()
        tokens = s.tokens.encode(f"The special magic number for{key} is: {value}.\n")
        left -= len(tokens)
        if left < 0 and kept:
            break
        kept.append((key, value, tokens))
    target = s.random.randrange(len(kept))
    items = [Item(t, i == target) for i, (_, _, t) in enumerate(kept)]
    return Parts(INTRO, items, [_question(s, _ask([kept[target][0]], 1), kept[target][1])])


def _around(s: Source, intro: str, ask: str) -> int:
    """Tokens that an introduction, a question and its answer take at most, where the rest is filled with items."""
    return len(s.tokens.bos) + len(s.tokens.encode(intro)) + len(s.tokens.encode(ask)) + 24


def variables(s: Source, room: int, chains: int = 2, hops: int = 3) -> Parts:
    """Variable tracking (3.2): a value goes through a chain of assignments; all variables that have it are asked for, the first one first."""
    names = [[s.name() for _ in range(hops + 1)] for _ in range(chains)]
    values = [s.number() for _ in names]
    lines = [[f"\nVAR{n[0]} = {v}.\n", *(f"\nVAR{b} = VAR{a}.\n" for a, b in zip(n, n[1:]))] for n, v in zip(names, values)]
    order = [chain for chain in range(chains) for _ in range(hops + 1)]
    s.random.shuffle(order)
    asked, steps = s.random.randrange(chains), [iter(chain) for chain in lines]
    items = [Item(s.tokens.encode(next(steps[chain])), chain == asked) for chain in order]
    question = f"\nFind all variables that have the value {values[asked]} in the text above. They are, in order:"
    return Parts(INTRO, items, [(s.tokens.encode(question), s.tokens.encode(",".join(names[asked])))])


def common_words(s: Source, room: int) -> Parts:
    """Common words (3.3): a few words are frequent among many that are rare. One is the most frequent by far."""
    return _frequent(s, room, [5.0, *[2.0] * 4, *[60.0 / 400] * 400], "Which word appears", 1, 0)


def frequent_words(s: Source, room: int) -> Parts:
    """Frequent words (3.3): word number r of a list appears in proportion to 1/r^2. The first one is noise; the next three are asked for."""
    return _frequent(s, room, [1 / (r + 1) ** 2 for r in range(40)], "After the most frequent word, which three words appear", 3, 1)


def _frequent(s: Source, room: int, weights: list[float], which: str, asked: int, noise: int) -> Parts:
    question = f"\n\n{which} most often in the list above? The answer is:"
    body = room - len(s.tokens.encode(WORDS_INTRO)) - len(s.tokens.encode(question)) - asked - len(s.tokens.bos)
    if body < 16 * (noise + asked + 1):
        raise ValueError(f"{room} tokens are too few to say which words are frequent: take longer prompts")
    words = s.words(min(len(weights), len(s.tokens.words), body // 2))
    counts = shares(weights[: len(words)], body)
    listed = [w for w, n in zip(words, counts) for _ in range(n)]
    while len(listed) < body:  # rounding leaves room: the most frequent words have it, so that their order stays
        listed.append(words[0])
    rare = max(noise + asked + 1, len(words) // 2)
    while len(listed) > body:
        listed.remove(words[rare + (len(listed) - body) % (len(words) - rare)])
    s.random.shuffle(listed)
    return Parts(WORDS_INTRO, [], [(s.tokens.encode(question), words[noise : noise + asked])], listed)


def question(s: Source, room: int) -> Parts:
    """A question over distractors (3.4): short documents of one form, and a question that one of them answers. The paper takes documents of SQuAD."""
    intro = "Answer the question by the documents below.\n\n"
    asks = ["In which town was{n} born? The town is", "For which trade was{n} known? It is the trade in"]
    said, items, left = [], [], room - _around(s, intro, "\nQuestion: " + asks[1].format(n=s.name()))
    while True:
        name, town, trade = s.name(), s.word(), s.word()
        number = len(said) + 1
        tokens = s.tokens.encode(f"Document {number}:{name} was born in the town of{town} and became known for the trade in{trade}.\n")
        left -= len(tokens)
        if left < 0 and items:
            break
        said.append((name, town, trade))
        items.append(tokens)
    target = s.random.randrange(len(said))
    which = s.random.randrange(len(asks))
    turn = (s.tokens.encode("\nQuestion: " + asks[which].format(n=said[target][0])), s.tokens.encode(said[target][1 + which]))
    return Parts(intro, [Item(t, i == target) for i, t in enumerate(items)], [turn])


def turns(s: Source, room: int) -> Parts:
    """A second question after the first is answered: what is sparse by the first question's view must still hold the second one's facts. (As
    SCBench argues, arXiv 2412.10319.)"""
    keys = [s.name() for _ in range(2)]
    values = [s.number() for _ in keys]
    items = [Item(_needle(s, key, v), True) for key, v in zip(keys, values)]
    s.random.shuffle(items)
    return Parts(INTRO, items, [_question(s, _ask([key], 1), v) for key, v in zip(keys, values)])


def repeat(s: Source, room: int) -> Parts:
    """A passage of random words comes again at the end: the model has to copy what came after its beginning, from where no block begins."""
    cue, more = 12, 12
    passage = s.words(cue + more)
    line = s.tokens.encode("\n")
    return Parts("", [Item([*line, *passage, *line], True)], [([*line, *passage[:cue]], passage[cue:])])


TASKS: dict[str, Callable[[Source, int], Parts]] = {
    "single": needle,
    "multi-key": partial(needle, distractors=7),
    "multi-value": partial(needle, values=4),
    "multi-query": partial(needle, queries=4),
    "key-values": key_values,
    "variables": variables,
    "common words": common_words,
    "frequent words": frequent_words,
    "question": question,
    "two turns": turns,
    "repeat": repeat,
}


def make(task: str, tokens: Tokens, text: Mapping[str, np.ndarray], length: int, seed: int, *, split: str = "test", depth: float | None = None) -> Case:
    """A case of a task of TASKS, of length tokens, answers included.

    text has the token ids of the split's books. depth from 0 to 1 says where in the body the asked items stand, at random unless given.
    Raises ValueError for an unknown task and a length that the task does not fit in.
    """
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}: have {', '.join(TASKS)}")
    s = Source(tokens, text, split, random.Random(f"{split} {task} {length} {seed} {depth}"))
    return assemble(task, s, TASKS[task](s, length), length, depth)


def assemble(task: str, s: Source, parts: Parts, length: int, depth: float | None) -> Case:
    """Spreads the items over text so that all is length tokens long."""
    out = [*s.tokens.bos, *s.tokens.encode(parts.intro)] if parts.intro else list(s.tokens.bos)
    ends = sum(len(q) + len(a) for q, a in parts.turns)
    free = length - len(out) - ends - sum(len(i.tokens) for i in parts.items) - len(parts.words)
    if free < 0:
        raise ValueError(f"task {task!r} needs {length - free} tokens, and a prompt has {length}: take longer prompts")
    out += parts.words
    hay, facts, taken = s.hay(free) if free else [], [], 0
    for item, at in zip(parts.items, _places(s.random, parts.items, free, depth)):
        out += hay[taken:at]
        taken = at
        if item.asked:
            facts.append(Span(len(out), len(out) + len(item.tokens)))
        out += item.tokens
    out += hay[taken:]
    answers = []
    for ask, answer in parts.turns:
        out += ask
        answers.append(Span(len(out), len(out) + len(answer)))
        out += answer
    return Case(task, tuple(out), tuple(answers), tuple(facts))


def _places(r: random.Random, items: list[Item], free: int, depth: float | None) -> list[int]:
    """How much text stands before each item, rising."""
    if depth is None:
        return sorted(r.randint(0, free) for _ in items)
    return [min(free, round(depth * free))] * len(items)
