"""Text out of unpacked Debian packages: each reader takes the folder and gives texts by name."""

from __future__ import annotations

import html
import re
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Callable

_SHORTEST = 2000  # characters of a file that is worth having


def _joined(paths: list[Path], clean: Callable[[str], str]) -> str:
    texts = (clean(p.read_text(encoding="utf-8", errors="replace")) for p in sorted(paths))
    return "\n\n".join(t for t in texts if len(t) >= _SHORTEST)


def bible(folder: Path) -> dict[str, str]:
    """All verses, by the package's own reader, without their numbers."""
    program = folder / "usr/bin/bible"
    done = subprocess.run([program, "-f", "gen1:1-rev22:21"], cwd=folder / "usr/lib", capture_output=True, text=True, check=True, errors="replace")
    verses = re.sub(r"(?m)^\S+:\d+ ", "", done.stdout)
    return {"kjv": verses}


def rst(folder: Path) -> dict[str, str]:
    """Sources of Sphinx pages."""
    return {"python": _joined(list(folder.rglob("_sources/**/*.rst.txt")), str.strip)}


def pod(folder: Path) -> dict[str, str]:
    """Perl's pages: paragraphs that are no commands, without marks such as C<...>."""

    def clean(text: str) -> str:
        return re.sub(r"[A-Z]<+ ?([^<>]*?) ?>+", r"\1", re.sub(r"(?m)^=\w+ ?", "", text))

    return {"perl": _joined(list(folder.rglob("*.pod")), clean)}


def html_pages(folder: Path) -> dict[str, str]:
    """HTML pages without their tags."""

    def clean(text: str) -> str:
        body = re.sub(r"(?s)<(script|style|head).*?</\1>|<div class=\"nav(header|footer)\".*?</div>", "", text)
        return re.sub(r"\n\s*\n\s*", "\n\n", html.unescape(re.sub(r"<[^>]+>", "", body))).strip()

    return {"postgresql": _joined(list(folder.rglob("*.html")), clean)}


def austen(folder: Path) -> dict[str, str]:
    """The six novels, lines of R's lazy-load data."""
    (path,) = folder.rglob("janeaustenr/data/Rdata.rdb")
    return {f"austen{i}": "\n".join(lines) for i, lines in enumerate(r_strings(path.read_bytes()))}


def r_strings(data: bytes) -> list[list[str]]:
    """The vectors of strings in an .rdb file: values one after the other, each a length, big-endian, and zlib of R's XDR serialisation, as R's
    manual "R Internals" has it (1.8 Serialization formats)."""
    out, at = [], 0
    while at + 4 <= len(data):
        inflate = zlib.decompressobj()
        value = inflate.decompress(data[at + 4 :])
        at = len(data) - len(inflate.unused_data)
        vector = value.find(b"\x00\x00\x00\x10", 14)  # STRSXP without attributes
        if vector >= 0:
            out.append(_vector(value, vector + 4))
    return out


def _vector(value: bytes, at: int) -> list[str]:
    (count,) = struct.unpack_from(">i", value, at)
    at, strings = at + 4, []
    for _ in range(count):
        kind, size = struct.unpack_from(">Ii", value, at)
        if kind & 0xFF != 9:  # CHARSXP
            raise ValueError(f"R data has a value of type {kind & 0xFF} where a string should be")
        strings.append(value[at + 8 : at + 8 + max(size, 0)].decode("utf-8", "replace"))
        at += 8 + max(size, 0)
    return strings


READERS: dict[str, Callable[[Path], dict[str, str]]] = {"bible": bible, "rst": rst, "pod": pod, "html": html_pages, "austen": austen}
