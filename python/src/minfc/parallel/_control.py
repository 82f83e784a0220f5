"""What ranks tell each other before they exchange tensors: that they are all there, and that they mean the same call."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import torch.distributed as dist


class Control:
    """Short messages through the store of the process group, which also works where a rank is stuck in a collective of the GPUs.

    Every rank of the group must call agree in the same order. Errors are the same on all ranks, and name the rank at fault.
    """

    def __init__(self, group: Any, timeout: float):
        self.group, self.timeout = group, timeout
        self.rank, self.world = dist.get_rank(group), dist.get_world_size(group)
        ranks = dist.get_process_group_ranks(group or dist.group.WORLD)
        self.store = dist.PrefixStore("minfc/" + "-".join(map(str, ranks)), dist.distributed_c10d._get_default_store())
        self.turn = 0

    def agree(self, meaning: dict[str, Any], error: BaseException | None = None) -> None:
        """Waits for all ranks. Raises RuntimeError where one of them failed, did not answer, or means something else; error is this rank's own
        failure, which all ranks raise."""
        said = {"error": f"{type(error).__name__}: {error}" if error is not None else None, "means": meaning}
        answers = self._exchange(json.dumps(said))
        for rank, text in enumerate(answers):
            failure = json.loads(text)["error"]
            if failure is not None:
                raise RuntimeError(f"rank {rank} of {self.world} failed: {failure}") from error
        means = [json.loads(text)["means"] for text in answers]
        for rank, other in enumerate(means):
            for name, value in means[0].items():
                if other.get(name) != value:
                    raise RuntimeError(
                        f"the ranks call with different arguments: {name} is {value} on rank 0 and {other.get(name)} on rank {rank}; "
                        "all ranks of the group have to make the same calls in the same order"
                    )

    def _exchange(self, text: str) -> list[str]:
        turn, self.turn = self.turn, self.turn + 1
        self.store.set(f"{turn}/{self.rank}", text)
        keys = [f"{turn}/{rank}" for rank in range(self.world)]
        try:
            self.store.wait(keys, timedelta(seconds=self.timeout))
        except (RuntimeError, dist.DistError) as e:
            missing = [str(rank) for rank, key in enumerate(keys) if not self.store.check([key])]
            raise RuntimeError(
                f"rank {', '.join(missing)} of {self.world} did not come to the call within {self.timeout:g} s (timeout)"
            ) from e
        answers = [self.store.get(key).decode() for key in keys]
        if turn > 1:  # everybody who is here has read the turn before
            self.store.delete_key(f"{turn - 2}/{self.rank}")
        return answers
