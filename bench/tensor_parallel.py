#!/usr/bin/env python3
"""Tensor parallelism, one process a GPU: does a model say what it says on one GPU, and how much faster is attention on all of them?

    PYTHONPATH=python/src MINFC_LIBRARY=.../libminfc.so torchrun --standalone --nproc-per-node 2 bench/tensor_parallel.py
    torchrun --standalone --nproc-per-node 2 bench/tensor_parallel.py --device cpu          # on the emulator: times mean nothing

A line of JSON each. "logits": a small Llama of random weights, loaded with a tp_plan, beside the same model in one process: the relative norm
of the difference, and whether the same tokens follow. It also runs with one kv head, which all ranks share. "attention": one layer of
Llama-3-8B's shape, 32 query heads on 8 kv heads of 128, the whole call with its index stage; all heads on the first GPU, the others idle,
against every rank its own heads, for which the slowest rank counts. Rounds are in random order, times are medians of events on the device.
Ranks exchange nothing in attention, so the speed-up is the number of ranks where these have equal work: of "dense" and "vertical_slash" they
do, since all heads are alike. Heads of "plan", the mix of examples/hf_prefill.py, cost what they cost, and "ranks_ms" says how they are spread.
"same": heads of a rank are bit for bit the heads of the whole call, without the fallback, which a rank weighs for its own heads.

Exits with 1 where logits, tokens or bits differ.
"""

import os

# NVLink multicast is not wanted: torch and NCCL read these when they are loaded.
os.environ["NCCL_NVLS_ENABLE"] = "0"
os.environ["TORCH_SYMM_MEM_DISABLE_MULTICAST"] = "1"

import argparse
import json
import random
import runpy
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.distributed import DistributedConfig

import minfc

SEED = 3
MODEL = dict(hidden_size=1024, intermediate_size=2048, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=4, head_dim=128, vocab_size=512)
TOY = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, vocab_size=128)
MOST_ERROR = 1e-2  # of logits: the sums over ranks are rounded to float16 once more
SPARSE = [
    {"pattern": "vertical_slash", "params": {"vertical": 100, "slash": 200}},
    {"pattern": "a_shape", "params": {"sink": 16, "window": 100}},
    {"pattern": "block_sparse", "params": {"topk": 3}},
    {"pattern": "dense"},
]


class Ranks:
    """This process among the others."""

    def __init__(self, device):
        self.rank, self.world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.cuda = device == "cuda"
        self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if self.cuda else torch.device("cpu")
        if self.cuda:
            torch.cuda.set_device(self.device)
        dist.init_process_group("nccl" if self.cuda else "gloo", device_id=self.device if self.cuda else None)
        self.wrong = 0

    def gather(self, value):
        """What every rank has, by rank."""
        out = [None] * self.world
        dist.all_gather_object(out, value)
        return out

    def say(self, line):
        """Writes a line of the first rank."""
        if self.rank == 0:
            print(json.dumps(line), flush=True)

    def time(self, run):
        """Milliseconds of a call."""
        if not self.cuda:
            start = time.perf_counter()
            run()
            return (time.perf_counter() - start) * 1e3
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(2_000_000)  # about a millisecond, in which the host enqueues all of the call: its own time is not in the device's
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)


# A model


def check_logits(ranks, args):
    """A model on all ranks beside the same model in this process alone."""
    sizes = TOY if args.toy else MODEL
    plans = {"dense": [{"pattern": "dense"}] * 4, "mixed": SPARSE}
    for kv_heads, names in ((sizes["num_key_value_heads"], ("dense", "mixed")), (1, ("mixed",))):
        config = LlamaConfig(**{**sizes, "num_key_value_heads": kv_heads}, max_position_embeddings=8192, initializer_range=0.1, pad_token_id=0, eos_token_id=None)
        with tempfile.TemporaryDirectory() as own:
            folder = ranks.gather(own)[0]
            if ranks.rank == 0:
                torch.manual_seed(SEED)
                LlamaForCausalLM(config).half().save_pretrained(folder)
            dist.barrier()
            one = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16).to(ranks.device)
            split = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16, distributed_config=DistributedConfig(tp_plan="auto"))
            dist.barrier()  # the folder goes when all have read it
        for name in names:
            layer = {str(h): plans[name][h % 4] for h in range(config.num_attention_heads)}
            compare(ranks, args, name, one, split, {"schema": 1, "layers": [layer] * config.num_hidden_layers})


def compare(ranks, args, name, one, split, plan):
    ids = torch.randint(1, one.config.vocab_size, (1, args.prompt), generator=torch.Generator().manual_seed(SEED)).to(ranks.device)
    said = []
    for model in (one, split):
        minfc.install(model, plan, fallback=False)
        logits = model(ids, logits_to_keep=1).logits.float()
        said.append((logits, model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)[0, -8:].tolist(), minfc.report(model)))
        minfc.uninstall(model)
    (want, tokens, _), (got, follow, report) = said
    error = ((got - want).norm() / want.norm()).item()
    worst = max(ranks.gather(error))
    ok = all(ranks.gather(error < MOST_ERROR and tokens == follow and report.calls("minfc") == 2 * one.config.num_hidden_layers))
    ranks.wrong += not ok
    line = {"name": "logits", "ok": ok, "plan": name, "ranks": ranks.world, "q_heads": one.config.num_attention_heads}
    ranks.say({**line, "kv_heads": one.config.num_key_value_heads, "tokens": args.prompt, "error": worst, "same_tokens": tokens == follow})


# A layer's attention


def subjects(heads):
    """Name, structure of the input, and what each query head runs."""
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "hf_prefill.py"), run_name="example")
    alike = {"dense": {"pattern": "dense"}, "vertical_slash": {"pattern": "vertical_slash", "params": {"vertical": 1000, "slash": 6096}}}
    for name, entry in alike.items():
        yield name, "slash", {str(h): entry for h in range(heads)}
    yield "plan", "mixed", example["real_heads"](heads)


def time_attention(ranks, args, tokens):
    """One layer at a length, on one GPU and on all."""
    for name, kind, layer in subjects(args.heads):
        whole = minfc.Plan({"schema": 1, "heads": args.heads, "layers": [layer]})
        own = whole.shard(ranks.rank, ranks.world)
        q, k, v = minfc.workload(
            kind, q_heads=args.heads, kv_heads=args.kv_heads, head_dim=args.head_dim, seqlen=tokens, device=ranks.device, seed=SEED
        )
        kv = max(args.kv_heads // ranks.world, 1)
        at = ranks.rank * args.kv_heads // ranks.world
        mine = (q[:, own.heads_from : own.heads_from + own.heads], k[:, at : at + kv], v[:, at : at + kv], own.layer(0))
        same = same_bits(ranks, (q, k, v, whole.layer(0)), mine, slice(own.heads_from, own.heads_from + own.heads))
        one, split = rounds(ranks, args.rounds, (q, k, v, whole.layer(0)), mine)
        each = ranks.gather(statistics.median(split))
        slowest = statistics.median(max(times) for times in zip(*ranks.gather(split)))
        alone = ranks.gather(statistics.median(one) if one else None)[0]
        dense = ranks.gather(sum(h.dense for h in minfc.chosen(*mine)[0]))
        ranks.wrong += not same
        ranks.say({
            "name": "attention", "plan": name, "input": kind, "tokens": tokens, "ranks": ranks.world, "q_heads": args.heads, "kv_heads": args.kv_heads,
            "rounds": args.rounds, "one_ms": alone, "split_ms": slowest, "ranks_ms": each, "speedup": alone / slowest, "same": same,
            "fell_back_by_rank": dense, "device": torch.cuda.get_device_name(ranks.device) if ranks.cuda else "the emulator, whose times mean nothing",
        })  # fmt: skip


def same_bits(ranks, whole, mine, heads):
    """Whether heads of every rank are the heads of the whole call. Warms up what is timed, too."""
    want = minfc.attention(*whole, fallback=False)[:, heads]
    same = torch.equal(minfc.attention(*mine, fallback=False), want)
    for call in (whole, mine):
        minfc.attention(*call)
    return all(ranks.gather(same))


def rounds(ranks, n, whole, mine):
    """Milliseconds of the whole call, on the first rank alone, and of each rank's own heads; rounds in one random order on all ranks."""
    order = random.Random(SEED)
    one, split = [], []
    for _ in range(n):
        cases = ["one", "split"]
        order.shuffle(cases)
        for case in cases:
            if ranks.cuda:
                torch.cuda.synchronize()
            dist.barrier()
            if case == "split":
                split.append(ranks.time(lambda: minfc.attention(*mine)))
            elif ranks.rank == 0:
                one.append(ranks.time(lambda: minfc.attention(*whole)))
    return one, split


def tokens_of(text):
    return int(text[:-1]) * 1024 if text[-1:].lower() == "k" else int(text)


def parsed():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: the emulator at toy size")
    p.add_argument("--seqlens", type=lambda t: [tokens_of(x) for x in t.split(",")], metavar="LIST", help="default 32k,128k")
    p.add_argument("--rounds", type=int, default=21)
    args = p.parse_args()
    if "RANK" not in os.environ:
        p.error("run it by torchrun --standalone --nproc-per-node N")
    args.toy = args.device == "cpu"
    args.heads, args.kv_heads, args.head_dim = (8, 4, 16) if args.toy else (32, 8, 128)
    args.prompt = 300 if args.toy else 2048
    args.seqlens = args.seqlens or ([256] if args.toy else [32768, 131072])
    args.rounds = min(args.rounds, 2) if args.toy else args.rounds
    return args


@torch.inference_mode()
def main():
    args = parsed()
    ranks = Ranks(args.device)
    check_logits(ranks, args)
    for tokens in args.seqlens:
        time_attention(ranks, args, tokens)
    wrong = ranks.wrong
    dist.destroy_process_group()
    sys.exit(wrong > 0)


main()
