"""Which rows of a sequence each rank holds: two chunks, one from either end, so that causal work is even over the ranks."""

from __future__ import annotations

from typing import NamedTuple

import torch

PAGE = 64  # rows of K and V that travel together: a block of keys

ALIGN = 384  # rows: whole row tiles of every kernel, whose rows then round as in one call over the sequence


class Chunk(NamedTuple):
    """The rows start .. end-1 of the sequence."""

    start: int
    end: int

    @property
    def rows(self) -> int:
        return self.end - self.start


class Chunks:
    """A sequence of n rows over ranks. Chunk i of 2 * world belongs to rank i, the chunks of the second half to the ranks backwards."""

    def __init__(self, n: int, world: int, align: int = ALIGN):
        if n < 1:
            raise ValueError(f"length is {n}, want 1 or more")
        self.n, self.world = n, world
        self.rows = -(-n // (2 * world * align)) * align  # of a chunk; the last ones may be shorter, or empty
        self.pages = -(-n // PAGE)
        self.all = tuple(Chunk(min(i * self.rows, n), min((i + 1) * self.rows, n)) for i in range(2 * world))

    def of(self, rank: int) -> tuple[Chunk, Chunk]:
        """The chunks of a rank, in order."""
        return self.all[rank], self.all[2 * self.world - 1 - rank]

    def count(self, rank: int) -> int:
        """How many rows a rank holds."""
        return sum(c.rows for c in self.of(rank))

    def positions(self, rank: int) -> torch.Tensor:
        """The positions of a rank's rows in the sequence, int64 [rows], in the order in which the rank holds them."""
        return torch.cat([torch.arange(c.start, c.end) for c in self.of(rank)])

    def owners(self) -> torch.Tensor:
        """The rank that holds each page, int64 [pages]."""
        chunk = torch.arange(self.pages) * PAGE // self.rows
        return torch.minimum(chunk, 2 * self.world - 1 - chunk)
