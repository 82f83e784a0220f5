"""The text of the work folder: books of the training and of the test split, as token ids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .facts import SPLITS
from .tokens import Tokens

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


def read(folder: Path, split: str, tokens: Tokens) -> Books:
    """The books of a split, int32 token ids. They are kept beside the text, by what the tokenizer is, for the next time."""
    kept = folder / f"{split}.npz"
    if kept.exists():
        return dict(np.load(kept))
    paths = sorted((folder / split).glob("*.txt"))
    if not paths:
        raise FileNotFoundError(f"{folder / split} has no text: run the stage fetch")
    return {p.stem: np.array(tokens.encode(p.read_text(encoding="utf-8")), np.int32) for p in paths}


def names(folder: Path) -> str:
    """Which books there are, for a manifest."""
    return json.dumps({split: sorted(p.stem for p in (folder / split).glob("*.txt")) for split in SPLITS})
