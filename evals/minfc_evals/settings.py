"""What a run measures, at full size and at toy size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .tasks import TASKS


@dataclass(frozen=True)
class Settings:
    """lengths are tokens of a prompt with its answer; a score in scores has so many cases a task; everything else follows from the seed."""

    model: str
    lengths: tuple[int, ...]
    scores: dict[str, int]  # of score.SCORES: cases a task
    plans: tuple[str, ...]  # names of plans.PLANS
    tasks: tuple[str, ...] = tuple(TASKS)
    text_bytes: int = 1_000_000  # of held-out text, at least
    depths: int = 11  # of the retrieval map
    map_cases: int = 10  # a depth
    only: tuple[str, ...] = ("clock", "text", "task", "map")  # what evaluate measures
    samples: int = 2  # prompts that a plan is searched by
    timed: int = 7  # prefills whose median is the time
    seed: int = 1
    toy: bool = False


PLANS = (
    "stock", "dense",
    "search 20%", "search 10%", "search 5%", "search 3%",
    "search 10% without gate", "search 10% without weights", "search 5% without weights", "search 10% twice", "search 10% by tasks",
    "minference 10%", "minference 5%",
    "a_shape 10%", "a_shape 5%", "vertical_slash 10%", "vertical_slash 5%", "block_sparse 10%", "block_sparse 5%", "sink_blocks 10%", "sink_blocks 5%",
    "random 20%", "random 10%", "random 5%",
)  # fmt: skip

_FULL: dict[str, Any] = dict(scores={"strict": 200, "strict free": 20, "decoded": 200}, plans=PLANS)

SETTINGS = {
    "smollm2": Settings("smollm2", (8192, 16384, 32768, 65536), **_FULL),
    "gemma3": Settings("gemma3", (8192, 32768), **_FULL),
    "toy": Settings(
        "toy", (512,), {"strict": 1, "strict free": 1, "decoded": 1},
        ("stock", "dense", "keep all", "search 50% without gate", "random 50%", "random 50% again"),
        tasks=("single", "two turns", "repeat"), text_bytes=3000, depths=2, map_cases=1, samples=1, timed=1, toy=True,
    ),
}  # fmt: skip
