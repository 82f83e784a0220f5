"""Context parallelism: a sequence over the ranks of a process group, each with two chunks of it (docs/parallel.md)."""

from __future__ import annotations

import hashlib
import itertools
from contextlib import contextmanager
from typing import Any, Callable, Iterator, NamedTuple

import torch
import torch.distributed as dist

from .. import _check
from .._attention import _scale, attention
from .._calls import Attention, attention_of
from .._spec import Pattern, spec_of
from ._chunks import ALIGN, PAGE, Chunk, Chunks
from ._control import Control
from ._merge import merge
from ._pages import Pages, Traffic, all_gather, global_rank, last_rows, read_by
from ._pieces import ATTEND, CHOOSE, GATHER, POOL, Piece, Tensors

MOST_PIECES = 4096  # prepared calls that are remembered

# The sequence that a model is being called with a part of: the last entry. A list, since torch.compile looks into one, and not into a context
# variable; a rank is a process, and has one sequence at a time.
_sequences: list[tuple["ContextParallel", int]] = []


def current() -> tuple["ContextParallel", int] | None:
    """The context and the length of the sequence that a model is being called with a part of; None outside of ContextParallel.sequence."""
    return _sequences[-1] if _sequences else None


class Unit(NamedTuple):
    """Heads over some neighbouring kv heads, of one pattern or of fixed ones: what is computed in one go."""

    heads: tuple[int, ...]
    kv: tuple[int, int]  # from the first kv head to before the second
    lists: str  # "none", "heads" or "rows"
    probe_rows: int
    owner: int  # the rank that chooses lists of heads


class _Call(NamedTuple):
    """A call of attention, in numbers."""

    spec: str
    length: int
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
        self._pieces: dict[Any, Piece] = {}
        self._known_units: dict[Any, list[Unit]] = {}
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

        Raises RuntimeError, the same on all ranks, where a rank fails, calls with other arguments, or does not come; it names the rank and what
        is wrong. Where a rank fails later on, within an exchange, the others hear of it when the process group gives that up, or at
        their next call.
        """
        call, of, units, error = None, None, [], None
        try:
            call = self._checked(q, k, v, spec_of(pattern, params), length, _scale(scale))
            of = attention_of(q.get_device(), call.spec, call.q_heads, call.kv_heads, call.head_dim, q.dtype)
            key = (of, call)
            if key not in self._known_units:
                self._known_units[key] = self._units(of, call, q)
            units = self._known_units[key]
        except Exception as e:  # any failure of one rank is told to all of them
            error = e
        self.control.agree(_meaning(call, q, self.align), error)
        assert call is not None and of is not None
        try:
            return _Run(self, of, call, units, q, k, v).run(return_lse)
        except Exception as e:  # out of memory, or a collective that another rank did not join
            raise self.control.failed(e) from e

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
        _sequences.append((self, length))
        try:
            yield
        finally:
            _sequences.pop()

    def prefill(self, model: Any, input_ids: torch.Tensor, **rest: Any) -> torch.Tensor:
        """The logits of the last token, [batch, 1, vocabulary], on all ranks, of a model of transformers that minfc is installed in. input_ids
        [batch, tokens] are the same on all ranks; each computes its own rows. A collective call; rest goes to the model."""
        if isinstance(model, torch._dynamo.OptimizedModule):
            raise ValueError("the model is one of torch.compile, which cannot trace exchanges between ranks: call prefill with the model itself")
        length = input_ids.shape[1]
        chunks = self._chunks(length)
        idle = [r for r in range(self.world) if not chunks.count(r)]
        if idle:
            raise ValueError(f"{length} tokens are too few for {self.world} ranks: rank {idle[0]} has none")
        own, positions = self.split(input_ids, 1), self.positions(length).to(input_ids.device)
        with self.sequence(length):
            logits = model(own, position_ids=positions.expand(own.shape[0], -1), logits_to_keep=1, **rest).logits.contiguous()
        last = int(chunks.owners()[-1])
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
        return _Call(spec, length, scale, sizes.batch, sizes.q_heads, sizes.kv_heads, sizes.head_dim)

    def _units(self, of: Attention, call: _Call, q: torch.Tensor) -> list[Unit]:
        """What is computed one after the other: the heads of all fixed patterns in one go, and of each other pattern as many units as there are
        ranks. Then each rank chooses lists of heads for one of them, all heads at a time, and pages of the next unit travel while one is
        computed."""
        one, kv = (q.new_empty(call.batch, n, 1, call.head_dim) for n in (call.q_heads, call.kv_heads))
        parts = self._piece(of, None, Tensors(one, kv, kv, one, None), call.length - 1, call.length, 0, call.scale).parts
        for part in parts:
            if part.get("why"):
                raise ValueError(
                    f"pattern {part['pattern']} cannot run over ranks that hold a part of the sequence each: {part['why']}; "
                    "tensor parallelism can run it"
                )
        fixed = sorted(h for part in parts if part["lists"] == "none" for h in part["heads"])
        units = [Unit(tuple(fixed), (0, call.kv_heads), "none", 0, 0)] if fixed else []
        group, cuts = call.q_heads // call.kv_heads, min(self.world, call.kv_heads)
        for part, cut in itertools.product((p for p in parts if p["lists"] != "none"), range(cuts)):
            of_kv = (call.kv_heads * cut // cuts, call.kv_heads * (cut + 1) // cuts)
            heads = tuple(h for h in part["heads"] if of_kv[0] <= h // group < of_kv[1])
            if heads:
                units.append(Unit(heads, of_kv, part["lists"], part.get("probe_rows", 0), cut))
        return units

    def _piece(self, of: Any, heads: Any, at: Tensors, q_offset: int, keys: int, reach: int, scale: float) -> Piece:
        shapes = tuple((x.shape, x.stride()) for x in at if x is not None)
        key = (of, heads, shapes, q_offset, keys, reach, scale)
        found = self._pieces.get(key)
        if found is None:
            found = self._pieces[key] = Piece(of, heads, at, q_offset, keys, reach, scale)
            while len(self._pieces) > MOST_PIECES:
                self._pieces.pop(next(iter(self._pieces)))
        return found

    def _pages_for(self, call: _Call, like: torch.Tensor) -> Pages:
        key = (call.batch, call.kv_heads, call.head_dim, call.length, like.dtype, like.device)
        if self._pages is None or self._pages[0] != key:
            self._pages = None  # gives the memory back first
            self._pages = (key, Pages(call.batch, call.kv_heads, call.head_dim, self._chunks(call.length), like))
        return self._pages[1]

    def _streams(self, device: torch.device) -> tuple[Any, Any]:
        """Two streams of a GPU beside the current one: of transfers, which goes first where there is room since what comes over it is waited
        for, and a second one of attention. None and None of a CPU."""
        if device.type != "cuda":
            return None, None
        if device not in self._side:
            self._side[device] = torch.cuda.Stream(device, priority=-1), torch.cuda.Stream(device)
        return self._side[device]


def _meaning(call: _Call | None, q: torch.Tensor, align: int) -> dict[str, Any]:
    """What has to be the same on all ranks."""
    if call is None:
        return {}
    return {
        "length": call.length,
        "align": align,
        "batch": call.batch,
        "the number of heads": [call.q_heads, call.kv_heads],
        "head_dim": call.head_dim,
        "dtype": _check.word(q.dtype),
        "scale": call.scale,
        "the pattern": hashlib.sha256(call.spec.encode()).hexdigest()[:16],
    }


class _Ready(NamedTuple):
    """A unit, and its calls over the chunks of this rank: each with its tensors, its lists and its chunk."""

    unit: Unit
    calls: list[tuple[Piece, Tensors, torch.Tensor | None, Chunk]]


class _Run:
    """One call of attention on one rank."""

    def __init__(
        self, of: ContextParallel, attention: Attention, call: _Call, units: list[Unit], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ):
        self.of, self.attention, self.call, self.units, self.q = of, attention, call, units, q
        self.chunks = of._chunks(call.length)
        self.mine = self.chunks.of(of.rank)
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
        self.side, self.other = of._streams(q.device)
        if self.side is not None:
            self.side.wait_stream(torch.cuda.current_stream(q.device))

    def run(self, return_lse: bool) -> Any:
        fixed = [u for u in self.units if u.lists == "none"]
        chosen = [u for u in self.units if u.lists != "none"]
        with self._beside():
            with self.of.timed("lists of heads"):
                self._choose_for_heads([u for u in chosen if u.lists == "heads"])
            with self.of.timed("lists of rows"):
                ready = [self._ready(u) for u in chosen]
            with self.of.timed("wants"):
                known = [self._ready(u) for u in fixed]
                at_once = self._known("fixed", lambda: self._all_wants(known))
                traffic = self._travels(self._all_wants(ready))
            # So far there are many short kernels, each of which would wait long for room beside attention.
            self._join()
            first = self._send(known, at_once)
        self._attend(first)  # while the host waits for the numbers of pages, and sends them on their way
        with self._beside():
            second = self._send(ready, traffic)
        self._attend(second)
        self._join()
        return (self.o, self.lse) if return_lse else self.o

    # Lists of heads: chosen once

    def _choose_for_heads(self, units: list[Unit]) -> None:
        if not units:
            return
        n = self.chunks.n

        def keys() -> torch.Tensor:
            wants = self.pages.nothing()
            for u in units:
                if u.owner == self.of.rank:
                    wants[0, :, u.kv[0] : u.kv[1]] = True
            return (wants & ~self.have).unsqueeze(0)

        self._transfer(self._known("keys", keys))
        most = min(n, max(u.probe_rows for u in units))
        last = last_rows(self.q, most, self.chunks, self.of.rank, self.of.group)
        for u in units:
            probe = last[:, :, most - min(n, u.probe_rows) :]
            tensors = self._tensors(probe, torch.empty_like(probe), None)
            piece = self._piece(u, tensors, n - probe.shape[2])
            if u.owner == self.of.rank:
                self.lists[u] = self._chosen(piece, tensors)
            else:
                self.lists[u] = self._memory(piece.kept)
                self.of.moved += piece.kept
        for u in units:  # when all of them are chosen: a broadcast waits for the rank that chooses
            dist.broadcast(self.lists[u], global_rank(u.owner, self.of.group), group=self.of.group)

    def _chosen(self, piece: Piece, at: Tensors, pooled: torch.Tensor | None = None) -> torch.Tensor:
        """Chooses, and gives what is kept of the workspace."""
        workspace = self._memory(piece.workspace)
        if pooled is not None:
            _pooled_of(piece, workspace).copy_(pooled.view(-1))
        piece.run(CHOOSE, at, workspace)
        return workspace[: piece.kept].clone()

    # Lists of rows: chosen by who has the rows

    def _pool(self, u: Unit) -> torch.Tensor:
        """The pooled keys of the sequence, [heads, pages, D] in float32: each rank pools its chunks, and gets the pooled rows of the others."""
        chunks, own = self.chunks, []
        for c in self.mine:
            if c.rows:
                at = Tensors(self.q[:, :, :1], self.pages.k[:, :, c.start : c.end], self.pages.v[:, :, c.start : c.end], self.o[:, :, :1], None)
                piece = self.of._piece(self.attention, u.heads, at, 0, c.rows, 0, self.call.scale)
                workspace = self._memory(piece.workspace)
                piece.run(POOL, at, workspace)
                own.append(_pooled_of(piece, workspace).view(-1, -(-c.rows // PAGE), self.call.head_dim))
        counts = [sum(-(-c.rows // PAGE) for c in chunks.of(r)) for r in range(self.of.world)]
        whole = self._piece(u, self._tensors(self.q[:, :, :1], self.o[:, :, :1], None), 0).buffers()
        heads = next(b["bytes"] for name, b in whole.items() if name.startswith("pooled_k_")) // (4 * self.call.head_dim * chunks.pages)
        padded = torch.zeros(heads, max(counts), self.call.head_dim, dtype=torch.float32, device=self.q.device)
        if own:
            padded[:, : counts[self.of.rank]] = torch.cat(own, 1)
        every = all_gather(padded, self.of.group)
        self.of.moved += every[0].numel() * 4 * (self.of.world - 1)
        out = padded.new_empty(heads, chunks.pages, self.call.head_dim)
        for r in range(self.of.world):
            at_rank = 0
            for c in chunks.of(r):
                first, rows = c.start // PAGE, -(-c.rows // PAGE)
                out[:, first : first + rows] = every[r, :, at_rank : at_rank + rows]
                at_rank += rows
        return out

    # Attention

    def _ready(self, u: Unit) -> _Ready:
        """The calls of a unit over this rank's chunks, with their lists."""
        pooled = self._pool(u) if u.lists == "rows" else None
        out, at = [], 0
        for c in self.mine:
            tensors = self._tensors(self.q[:, :, at : at + c.rows], self.o[:, :, at : at + c.rows], self.lse[:, :, at : at + c.rows])
            at += c.rows
            if not c.rows:
                continue
            piece = self._piece(u, tensors, c.start)
            lists = self.lists.get(u)
            if pooled is not None:
                lists = self._chosen(piece, tensors, pooled)
            elif lists is None:
                lists = self._memory(piece.workspace)
            out.append((piece, tensors, lists, c))
        return _Ready(u, out)

    def _send(self, ready: list[_Ready], traffic: Traffic) -> list[tuple[_Ready, Any]]:
        """Enqueues the transfers of what units read, in the order in which attention needs it; gives with each unit the event of its arrival."""
        return list(zip(ready, self._transfer(traffic)))

    def _known(self, what: str, wants: Callable[[], torch.Tensor]) -> Traffic:
        """Traffic that is the same in every call of a spec: it is worked out once, and waits for nothing then."""
        key = (what, self.call)
        if key not in self.pages.known:
            self.pages.known[key] = self._travels(wants()), self.have
        traffic, self.have = self.pages.known[key]
        return traffic

    def _travels(self, wants: torch.Tensor) -> Traffic:
        """The traffic of wants, bool [turns, 2, B, kv heads, pages], after which this rank has these pages."""
        self.have = self.have | wants.any(0)
        return Traffic(self.pages, wants, self.of.group)

    def _all_wants(self, ready: list[_Ready]) -> torch.Tensor:
        """The pages that each unit reads and this rank does not have when its turn comes."""
        have, out = self.have, [self.pages.nothing()] * (not ready)
        for r in ready:
            want = self._reads(r) & ~have
            have = have | want
            out.append(want)
        return torch.stack(out)

    def _reads(self, ready: _Ready) -> torch.Tensor:
        """The pages that a unit reads."""
        want, (first, end) = self.pages.nothing(), ready.unit.kv
        if ready.calls:
            want[:, :, first:end] = read_by(ready.calls, self.chunks, ready.unit.kv, self.call.q_heads // self.call.kv_heads)
        return want

    def _transfer(self, traffic: Traffic) -> list[Any]:
        """Enqueues all turns, and gives the event at the end of each."""
        arrived = []
        for turn in range(traffic.turns):
            with self.of.timed("transfer"):
                traffic.run(turn)
            arrived.append(torch.cuda.current_stream(self.q.device).record_event() if self.side is not None else None)
        self.of.moved += traffic.bytes()
        return arrived

    def _attend(self, ready: list[tuple[_Ready, Any]]) -> None:
        """Attention of units. On GPUs in turns on two streams: the blocks of a unit begin where the last blocks of the one before leave room."""
        main = None if self.side is None else torch.cuda.current_stream(self.q.device)
        for turn, (unit, arrived) in enumerate(ready):
            with self._turn(turn, main, arrived), self.of.timed("attention"):
                stages = GATHER | ATTEND
                if unit.unit.lists == "none":
                    stages |= CHOOSE  # it writes down which heads take part, if some do not
                for piece, tensors, lists, _ in unit.calls:
                    piece.run(stages, tensors, lists)
        if main is not None:
            main.wait_stream(self.other)

    @contextmanager
    def _turn(self, turn: int, main: Any, arrived: Any) -> Iterator[None]:
        """The stream of a unit, once its pages have arrived."""
        if main is None:
            yield
            return
        stream = self.other if turn % 2 else main
        if turn == 1:
            stream.wait_event(self.began)
        elif turn == 0:
            self.began = main.record_event()
        with torch.cuda.stream(stream):
            with self.of.timed("wait"):
                stream.wait_event(arrived)
            yield

    def _join(self) -> None:
        """The current stream waits for what was enqueued beside it."""
        if self.side is not None:
            torch.cuda.current_stream(self.q.device).wait_stream(self.side)

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """On GPUs, a stream for what comes before attention and for transfers, beside the attention that runs on the current stream. What is
        allocated there is used on the current stream, too: the next call of attention makes this stream wait for that one first."""
        if self.side is None:
            yield
            return
        with torch.cuda.stream(self.side):
            yield

    # Small things

    def _tensors(self, q: torch.Tensor, o: torch.Tensor, lse: torch.Tensor | None) -> Tensors:
        return Tensors(q, self.pages.k, self.pages.v, o, lse)

    def _piece(self, u: Unit, at: Tensors, q_offset: int) -> Piece:
        n = self.chunks.n
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
