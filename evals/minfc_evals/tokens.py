"""A tokenizer as the tasks need it: pieces of text to token ids, how many bytes a token stands for, and words of one token each."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

_SPACES = ("\u0120", "\u2581")  # how byte-level and SentencePiece vocabularies write a space before a word
_FEWEST_WORDS = 64


class Tokens:
    """A tokenizer of transformers (tokenizer.json), without special tokens of its own: bos is what every prompt begins with."""

    def __init__(self, tokenizer: Tokenizer, bos: tuple[int, ...] = ()):
        self.tokenizer, self.bos = tokenizer, bos

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """Reads a tokenizer.json. A vocabulary that has a token <bos> begins its prompts with it."""
        tokenizer = Tokenizer.from_file(str(path))
        bos = tokenizer.token_to_id("<bos>")
        return cls(tokenizer, () if bos is None else (bos,))

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def text(self, ids: list[int]) -> str:
        """What token ids say."""
        return str(self.tokenizer.decode(list(ids)))

    @cached_property
    def bytes_of(self) -> np.ndarray:
        """How many bytes of text each token stands for, int64 [vocabulary]."""
        size = self.tokenizer.get_vocab_size(with_added_tokens=True)
        by_byte = self.tokenizer.token_to_id(_SPACES[1] + "the") is None
        return np.array([_bytes(self.tokenizer.id_to_token(i) or "", by_byte) for i in range(size)], np.int64)

    @cached_property
    def words(self) -> list[int]:
        """Tokens that are a whole lower-case English-looking word of 4 to 9 letters with a space before it, in the order of their ids.

        Raises ValueError where the vocabulary has too few to make names of."""
        size = self.tokenizer.get_vocab_size(with_added_tokens=False)
        found = [i for i in range(size) if _is_word(self.tokenizer.id_to_token(i) or "")]
        if len(found) < _FEWEST_WORDS:
            raise ValueError(f"the vocabulary has {len(found)} words of one token, want {_FEWEST_WORDS}: use a larger tokenizer")
        return found[: 2 * len(found) // 3] if len(found) > 3000 else found  # the last ones of a large vocabulary are parts of words

    def word(self, token: int) -> str:
        """The letters of one of words, without the space."""
        return str(self.tokenizer.id_to_token(token))[1:]


def _is_word(token: str) -> bool:
    letters = token[1:]
    return token[:1] in _SPACES and 4 <= len(letters) <= 9 and letters.isascii() and letters.isalpha() and letters.islower()


def _bytes(token: str, by_byte: bool) -> int:
    """Byte-level vocabularies write each byte as one character; SentencePiece writes text, and bytes as <0xNN>."""
    if by_byte:
        return len(token)
    return 1 if token.startswith("<0x") and token.endswith(">") else len(token.replace(_SPACES[1], " ").encode())
