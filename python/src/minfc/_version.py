"""The version of the package: what compile.Version of the Go sources is, so that the package and its library cannot drift apart.

A wheel carries it in version.txt, which setup.py writes from the Go sources. In a clone there is no such file, and the Go sources are read.
"""

import re
from pathlib import Path

_HERE = Path(__file__).resolve().parent
WRITTEN = _HERE / "version.txt"
GO_SOURCE = _HERE.parents[2] / "compile" / "compile.go"


def of_go(source: Path = GO_SOURCE) -> str:
    """The version in compile/compile.go. Raises RuntimeError where the file does not say it."""
    found = re.search(r'(?m)^const Version = "([^"]+)"$', source.read_text())
    if found is None:
        raise RuntimeError(f'{source} has no line `const Version = "..."`, from which the Python package takes its version')
    return found.group(1)


def _version() -> str:
    return WRITTEN.read_text().strip() if WRITTEN.exists() else of_go()


__version__ = _version()
