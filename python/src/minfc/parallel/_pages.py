"""Pages of K and V: which ones a rank's lists ask for, and how they travel."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Sequence

import torch
import torch.distributed as dist

from ._chunks import PAGE, Chunk, Chunks
from ._pieces import Piece, words


class Pages:
    """K and V of a whole sequence on one rank, [2, B, Hk, pages * 64, D], of which only pages that were asked for have contents.

    It is kept from call to call, so that what was never asked for holds older keys or zeros: finite numbers, whose probability is 0.
    """

    def __init__(self, batch: int, kv_heads: int, head_dim: int, chunks: Chunks, like: torch.Tensor):
        self.chunks = chunks
        self.memory = like.new_zeros(2, batch, kv_heads, chunks.pages * PAGE, head_dim)
        owners = chunks.owners().to(like.device)
        self.owners = owners == torch.arange(chunks.world, device=like.device).unsqueeze(1)  # [ranks, pages]: whether a rank holds a page
        self.held = self.owners.view(-1, 1, 1, 1, chunks.pages).expand(-1, *self.nothing().shape).flatten(1)  # [ranks, all pages]
        # What travels the same way in every call, by what it is for: the traffic, and the pages that are there afterwards.
        self.known: dict[Any, tuple["Traffic", torch.Tensor]] = {}

    @property
    def k(self) -> torch.Tensor:
        return self.memory[0, :, :, : self.chunks.n]

    @property
    def v(self) -> torch.Tensor:
        return self.memory[1, :, :, : self.chunks.n]

    def flat(self) -> torch.Tensor:
        """A row for each page, [2 * B * Hk * pages, words]: words of 8 bytes, since torch copies rows element by element."""
        size = PAGE * self.memory.shape[-1] * self.memory.element_size()
        return self.memory.view(torch.int64).view(-1, size // 8)

    def nothing(self) -> torch.Tensor:
        """A mark for every page, bool [2, B, Hk, pages], none set."""
        return torch.zeros(2, *self.memory.shape[1:3], self.chunks.pages, dtype=torch.bool, device=self.memory.device)

    def owned(self, rank: int) -> torch.Tensor:
        """The pages that a rank holds."""
        return self.owners[rank].expand_as(self.nothing()).clone()


Calls = Sequence[tuple[Piece, Any, torch.Tensor | None, Chunk]]


def read_by(calls: Calls, chunks: Chunks, kv: tuple[int, int], group: int) -> torch.Tensor:
    """The pages that calls over chunks read, bool [B, kv heads, pages], for kv heads from the first of kv to before the second, which group
    query heads share each. The calls are over the same heads, each with its lists; lists of heads serve all of them.

    It is made of few operations: a GPU that attends beside it takes long to begin each.
    """
    piece = calls[0][0]
    part, buffers = piece.parts[0], piece.buffers()
    marks = _Marks(piece.batch, kv, chunks, piece.device)
    for own, _, _, _ in calls:
        for fixed in own.parts:
            rows = sorted({h // group - kv[0] for h in fixed["heads"]})
            for start, stop in fixed["reads"]:
                marks.everywhere(rows, start, stop)
    for name in buffers:
        for suffix, ranges in (("_runs", _of_runs), ("_cols", _of_columns)):
            if name.endswith(suffix):
                lists, there = _entries(piece, calls[0][2], name)
                starts, ends = zip(*(ranges(lists, c) for _, _, _, c in calls))
                marks.add(piece.heads // group - kv[0], torch.cat(starts, 2), torch.cat(ends, 2), there.repeat(1, 1, len(calls)))
        if name.endswith("_blocks"):
            for own, _, workspace, _ in calls:
                blocks, there = _entries(own, workspace, name)
                marks.add(piece.heads // group - kv[0], blocks * PAGE, blocks * PAGE + PAGE, there)
    return marks.read()


class _Marks:
    """Counts of ranges that begin and end at each page, by batch entry and kv head."""

    def __init__(self, batch: int, kv: tuple[int, int], chunks: Chunks, device: torch.device):
        self.chunks = chunks
        self.changes = torch.zeros(batch, kv[1] - kv[0], chunks.pages + 1, dtype=torch.int32, device=device)

    def everywhere(self, rows: list[int], start: int, end: int) -> None:
        """Marks the keys start .. end-1 of some kv heads in all batch entries."""
        self.changes[:, rows, start // PAGE] += 1
        self.changes[:, rows, -(-end // PAGE)] -= 1

    def add(self, rows: torch.Tensor, start: torch.Tensor, end: torch.Tensor, there: torch.Tensor) -> None:
        """Marks the keys start .. end-1, each [B, heads, entries], where there says so; rows [heads] are the kv heads."""
        batch, kv, width = self.changes.shape
        start, end = start.clamp(min=0), end.clamp(max=self.chunks.n)
        change = (there & (end > start)).int()
        line = torch.arange(batch, device=rows.device).unsqueeze(1) * kv + rows  # [B, heads]
        at = torch.cat([start // PAGE, (end + PAGE - 1) // PAGE], 2).clamp_(0, width - 1).add_(line.unsqueeze(2) * width)
        self.changes.view(-1).scatter_add_(0, at.view(-1), torch.cat([change, -change], 2).view(-1))

    def read(self) -> torch.Tensor:
        return self.changes[:, :, :-1].cumsum(2) > 0


def _of_runs(runs: torch.Tensor, chunk: Chunk) -> tuple[torch.Tensor, torch.Tensor]:
    """A tile begins at key s + run for the row block that begins at s: the row blocks of a chunk read one range of keys."""
    last = chunk.start + (chunk.rows - 1) // PAGE * PAGE  # of the last row block
    return runs + chunk.start, (runs + last + PAGE).clamp(max=chunk.end)


def _of_columns(columns: torch.Tensor, chunk: Chunk) -> tuple[torch.Tensor, torch.Tensor]:
    return columns, (columns + 1).clamp(max=chunk.end)


def _entries(piece: Piece, workspace: torch.Tensor | None, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The entries of the lists of a piece, [B, heads, entries], and whether each is one: a list has as many as its count says. Others may hold
    anything. Lists of heads between the piece's are nobody's."""
    assert workspace is not None
    buffers, (first, end) = piece.buffers(), piece.parts[0]["span"]
    counts = words(workspace, buffers[name[:-1] + "_count"]).view(piece.batch, end - first, -1, 1)
    lists = words(workspace, buffers[name]).view(piece.batch, end - first, counts.shape[2], -1)
    there = torch.arange(lists.shape[3], device=lists.device) < counts
    if len(piece.heads) < end - first:
        lists, there = (x.index_select(1, piece.heads - first) for x in (lists, there))
    return torch.where(there, lists, 0).flatten(2).long(), there.flatten(2)


class Traffic:
    """Pages that travel in turns: in turn t each rank gets the pages that it wants then, from the ranks that hold them.

    wants is bool [turns, 2, B, Hk, pages] on each rank, without pages that it has. Making it is a collective call; the first use waits until
    the current stream knows the numbers.
    """

    def __init__(self, pages: Pages, wants: torch.Tensor, group: Any):
        self.pages, self.group, self.rank = pages, group, dist.get_rank(group)
        self.turns = wants.shape[0]
        every = all_gather(wants.flatten(1).view(torch.uint8), group).view(torch.bool)  # [ranks, turns, pages]
        self._asked = every.transpose(0, 1).unsqueeze(2) & pages.held  # [turns, by rank, of rank, pages]
        self._sums = self._asked.sum(-1)

    @cached_property
    def counts(self) -> torch.Tensor:
        """How many pages a rank wants of another, [turns, by rank, of rank], on the host."""
        return self._sums.cpu()

    @cached_property
    def places(self) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """For each turn the numbers of the pages that this rank gets and gives, in the order of the other ranks."""
        total, counts = self._asked.shape[-1], self.counts
        gets, gives = (torch.nonzero(x.reshape(-1)).view(-1) % total for x in (self._asked[:, self.rank], self._asked[:, :, self.rank]))
        del self._asked
        return gets.split(counts[:, self.rank].sum(1).tolist()), gives.split(counts[:, :, self.rank].sum(1).tolist())

    def run(self, turn: int) -> None:
        """Enqueues the transfers of a turn on the current stream; a turn without any is left out by all ranks."""
        counts = self.counts[turn]
        if not int(counts.sum()):
            return
        flat, (gets, gives) = self.pages.flat(), self.places
        out = flat.index_select(0, gives[turn])
        into = flat.new_empty(len(gets[turn]), flat.shape[1])
        dist.all_to_all_single(into, out, counts[self.rank].tolist(), counts[:, self.rank].tolist(), group=self.group)
        flat.index_copy_(0, gets[turn], into)

    def bytes(self) -> int:
        """How many bytes this rank gets in all turns."""
        return int(self.counts[:, self.rank].sum()) * self.pages.flat().shape[1] * 8


def all_gather(x: torch.Tensor, group: Any) -> torch.Tensor:
    """The tensors of all ranks, [ranks, *x.shape], of one shape."""
    x = x.contiguous()
    out = x.new_empty(dist.get_world_size(group), *x.shape)
    dist.all_gather_into_tensor(out.view(-1), x.view(-1), group=group)
    return out


def global_rank(rank: int, group: Any) -> int:
    """The rank in the whole program of a rank of the group."""
    return rank if group is None else dist.get_global_rank(group, rank)


def last_rows(x: torch.Tensor, most: int, chunks: Chunks, rank: int, group: Any) -> torch.Tensor:
    """The last rows of the sequence on all ranks, whoever holds them: x [B, H, rows of this rank, D] gives [B, H, most, D]."""
    rows = x.new_zeros(x.shape[0], x.shape[1], most, x.shape[3])
    first, at = chunks.n - most, 0
    for c in chunks.of(rank):
        start = max(c.start, first)
        if start < c.end:
            rows[:, :, start - first : c.end - first] = x[:, :, at + start - c.start : at + c.rows]
        at += c.rows
    every = all_gather(rows.view(torch.uint8), group).view(x.dtype)
    for r in range(chunks.world):
        for c in chunks.of(r):
            start = max(c.start, first)
            if start < c.end and r != rank:
                rows[:, :, start - first : c.end - first] = every[r, :, :, start - first : c.end - first]
    return rows
