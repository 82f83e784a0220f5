"""The work folder: a folder a stage, and in it a manifest of what the stage was made from. A stage whose inputs are the same is not made again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, Callable

MANIFEST = "manifest.json"


class Missing(Exception):
    """A stage wants what an earlier stage makes, or what cannot be had. It says what to do."""


def default() -> Path:
    """Where the work lies unless --work says so: minfc-evals in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minfc-evals"


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def of(value: Any) -> str:
    """A short digest of what JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


class Work:
    """A work folder. say prints a line for the person who waits."""

    def __init__(self, root: Path, say: Callable[[str], None] = print):
        self.root, self.say = root, say

    def stage(self, name: str, inputs: dict[str, Any], make: Callable[[Path], dict[str, Any]]) -> Path:
        """The folder of a stage. make fills an empty folder and returns facts for the manifest; nothing half-made takes its place.

        It is left as it is where its manifest names the same inputs and its files are still what they were.
        """
        folder = self.root / name
        if (kept := self._kept(folder)) is not None and kept["inputs"] == inputs:
            self.say(f"{name}: kept, made from the same inputs")
            return folder
        new = self.root / f"{name}.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        begin = time.monotonic()
        facts = make(new)
        files = {str(p.relative_to(new)): digest(p) for p in sorted(new.rglob("*")) if p.is_file()}
        manifest = {"inputs": inputs, "facts": facts, "files": files, "seconds": round(time.monotonic() - begin, 1)}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
        self.say(f"{name}: made in {manifest['seconds']} s")
        return folder

    def _kept(self, folder: Path) -> dict[str, Any] | None:
        try:
            manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            whole = all(digest(folder / name) == want for name, want in manifest["files"].items())
        except (OSError, ValueError, KeyError):
            return None
        return manifest if whole else None

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest of a stage that was made. Raises Missing where it was not."""
        path = self.root / name / MANIFEST
        if not path.exists():
            raise Missing(f"stage {name} was not run in {self.root}: run `python -m minfc_evals {name}` first, with the same --work")
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return said

    def identity(self, name: str) -> str:
        """A digest of what a stage holds, for the inputs of the next one."""
        return of(self.manifest(name)["files"])


class Lines:
    """A file of JSON lines that grows: results that were paid for stay when a run ends early. Each line has its key under "key"."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:  # the last line of a run that was stopped
                    continue
                self.rows[of(row["key"])] = row

    def get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """The line of a key, None where there is none yet."""
        return self.rows.get(of(key))

    def add(self, key: dict[str, Any], found: dict[str, Any]) -> None:
        """Writes a line, so that it is on the disk when this returns."""
        row = {"key": key, **found}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.exists() and self.path.stat().st_size > 0 and not self.path.read_bytes().endswith(b"\n")
        with open(self.path, "a", encoding="utf-8") as f:
            f.write(("\n" if torn else "") + json.dumps(row) + "\n")
            f.flush()
            os.fsync(f.fileno())
        self.rows[of(key)] = row
