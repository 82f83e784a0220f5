"""Sparse attention kernels for PyTorch: minfc.attention(q, k, v, "vertical_slash", vertical=1000, slash=6096). See docs/python.md."""

from typing import TYPE_CHECKING, Any

from ._version import __version__

from ._attention import Compiled, attention, compile, counters
from ._explain import Estimate, Head, chosen, explain
from ._given import sparse_attn_func
from ._plan import Layer, Plan
from ._recall import kept_mass
from ._spec import spec_of
from ._workload import workload

if TYPE_CHECKING:
    from .transformers import Captured as Captured, captured as captured, install as install, patch_minference_config as patch_minference_config
    from .transformers import report as report, search as search, uninstall as uninstall

__all__ = [
    "Compiled",
    "Estimate",
    "Head",
    "Layer",
    "Plan",
    "__version__",
    "attention",
    "chosen",
    "compile",
    "counters",
    "explain",
    "kept_mass",
    "sparse_attn_func",
    "spec_of",
    "workload",
]

_OF_TRANSFORMERS = ("Captured", "captured", "install", "patch_minference_config", "report", "search", "uninstall")


def __getattr__(name: str) -> Any:
    """What needs transformers imports it when it is first used."""
    if name not in _OF_TRANSFORMERS:
        raise AttributeError(f"module 'minfc' has no attribute {name!r}")
    from . import transformers

    return getattr(transformers, name)
