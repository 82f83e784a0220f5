"""The text of the work folder: books of the training and of the test split, as text and as token ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .facts import SPLITS
from .tokens import Tokens
from .work import Missing

Books = dict[str, np.ndarray]


def write(folder: Path, books: dict[str, dict[str, str]]) -> None:
    """Writes books[split][name], texts, as FOLDER/SPLIT/NAME.txt. Raises ValueError where a text of the test is in training, too."""
    check_apart(books)
    for split in SPLITS:
        (folder / split).mkdir(parents=True, exist_ok=True)
        for name, text in books[split].items():
            (folder / split / f"{name}.txt").write_text(text, encoding="utf-8")


def check_apart(books: dict[str, dict[str, str]]) -> None:
    """Raises ValueError where pieces of a test book stand in a training book: 20 pieces of 200 characters, evenly spread."""
    train = "\n".join(books["train"].values())
    for name, text in books["test"].items():
        for at in range(0, max(len(text) - 200, 0), max(1, len(text) // 20)):
            if len(set(piece := text[at : at + 200])) > 12 and piece in train:
                raise ValueError(f"test book {name} has text of the training split: {piece[:60]!r}")


def tokenized(folder: Path, split: str, tokens: Tokens) -> Books:
    """The token ids, int32, of the books of a split in the folder of the stage text."""
    paths = sorted((folder / split).glob("*.txt"))
    if not paths:
        raise Missing(f"{folder / split} has no text: run the stage fetch")
    return {p.stem: np.array(_encode(p.read_text(encoding="utf-8"), tokens), np.int32) for p in paths}


def _encode(text: str, tokens: Tokens, piece: int = 1 << 20) -> list[int]:
    """The token ids of a long text, by pieces that end with a line, since a tokenizer takes memory in proportion."""
    ids: list[int] = []
    at = 0
    while at < len(text):
        end = text.find("\n", at + piece)
        end = len(text) if end < 0 else end
        ids += tokens.encode(text[at:end])
        at = end
    return ids


def read(folder: Path, split: str) -> Books:
    """The token ids of a split in the folder of the stage model."""
    return dict(np.load(folder / "text" / f"{split}.npz"))


def windows(books: Books, length: int, least_bytes: int, bytes_of: np.ndarray, bos: tuple[int, ...]) -> list[np.ndarray]:
    """Windows of length tokens, the same number of each book and evenly spread over it, with least_bytes of text in all.

    Raises ValueError where the books have not so much."""
    cut = length - len(bos)
    fitting = {name: ids for name, ids in books.items() if len(ids) >= cut}
    most = sum(len(ids) // cut for ids in fitting.values())
    for each in range(1, most + 1):
        out = [_window(ids, i, min(each, len(ids) // cut), cut, bos) for ids in fitting.values() for i in range(min(each, len(ids) // cut))]
        if sum(int(bytes_of[w].sum()) for w in out) >= least_bytes:
            return out
    raise ValueError(f"the test text has less than {least_bytes} bytes in windows of {length} tokens: fetch more text, or ask for less")


def _window(ids: np.ndarray, i: int, count: int, cut: int, bos: tuple[int, ...]) -> np.ndarray:
    start = i * (len(ids) - cut) // max(count - 1, 1)
    return np.concatenate([np.array(bos, np.int32), ids[start : start + cut]])
