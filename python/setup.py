"""Builds libminfc.so into the wheel. It needs Go and a C compiler, and the clone around this folder."""

import re
import runpy
import shutil
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
VERSION = runpy.run_path(str(HERE / "src/minfc/_version.py"))["of_go"]()
GO_BUILD = ["go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags", "-s -w"]


class BuildWithLibrary(build_py):
    """build_py, which adds the library and the version."""

    def run(self):
        super().run()
        if self.editable_mode:
            raise SystemExit("an editable install has no library inside: set PYTHONPATH to python/src and MINFC_LIBRARY to a libminfc.so")
        package = Path(self.build_lib).resolve() / "minfc"
        subprocess.run([*GO_BUILD, "-o", str(package / "libminfc.so"), "./capi"], cwd=HERE.parent, check=True)
        (package / "libminfc.h").unlink()  # cgo's own; C programs take minfc.h
        (package / "version.txt").write_text(VERSION + "\n")
        shutil.copy(HERE.parent / "LICENSE", package)


class PlatformWheel(bdist_wheel):
    """bdist_wheel, whose tag says what the library needs: a platform and a glibc, and no Python in particular."""

    def get_tag(self):
        platform = super().get_tag()[2]
        if platform.startswith("linux_"):
            platform = f"manylinux_{needed_glibc(Path(self.bdist_dir) / 'minfc/libminfc.so')}_{platform.removeprefix('linux_')}"
        return "py3", "none", platform


def needed_glibc(library):
    """The newest version of glibc whose symbols the library asks for, as in a manylinux tag: 2_34."""
    asked = re.findall(rb"\0GLIBC_(\d+)\.(\d+)", library.read_bytes())
    return "{}_{}".format(*max((int(major), int(minor)) for major, minor in asked))


class WithLibrary(Distribution):
    """A distribution that knows that its wheel is not for all platforms."""

    def has_ext_modules(self):
        return True


setup(version=VERSION, distclass=WithLibrary, cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel})
