"""More than one GPU, on torch.distributed: see docs/parallel.md."""

from ._context import ContextParallel, current
from ._merge import merge

__all__ = ["ContextParallel", "current", "merge"]
