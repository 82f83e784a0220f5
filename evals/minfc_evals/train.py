"""Stage train: a model of short context is brought to a long one by a larger RoPE base and a few minutes of training, first at a medium length and
then at the long one, on text mixed with the tasks (mixture.py). Attention is dense: nothing is trained for sparsity.

A larger base slows the rotation of the high dimensions so that far positions look like ones that were seen (arXiv 2309.16039, section 2)."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

from . import mixture, text
from .settings import Settings
from .tokens import Tokens
from .work import Work

ROWS = 2048  # of logits at a time
ANSWERS = 1.0  # what the mean loss of the answers counts beside the mean loss of all tokens
TOGETHER = 32768  # tokens that go through the model at a time: activations of more are large, and less leaves a GPU waiting for the host


@dataclass(frozen=True)
class Schedule:
    """phases: the part of the time that each takes, the tokens of its sequences, and how many of them a step has."""

    base: float
    rate: float
    phases: tuple[tuple[float, int, int], ...]
    warm_up: int = 10  # steps


SCHEDULES = {
    "smollm2": Schedule(1.6e6, 4e-4, ((0.45, 8192, 8), (0.55, 32768, 2))),
    "toy": Schedule(1.6e6, 1e-5, ((0.5, 512, 1), (0.5, 768, 1))),
}


class Sequences(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Sequence number i of a phase, token ids [length + 1] and which of them are answers, made from the seed and i alone."""

    def __init__(self, tokens: Tokens, books: text.Books, length: int, seed: int):
        self.tokens, self.books, self.length, self.seed = tokens, books, length, seed

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        ids, asked = mixture.sequence(self.tokens, self.books, self.length, self.seed * 10_000_000 + i)
        return torch.tensor(ids), torch.tensor(asked)


def train(work: Work, settings: Settings, device: str, minutes: float) -> Path | None:
    """Stage train: FOLDER/model. Models without a schedule have a long context as they are, and are left so.

    The sequences and their order follow from the seed; how many there are in the time depends on the machine, so the manifest says it."""
    schedule = SCHEDULES.get(settings.model)
    if schedule is None:
        work.say(f"train: {settings.model} is evaluated as it is, without training")
        return None
    inputs = {"model": work.identity("model"), "minutes": minutes, "seed": settings.seed, "schedule": repr(schedule)}

    def make(folder: Path) -> dict[str, Any]:
        torch.manual_seed(settings.seed)
        model = stretched(_float32(work.root / "model" / "model", device), schedule.base, max(n for _, n, _ in schedule.phases))
        tokens = Tokens.read(work.root / "model" / "tokenizer.json")
        books = text.read(work.root / "model", "train")
        steps = _steps(model, tokens, books, schedule, 0.0 if settings.toy else minutes * 60, settings.seed, work)
        model.to(torch.bfloat16).save_pretrained(folder / "model")
        return {"steps": steps, "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"}

    return work.stage("train", inputs, make)


def _float32(folder: Path, device: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").to(device)


def stretched(model: Any, base: float, length: int) -> Any:
    """The model with another RoPE base and another longest length."""
    model.config.rope_parameters = {**model.config.rope_parameters, "rope_theta": base}
    model.config.max_position_embeddings = max(length, model.config.max_position_embeddings)
    model.model.rotary_emb = type(model.model.rotary_emb)(config=model.config).to(model.device)
    return model


def _steps(model: Any, tokens: Tokens, books: text.Books, schedule: Schedule, seconds: float, seed: int, work: Work) -> list[dict[str, float]]:
    """Trains, one step of each phase at least, and gives a record of each step."""
    optimizer = _optimizer(model, schedule.rate)
    log: list[dict[str, float]] = []
    begin, share = time.monotonic(), 0.0
    model.train()
    for part, length, batch in schedule.phases:
        share += part
        for i, (ids, asked) in enumerate(_batches(tokens, books, length, batch, seed)):
            spent = time.monotonic() - begin
            if i and spent >= share * seconds:
                break
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate * _pace(len(log), spent / max(seconds, spent, 1e-9), schedule.warm_up)
            loss, answers = step(model, optimizer, ids, asked)
            log.append({"tokens": length * batch, "seconds": round(spent, 1), "loss": round(loss, 4), "answers": round(answers, 4)})
            if len(log) % 10 == 1:
                work.say(f"step {len(log)}: {batch} sequences of {length} tokens, loss {loss:.3f}, of answers {answers:.3f}, {spent:.0f} s")
    model.eval()
    return log


def _batches(tokens: Tokens, books: text.Books, length: int, batch: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches without end, made by other processes where there are cores for that."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    workers = min(8, (os.cpu_count() or 1) - 2)
    return iter(DataLoader(Sequences(tokens, books, length, seed), batch_size=batch, num_workers=max(0, workers)))


def _optimizer(model: Any, rate: float) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=model.device.type == "cuda")


def _pace(steps: int, done: float, warm_up: int) -> float:
    """What the rate is multiplied by: up in the first steps, then down a cosine to a twentieth."""
    return min(1.0, (steps + 1) / warm_up) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


@torch.enable_grad()
def step(model: Any, optimizer: torch.optim.Optimizer, ids: torch.Tensor, asked: torch.Tensor) -> tuple[float, float]:
    """One step on token ids [batch, length + 1]: the mean loss of all tokens and of the answers."""
    ids, asked = ids.to(model.device), asked.to(model.device)
    answers = max(1, int(asked[:, 1:].sum()))
    weights = 1 / ids[:, 1:].numel() + asked[:, 1:].float() * ANSWERS / answers
    sums = [0.0, 0.0]
    together = max(1, TOGETHER // (ids.shape[1] - 1))
    for some, weight, of in zip(ids.split(together), weights.split(together), asked[:, 1:].split(together)):
        with torch.autocast(model.device.type, torch.bfloat16):
            state, target = model.model(some[:, :-1], use_cache=False).last_hidden_state.flatten(0, 1), some[:, 1:].flatten()
            losses = torch.cat([checkpoint(_losses, model.lm_head, s, t, use_reentrant=False) for s, t in zip(state.split(ROWS), target.split(ROWS))])
        (losses * weight.flatten()).sum().backward()
        sums[0] += losses.detach().sum().item()
        sums[1] += losses.detach()[of.flatten()].sum().item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return sums[0] / ids[:, 1:].numel(), sums[1] / answers


def _losses(head: Any, state: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(head(state).float(), target, reduction="none")
