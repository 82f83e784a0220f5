"""Sparse attention kernels for PyTorch: minfc.attention(q, k, v, "vertical_slash", vertical=1000, slash=6096). See docs/python.md."""

from ._version import __version__

from ._attention import Compiled, attention, compile, counters
from ._explain import Estimate, Head, chosen, explain
from ._plan import Layer, Plan
from ._spec import spec_of

__all__ = [
    *("Compiled", "Estimate", "Head", "Layer", "Plan"),
    *("__version__", "attention", "chosen", "compile", "counters", "explain", "spec_of"),
]
