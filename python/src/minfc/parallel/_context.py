"""Context parallelism: a sequence over the ranks of a process group, each with two chunks of it (docs/parallel.md)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Iterator, NamedTuple

import torch
import torch.distributed as dist

from .. import _check
from .._attention import _scale, attention
from .._calls import attention_of
from .._spec import Pattern, spec_of
from ._chunks import ALIGN, Chunk, Chunks
from ._control import Control
from ._merge import merge
from ._pages import Pages, Traffic, all_gather, global_rank, read_by, rows_at
from ._pieces import ATTEND, CHOOSE, GATHER, POOL, Piece, Tensors

MOST_PIECES = 4096  # prepared calls that are remembered

_sequence: ContextVar[tuple["ContextParallel", int] | None] = ContextVar("minfc_sequence", default=None)


def current() -> tuple["ContextParallel", int] | None:
    """The context and the length of the sequence that a model is being called with a part of; None outside of ContextParallel.sequence."""
    return _sequence.get()


class Unit(NamedTuple):
    """Heads of one pattern that share a kv head: what is computed in one go."""

    heads: tuple[int, ...]
    kv: int
    lists: str  # "none", "heads" or "rows"
    probe_rows: int
    owner: int  # the rank that chooses lists of heads


class _Call(NamedTuple):
    """A call of attention, in numbers."""

    spec: str
    chunks: Chunks
    scale: float
    batch: int
    q_heads: int
    kv_heads: int
    head_dim: int


class ContextParallel:
    """Attention over a sequence whose rows are spread over the ranks of a process group: torch.distributed has to be initialised, with
    NCCL for tensors on GPUs, with gloo for tensors on CPUs.

    group    the process group; None: all ranks.
    align    chunks are multiples of so many rows, but for the last one. With the 384 that are given, rows are computed in the row tiles of
             one call over the whole sequence; a multiple of 128.
    timeout  seconds after which ranks that do not come to a call are an error.

    moved has, after each call, the bytes of keys, values and lists that this rank got from others.
    """

    def __init__(self, group: Any = None, *, align: int = ALIGN, timeout: float = 600.0):
        if align < 128 or align % 128:
            raise ValueError(f"align is {align}, want a multiple of 128")
        self.group, self.align = group, align
        self.control = Control(group, timeout)
        self.rank, self.world = self.control.rank, self.control.world
        self.moved = 0
        self.clock: list[tuple[str, Any, Any]] | None = None  # a list: events around what runs on the device are added to it
        self._pieces: OrderedDict[Any, Piece] = OrderedDict()
        self._pages: tuple[Any, Pages] | None = None
        self._side: dict[torch.device, Any] = {}

    def chunks(self, length: int) -> tuple[Chunk, Chunk]:
        """The rows of a sequence that this rank holds: (start, end) of two chunks, of which the second may be empty."""
        return self._chunks(length).of(self.rank)

    def positions(self, length: int) -> torch.Tensor:
        """The positions in the sequence of the rows that this rank holds, int64 [rows]: position ids of a model."""
        return self._chunks(length).positions(self.rank)

    def split(self, x: torch.Tensor, dim: int) -> torch.Tensor:
        """The rows of a whole tensor that this rank holds, in order."""
        return torch.cat([x.narrow(dim, c.start, c.rows) for c in self.chunks(x.shape[dim])], dim)

    def join(self, x: torch.Tensor, dim: int, length: int) -> torch.Tensor:
        """The whole tensor, on every rank, of what each rank holds of it. A collective call."""
        chunks = self._chunks(length)
        most = max(chunks.count(r) for r in range(self.world))
        own = x.transpose(0, dim)
        padded = own.new_zeros(most, *own.shape[1:])
        padded[: own.shape[0]] = own
        every = all_gather(padded.view(-1).view(torch.uint8), self.group).view(x.dtype).view(self.world, *padded.shape)
        out = own.new_empty(length, *own.shape[1:])
        for r in range(self.world):
            out[chunks.positions(r).to(x.device)] = every[r, : chunks.count(r)]
        return out.transpose(0, dim)

    def attention(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        pattern: Pattern = "vertical_slash",
        *,
        length: int,
        scale: float | None = None,
        return_lse: bool = False,
        **params: int,
    ) -> Any:
        """minfc.attention over the whole sequence, of which each rank has and gets its own rows. A collective call.

        q       [batch, q_heads, rows, head_dim]: the rows that this rank holds of length ones (positions), k and v likewise with kv_heads.
        length  rows of the whole sequence; queries and keys are of the same rows.

        Returns O [batch, q_heads, rows, head_dim] and, if asked, the LSE, float32 [batch, q_heads, rows]. What the data decides is decided as in
        one call over the sequence with fallback=False: lists of whole heads by one rank a kv head, which gets that head's keys; lists of row
        blocks by each rank, from pooled keys of all. Only keys and values that the lists of a rank ask for come to it, while attention of
        earlier heads runs.

        Raises RuntimeError, the same on all ranks, where a rank fails, calls with other arguments, or does not come; ValueError inside that
        names what is wrong.
        """
        call, units, error = None, [], None
        try:
            call = self._checked(q, k, v, spec_of(pattern, params), length, _scale(scale))
            units = self._units(call, q)
        except Exception as e:  # any failure of one rank is told to all of them
            error = e
        self.control.agree(_meaning(call, q), error)
        assert call is not None
        return _Run(self, call, units, q, k, v).run(return_lse)

    def decode(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, scale: float | None = None) -> torch.Tensor:
        """Dense attention of queries that see all keys of all ranks, as a decode step does over a cache that stayed where the prefill left it.
        A collective call.

        q is the same [batch, q_heads, rows, head_dim] on all ranks, k and v [batch, kv_heads, keys, head_dim] what this rank holds. Returns
        O like q on all ranks: each rank attends to its own keys, and the results are merged by their LSE.
        """
        o, lse = attention(q, k, v, "full", scale=scale, return_lse=True)
        every = all_gather(o.contiguous().view(torch.uint8), self.group).view(o.dtype)
        return merge(every, all_gather(lse, self.group))[0]

    @contextmanager
    def sequence(self, length: int) -> Iterator[None]:
        """Inside, models that minfc is installed in (minfc.install) take their rows for this rank's rows of a sequence of length ones. Give them
        the token ids and position ids of these: split and positions. Caches then hold the keys of this rank alone."""
        token = _sequence.set((self, length))
        try:
            yield
        finally:
            _sequence.reset(token)

    def prefill(self, model: Any, input_ids: torch.Tensor, **rest: Any) -> torch.Tensor:
        """The logits of the last token, [batch, 1, vocabulary], on all ranks, of a model of transformers that minfc is installed in. input_ids
        [batch, tokens] are the same on all ranks; each computes its own rows. A collective call; rest goes to the model."""
        length = input_ids.shape[1]
        own, positions = self.split(input_ids, 1), self.positions(length).to(input_ids.device)
        if not own.shape[1]:
            raise ValueError(f"{length} tokens are too few for {self.world} ranks: rank {self.rank} has none")
        with self.sequence(length):
            logits = model(own, position_ids=positions.expand(own.shape[0], -1), logits_to_keep=1, **rest).logits.contiguous()
        last = int(self._chunks(length).owners()[-1])
        dist.broadcast(logits, global_rank(last, self.group), group=self.group)
        return logits

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Notes events around what is enqueued on the current stream, if there is a clock."""
        if self.clock is None:
            yield
            return
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        yield
        end.record()
        self.clock.append((name, start, end))

    # The plan of a call

    def _chunks(self, length: int) -> Chunks:
        return Chunks(length, self.world, self.align)

    def _checked(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, spec: str, length: int, scale: float) -> _Call:
        sizes = _check.sizes(q, k, v, "bhsd")
        _check.alike(q, k, v)
        _check.strides(q, k, v)
        if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
            _check.no_grad(q, k, v)
        chunks = self._chunks(length)
        rows = chunks.count(self.rank)
        if sizes.seq_q != rows or sizes.seq_k != rows:
            raise ValueError(
                f"q has {sizes.seq_q} rows and k {sizes.seq_k}, and of {length} rows this rank holds {rows}: take what split or positions says"
            )
        return _Call(spec, chunks, scale, sizes.batch, sizes.q_heads, sizes.kv_heads, sizes.head_dim)

    def _units(self, call: _Call, q: torch.Tensor) -> list[Unit]:
        """What is computed one after the other: fixed patterns first, whose keys are known at once."""
        of = attention_of(q.get_device(), call.spec, call.q_heads, call.kv_heads, call.head_dim, q.dtype)
        one, kv = (q.new_empty(call.batch, n, 1, call.head_dim) for n in (call.q_heads, call.kv_heads))
        parts = self._piece(of, None, Tensors(one, kv, kv, one, None), 0, 1, 0, call.scale).parts
        group, units, owned = call.q_heads // call.kv_heads, [], 0
        for part in sorted(parts, key=lambda p: p["lists"] != "none"):
            if part.get("why"):
                raise ValueError(
                    f"pattern {part['pattern']} cannot run over ranks that hold a part of the sequence each: {part['why']}; "
                    "tensor parallelism can run it"
                )
            for head in range(call.kv_heads):
                heads = tuple(h for h in part["heads"] if h // group == head)
                if heads:
                    units.append(Unit(heads, head, part["lists"], part.get("probe_rows", 0), owned % self.world))
                    owned += part["lists"] == "heads"
        return units

    def _piece(self, of: Any, heads: Any, at: Tensors, q_offset: int, keys: int, reach: int, scale: float) -> Piece:
        shapes = tuple((x.shape, x.stride()) for x in at if x is not None)
        key = (of, heads, shapes, q_offset, keys, reach, scale)
        found = self._pieces.get(key)
        if found is None:
            found = self._pieces[key] = Piece(of, heads, at, q_offset, keys, reach, scale)
            while len(self._pieces) > MOST_PIECES:
                self._pieces.popitem(last=False)
        return found

    def _pages_for(self, call: _Call, like: torch.Tensor) -> Pages:
        key = (call.batch, call.kv_heads, call.head_dim, call.chunks.n, like.dtype, like.device)
        if self._pages is None or self._pages[0] != key:
            self._pages = None  # gives the memory back first
            self._pages = (key, Pages(call.batch, call.kv_heads, call.head_dim, call.chunks, like))
        return self._pages[1]


def _meaning(call: _Call | None, q: torch.Tensor) -> dict[str, Any]:
    """What has to be the same on all ranks."""
    if call is None:
        return {}
    return {
        "length": call.chunks.n,
        "align": call.chunks.rows,
        "batch": call.batch,
        "the number of heads": [call.q_heads, call.kv_heads],
        "head_dim": call.head_dim,
        "dtype": _check.word(q.dtype),
        "scale": call.scale,
        "the pattern": hashlib.sha256(call.spec.encode()).hexdigest()[:16],
    }


class _Run:
    """One call of attention on one rank."""

    def __init__(self, of: ContextParallel, call: _Call, units: list[Unit], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor):
        self.of, self.call, self.units, self.q = of, call, units, q
        self.attention = attention_of(q.get_device(), call.spec, call.q_heads, call.kv_heads, call.head_dim, q.dtype)
        self.mine = call.chunks.of(of.rank)
        self.pages = of._pages_for(call, k)
        at = 0
        for c in self.mine:
            self.pages.k[:, :, c.start : c.end] = k[:, :, at : at + c.rows]
            self.pages.v[:, :, c.start : c.end] = v[:, :, at : at + c.rows]
            at += c.rows
        self.o = torch.empty_like(q, memory_format=torch.contiguous_format)
        self.lse = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
        self.have = self.pages.owned(of.rank)
        self.lists: dict[Unit, torch.Tensor] = {}  # of heads: the kept part of a workspace
        self.of.moved = 0

    def run(self, return_lse: bool) -> Any:
        with self.of.timed("lists of heads"):
            self._choose_for_heads()
        with self.of.timed("lists of rows"):
            ready = [self._ready(unit) for unit in self._with_pooled_keys()]
        with self.of.timed("wants"):
            traffic = self._traffic(ready)
        self._attend(ready, traffic)
        return (self.o, self.lse) if return_lse else self.o

    # Lists of heads: chosen once

    def _choose_for_heads(self) -> None:
        units = [u for u in self.units if u.lists == "heads"]
        if not units:
            return
        n = self.call.chunks.n
        wants = self.pages.nothing()
        for u in units:
            if u.owner == self.of.rank:
                wants[0, :, u.kv] = True
        self._get(wants)
        most = min(n, max(u.probe_rows for u in units))
        last = rows_at(self.q, range(n - most, n), self.call.chunks, self.of.rank, self.of.group)
        for u in units:
            probe = last[:, :, most - min(n, u.probe_rows) :]
            piece = self._piece(u, self._tensors(probe, probe, None), n - probe.shape[2])
            if u.owner == self.of.rank:
                self.lists[u] = self._chosen(piece, self._tensors(probe, probe, None), CHOOSE)
            else:
                self.lists[u] = self._memory(piece.kept)
                self.of.moved += piece.kept
            dist.broadcast(self.lists[u], global_rank(u.owner, self.of.group), group=self.of.group)

    def _chosen(self, piece: Piece, at: Tensors, stages: int, pooled: torch.Tensor | None = None) -> torch.Tensor:
        """What is kept of the workspace of a run up to the lists."""
        workspace = self._memory(piece.workspace)
        if pooled is not None:
            _pooled_of(piece, workspace).copy_(pooled.view(-1))
        piece.run(stages, at, workspace)
        return workspace[: piece.kept].clone()

    # Lists of rows: chosen by who has the rows

    def _with_pooled_keys(self) -> list[tuple[Unit, torch.Tensor | None]]:
        """The units, each with the pooled keys of the sequence if its lists of rows are chosen from them."""
        out, known = [], {}
        for u in self.units:
            if u.lists == "rows":
                key = (u.kv, self._piece(u, self._tensors(self.q[:, :, :1], self.o[:, :, :1], None), 0).parts[0]["pattern"])
                if key not in known:
                    known[key] = self._pool(u)
                out.append((u, known[key]))
            else:
                out.append((u, None))
        return out

    def _pool(self, u: Unit) -> torch.Tensor:
        """Each rank pools the keys of its chunks; the pooled rows of all are put together in order."""
        own = []
        for c in self.mine:
            if c.rows:
                at = Tensors(self.q[:, :, :1], self.pages.k[:, :, c.start : c.end], self.pages.v[:, :, c.start : c.end], self.o[:, :, :1], None)
                piece = self.of._piece(self.attention, u.heads, at, 0, c.rows, 0, self.call.scale)
                workspace = self._memory(piece.workspace)
                piece.run(POOL, at, workspace)
                own.append(_pooled_of(piece, workspace).view(self.call.batch, -1, self.call.head_dim))
        chunks = self.call.chunks
        pooled_rows = [sum(-(-c.rows // 64) for c in chunks.of(r)) for r in range(self.of.world)]
        padded = torch.zeros(self.call.batch, max(pooled_rows), self.call.head_dim, dtype=torch.float32, device=self.q.device)
        if own:
            padded[:, : pooled_rows[self.of.rank]] = torch.cat(own, 1)
        every = all_gather(padded, self.of.group)
        self.of.moved += every[0].numel() * 4 * (self.of.world - 1)
        owners, out = chunks.owners(), padded.new_empty(self.call.batch, chunks.pages, self.call.head_dim)
        for r in range(self.of.world):
            out[:, (owners == r).to(out.device)] = every[r, :, : pooled_rows[r]]
        return out

    # Attention

    def _ready(self, unit: tuple[Unit, torch.Tensor | None]) -> list[tuple[Piece, Tensors, torch.Tensor | None, Chunk, Unit]]:
        """The calls of a unit over this rank's chunks, with their lists."""
        u, pooled = unit
        out, at = [], 0
        for c in self.mine:
            tensors = self._tensors(self.q[:, :, at : at + c.rows], self.o[:, :, at : at + c.rows], self.lse[:, :, at : at + c.rows])
            at += c.rows
            if not c.rows:
                continue
            piece = self._piece(u, tensors, c.start)
            lists = self.lists.get(u)
            if u.lists == "rows":
                lists = self._chosen(piece, tensors, CHOOSE, pooled)
            elif lists is None:
                lists = self._memory(piece.kept)
            out.append((piece, tensors, lists, c, u))
        return out

    def _traffic(self, ready: list[Any]) -> Traffic:
        wants = []
        for calls in ready:
            want = self.pages.nothing()
            for piece, _, lists, c, u in calls:
                want[:, :, u.kv] |= read_by(piece, lists, c, self.call.chunks, self.call.batch, self.q.device)
            want &= ~self.have
            self.have |= want
            wants.append(want)
        traffic = Traffic(self.pages, torch.stack(wants), self.of.group)
        self.of.moved += traffic.bytes()
        return traffic

    def _get(self, wants: torch.Tensor) -> None:
        """Gets pages at once."""
        wants &= ~self.have
        self.have |= wants
        traffic = Traffic(self.pages, wants.unsqueeze(0), self.of.group)
        traffic.run(0)
        self.of.moved += traffic.bytes()

    def _attend(self, ready: list[Any], traffic: Traffic) -> None:
        """Pages travel on a stream of their own, in the order in which attention needs them."""
        side = self._side_stream()
        if side is None:
            for turn, calls in enumerate(ready):
                traffic.run(turn)
                self._attend_to(calls)
            return
        main = torch.cuda.current_stream(self.q.device)
        side.wait_stream(main)
        arrived = []
        with torch.cuda.stream(side):
            for turn in range(len(ready)):
                with self.of.timed("transfer"):
                    traffic.run(turn)
                arrived.append(side.record_event())
        for calls, event in zip(ready, arrived):
            with self.of.timed("wait"):
                main.wait_event(event)
            with self.of.timed("attention"):
                self._attend_to(calls)
        main.wait_stream(side)

    def _attend_to(self, calls: list[Any]) -> None:
        for piece, tensors, lists, _, _ in calls:
            piece.run(GATHER | ATTEND, tensors, lists)

    def _side_stream(self) -> Any:
        device = self.q.device
        if device.type != "cuda":
            return None
        if device not in self.of._side:
            self.of._side[device] = torch.cuda.Stream(device, priority=-1)
        return self.of._side[device]

    # Small things

    def _tensors(self, q: torch.Tensor, o: torch.Tensor, lse: torch.Tensor | None) -> Tensors:
        return Tensors(q, self.pages.k, self.pages.v, o, lse)

    def _piece(self, u: Unit, at: Tensors, q_offset: int) -> Piece:
        n = self.call.chunks.n
        return self.of._piece(self.attention, u.heads, at, q_offset, n, n, self.call.scale)

    def _memory(self, size: int) -> torch.Tensor:
        """Workspace. On the emulator, which refuses to read what nobody wrote, zeros."""
        make = torch.empty if self.q.is_cuda else torch.zeros
        return make(size, dtype=torch.uint8, device=self.q.device)


def _pooled_of(piece: Piece, workspace: torch.Tensor) -> torch.Tensor:
    """The pooled keys in a workspace, float32."""
    name = next(n for n in piece.buffers() if n.startswith("pooled_k_"))
    buffer = piece.buffers()[name]
    return workspace[buffer["at"] : buffer["at"] + buffer["bytes"]].view(torch.float32)
