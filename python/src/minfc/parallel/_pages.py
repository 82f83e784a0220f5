"""Pages of K and V: which ones a rank's lists ask for, and how they travel."""

from __future__ import annotations

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
        self.owners = chunks.owners().to(like.device)

    @property
    def k(self) -> torch.Tensor:
        return self.memory[0, :, :, : self.chunks.n]

    @property
    def v(self) -> torch.Tensor:
        return self.memory[1, :, :, : self.chunks.n]

    def flat(self) -> torch.Tensor:
        """A row of bytes for each page: [2 * B * Hk * pages, bytes]."""
        size = PAGE * self.memory.shape[-1] * self.memory.element_size()
        return self.memory.view(torch.uint8).view(-1, size)

    def nothing(self) -> torch.Tensor:
        """A mark for every page, bool [2, B, Hk, pages], none set."""
        return torch.zeros(2, *self.memory.shape[1:3], self.chunks.pages, dtype=torch.bool, device=self.memory.device)

    def owned(self, rank: int) -> torch.Tensor:
        """The pages that a rank holds."""
        return (self.owners == rank).expand(2, *self.memory.shape[1:3], -1).clone()


def read_by(piece: Piece, workspace: torch.Tensor | None, chunk: Chunk, chunks: Chunks, batch: int, device: torch.device) -> torch.Tensor:
    """The pages that the rows of a chunk read in any head of a piece, bool [B, pages]."""
    if not chunk.rows:
        return torch.zeros(batch, chunks.pages, dtype=torch.bool, device=device)
    marks = _Marks(batch, chunks, device)
    for start, end in piece.parts[0]["reads"]:
        lo, hi = (torch.full((batch, 1), x, device=device) for x in (start, end))
        marks.add(lo, hi, hi > lo)
    part, buffers = piece.parts[0], piece.buffers()
    first, end = part["span"]
    heads = torch.tensor(part["heads"], device=device) - first  # lists of heads between them are nobody's
    for name, buffer in buffers.items():
        for suffix, add in (("_runs", marks.runs), ("_cols", marks.columns), ("_blocks", marks.blocks)):
            if name.endswith(suffix) and workspace is not None:
                lists, counts = words(workspace, buffer), words(workspace, buffers[name[:-1] + "_count"])
                add(*(x.view(batch, end - first, -1).index_select(1, heads).flatten(1) for x in (lists, counts)), chunk)
    return marks.read()


class _Marks:
    """Counts of ranges that begin and end at each page."""

    def __init__(self, batch: int, chunks: Chunks, device: torch.device):
        self.chunks = chunks
        self.changes = torch.zeros(batch, chunks.pages + 1, dtype=torch.int32, device=device)

    def add(self, start: torch.Tensor, end: torch.Tensor, there: torch.Tensor) -> None:
        """Marks the keys start .. end-1 where there says so; all [B, ranges]."""
        end = end.clamp(max=self.chunks.n)
        start = start.clamp(min=0)
        there = (there & (end > start)).int()
        last = self.chunks.pages
        self.changes.scatter_add_(1, (start // PAGE).clamp(max=last).long(), there)
        self.changes.scatter_add_(1, ((end + PAGE - 1) // PAGE).clamp(0, last).long(), -there)

    def read(self) -> torch.Tensor:
        return self.changes[:, :-1].cumsum(1) > 0

    def runs(self, lists: torch.Tensor, counts: torch.Tensor, chunk: Chunk) -> None:
        """A tile begins at key s + run for the row block that begins at s: all row blocks together read one range of keys."""
        lists, there = _entries(lists, counts)
        last = chunk.start + (chunk.rows - 1) // PAGE * PAGE  # of the last row block
        self.add(lists + chunk.start, (lists + last + PAGE).clamp(max=chunk.end), there)

    def columns(self, lists: torch.Tensor, counts: torch.Tensor, chunk: Chunk) -> None:
        lists, there = _entries(lists, counts)
        self.add(lists, lists + 1, there & (lists < chunk.end))

    def blocks(self, lists: torch.Tensor, counts: torch.Tensor, chunk: Chunk) -> None:
        lists, there = _entries(lists, counts)
        self.add(lists * PAGE, (lists + 1) * PAGE, there)


def _entries(lists: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Entries [B, lists * room], and whether each is one: a list has as many as its count says. Others may hold anything: they become 0."""
    batch, n = counts.shape
    lists = lists.reshape(batch, n, -1)
    there = torch.arange(lists.shape[2], device=lists.device) < counts.unsqueeze(2)
    return torch.where(there, lists, 0).view(batch, -1), there.view(batch, -1)


class Traffic:
    """Pages that travel in turns: in turn t each rank gets the pages that it wants then, from the ranks that hold them.

    wants is bool [turns, 2, B, Hk, pages] on each rank, without pages that it has. It is a collective call, and waits for the device once.
    """

    def __init__(self, pages: Pages, wants: torch.Tensor, group: Any):
        self.pages, self.group = pages, group
        rank, world = dist.get_rank(group), dist.get_world_size(group)
        turns, total = wants.shape[0], wants[0].numel()
        every = all_gather(wants.flatten(1).view(torch.uint8), group).view(torch.bool)  # [ranks, turns, pages]
        owners = pages.owners.expand(wants.shape[1:]).reshape(-1)
        held = torch.nn.functional.one_hot(owners, world).t().bool()  # [ranks, pages]
        counts = torch.einsum("rtp,sp->trs", every.float(), held.float()).long()  # wanted by r of s
        gets = torch.nonzero((every[rank].unsqueeze(1) & held).reshape(-1)).view(-1) % total  # by turn, then by rank
        gives = torch.nonzero((every & held[rank]).transpose(0, 1).reshape(-1)).view(-1) % total
        self.counts = counts.cpu()
        self.gets = gets.split(self.counts[:, rank].sum(1).tolist())
        self.gives = gives.split(self.counts[:, :, rank].sum(1).tolist())
        self.rank, self.turns = rank, turns

    def run(self, turn: int) -> None:
        """Enqueues the transfers of a turn on the current stream; a turn without any is left out by all ranks."""
        counts = self.counts[turn]
        if not int(counts.sum()):
            return
        flat = self.pages.flat()
        out = flat.index_select(0, self.gives[turn])
        into = flat.new_empty(len(self.gets[turn]), flat.shape[1])
        dist.all_to_all_single(into, out, counts[self.rank].tolist(), counts[:, self.rank].tolist(), group=self.group)
        flat.index_copy_(0, self.gets[turn], into)

    def bytes(self) -> int:
        """How many bytes this rank gets in all turns."""
        return int(self.counts[:, self.rank].sum()) * self.pages.flat().shape[1]


def all_gather(x: torch.Tensor, group: Any) -> torch.Tensor:
    """The tensors of all ranks, [ranks, *x.shape], of one shape."""
    x = x.contiguous()
    out = x.new_empty(dist.get_world_size(group), *x.shape)
    dist.all_gather_into_tensor(out.view(-1), x.view(-1), group=group)
    return out


def global_rank(rank: int, group: Any) -> int:
    """The rank in the whole program of a rank of the group."""
    return rank if group is None else dist.get_global_rank(group, rank)


def rows_at(x: torch.Tensor, positions: Sequence[int], chunks: Chunks, rank: int, group: Any) -> torch.Tensor:
    """The rows of the sequence at positions, whoever holds them: x [B, H, rows of this rank, D] gives [B, H, positions, D] on all ranks."""
    mine = {p: i for i, p in enumerate(chunks.positions(rank).tolist())} if len(positions) else {}
    index = torch.tensor([mine.get(p, 0) for p in positions], device=x.device)
    there = torch.tensor([p in mine for p in positions], device=x.device)
    rows = x.new_zeros(x.shape[0], x.shape[1], len(positions), x.shape[3])
    if x.shape[2]:
        rows = torch.where(there.view(1, 1, -1, 1), x.index_select(2, index), rows)
    every = all_gather(rows.contiguous().view(torch.uint8), group).view(x.dtype)
    owners = chunks.owners()[torch.tensor(positions) // PAGE].to(x.device)
    return torch.gather(every, 0, owners.view(1, 1, 1, -1, 1).expand(1, *rows.shape)).squeeze(0)
