"""What ranks tell each other before they exchange tensors: that they are all there, and that they mean the same call."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import torch.distributed as dist


_made: Counter[tuple[int, ...]] = Counter()  # how many there are of a group: all ranks make them in one order


class Control:
    """Short messages through the store of the process group, which also works where a rank is stuck in a collective of the GPUs.

    Every rank of the group must make it, and call agree, in the same order. Errors are the same on all ranks, and name the rank at fault.
    """

    def __init__(self, group: Any, timeout: float):
        self.group, self.timeout = group, timeout
        self.rank, self.world = dist.get_rank(group), dist.get_world_size(group)
        ranks = tuple(dist.get_process_group_ranks(group or dist.group.WORLD))
        _made[ranks] += 1
        name = f"minfc/{'-'.join(map(str, ranks))}/{_made[ranks]}"
        self.store = dist.PrefixStore(name, dist.distributed_c10d._get_default_store())
        self.turn = 0

    def agree(self, meaning: dict[str, Any], error: BaseException | None = None) -> None:
        """Waits for all ranks. Raises RuntimeError where one of them failed, now or in an earlier call, did not answer, or means something else;
        error is this rank's own failure, which all ranks raise."""
        said = {"error": f"{type(error).__name__}: {error}" if error is not None else None, "means": meaning}
        answers = [json.loads(text) for text in self._exchange(json.dumps(said))]
        for rank, answer in enumerate(answers):
            if answer["error"] is not None:
                raise self._failure(rank, answer["error"]) from error
        self._raise_failed()
        means = [answer["means"] for answer in answers]
        for rank, other in enumerate(means):
            for name, value in means[0].items():
                if other.get(name) != value:
                    raise RuntimeError(
                        f"the ranks call with different arguments: {name} is {value} on rank 0 and {other.get(name)} on rank {rank}; "
                        "all ranks of the group have to make the same calls in the same order"
                    )

    def failed(self, error: Exception) -> Exception:
        """The error of a call that failed after all ranks had agreed: what another rank said of its failure, which this rank's comes from, or
        error itself, which the others are told then. No later call is made: ranks may be in the midst of different exchanges."""
        try:
            self._raise_failed()
        except RuntimeError as of_another:
            return of_another
        self.store.set(f"failed/{self.rank}", f"{type(error).__name__}: {error}")
        self.store.set("failed", "1")  # one question tells that none has
        return error

    def _raise_failed(self) -> None:
        """Raises RuntimeError if a rank has failed within an exchange."""
        for rank in range(self.world) if self.store.check(["failed"]) else ():
            if self.store.check([f"failed/{rank}"]):
                raise self._failure(rank, self.store.get(f"failed/{rank}").decode())

    def _failure(self, rank: int, text: str) -> RuntimeError:
        return RuntimeError(f"rank {rank} of {self.world} failed: {text}")

    def _exchange(self, text: str) -> list[str]:
        """What every rank says, by rank."""
        turn, self.turn = self.turn, self.turn + 1
        self.store.set(f"{turn}/{self.rank}", text)
        keys = [f"{turn}/{rank}" for rank in range(self.world)]
        try:
            self.store.wait(keys, timedelta(seconds=self.timeout))
        except (RuntimeError, dist.DistError) as e:
            self._raise_failed()
            missing = [str(rank) for rank, key in enumerate(keys) if not self.store.check([key])]
            raise RuntimeError(
                f"rank {', '.join(missing)} of {self.world} did not come to the call within {self.timeout:g} s (timeout)"
            ) from e
        answers = [self.store.get(key).decode() for key in keys]
        if turn > 1:  # everybody who is here has read the turn before
            self.store.delete_key(f"{turn - 2}/{self.rank}")
        return answers
