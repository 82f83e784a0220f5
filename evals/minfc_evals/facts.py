"""What the synthetic tasks speak of: names, numbers, and text to hide them in. All are pure functions of a random.Random.

Splits: names are pairs of words, and a pair belongs to "test" or to "train" by the places of its words in the vocabulary. So no question of
the test was ever in training, while each word was. The text around them comes from other books and files as well (text.py).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Mapping, Sequence

import numpy as np

from .tokens import Tokens

SPLITS = ("train", "test")
_TEST_PAIRS = 4  # one pair of four is of the test


@dataclass
class Source:
    """What a case is made from: the tokenizer, the text of a split, and random numbers."""

    tokens: Tokens
    text: Mapping[str, np.ndarray]  # of this split: token ids of each book
    split: str
    random: random.Random
    _used: set[tuple[int, int]] = field(default_factory=set)

    def hay(self, n: int) -> list[int]:
        """n tokens of one book in a row, from a random place on. Raises ValueError where no book is that long."""
        books = [b for b in self.text.values() if len(b) >= n]
        if not books:
            raise ValueError(f"no text of the {self.split} split has {n} tokens in a row: fetch more text, or take shorter prompts")
        book = self.random.choices(books, [len(b) for b in books])[0]
        start = self.random.randrange(len(book) - n + 1)
        return [int(i) for i in book[start : start + n]]

    def name(self) -> str:
        """Two words that are no name in this case yet, with a space before each."""
        words = self.tokens.words
        while True:
            a, b = self.random.randrange(len(words)), self.random.randrange(len(words))
            if a != b and (a, b) not in self._used and split_of(a, b) == self.split:
                self._used.add((a, b))
                return f" {self.tokens.word(words[a])} {self.tokens.word(words[b])}"

    def number(self) -> str:
        """Five digits."""
        return str(self.random.randrange(10_000, 100_000))

    def words(self, n: int) -> list[int]:
        """n different words, one token each."""
        return self.random.sample(self.tokens.words, n)

    def word(self) -> str:
        """A word with a space before it."""
        return " " + self.tokens.word(self.random.choice(self.tokens.words))


def split_of(a: int, b: int) -> str:
    """The split of the name of words number a and b."""
    return "test" if (a + b) % _TEST_PAIRS == 0 else "train"


def shares(weights: Sequence[float], total: int) -> list[int]:
    """Whole numbers in the proportion of weights, at least 1 each, total in all but for rounding of the last ones."""
    return [max(1, int(total * w / sum(weights))) for w in weights]
