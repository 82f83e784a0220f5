#!/usr/bin/env python3
"""Context parallelism beside one GPU: time of a layer's attention and of whole prefills, what travels, and whether results are the same.

    torchrun --nproc-per-node 2 bench/context_parallel.py --layers 128k,256k,512k --models 256k --json cp.jsonl
    torchrun --nproc-per-node 2 bench/context_parallel.py --tiny        # gloo and the emulator: times mean nothing

A layer is the plan of examples/hf_prefill.py (20 of 32 heads vertical_slash, 8 block_sparse, 3 a_shape, 1 dense; 8 kv heads, head dim 128,
bfloat16) over generated q, k, v of the kind "mixed"; --pattern takes one pattern for all heads. A model is that file's: Llama-3-8B's
shape with random weights, whose q and k are replaced by generated ones. A round runs one GPU and all of them in random order, the same
on all ranks, which wait for each other before each run; time is that of the slowest rank, host included. Every rank times the one-GPU
run on its own GPU, so all cards are equally warm. "clock_ms" are sums of device time on rank 0. Units take turns on
two streams, so "attention" counts twice what runs side by side, and "wait" also waits that the other stream fills: "hidden", the share of the
transfers' time that no stream waited for, is the least that it can be.
"""

import argparse
import importlib.util
import json
import os
import random
import statistics
import time
from pathlib import Path

os.environ["NCCL_NVLS_ENABLE"] = "0"  # NVLink multicast stays off
os.environ["TORCH_SYMM_MEM_DISABLE_MULTICAST"] = "1"

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

import minfc  # noqa: E402
from minfc.parallel import ContextParallel, current  # noqa: E402


def prefill_example():
    """examples/hf_prefill.py as a module: its plan, its model, and the attention that takes generated q and k."""
    spec = importlib.util.spec_from_file_location("hf_prefill", Path(__file__).parents[1] / "examples" / "hf_prefill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def length_of(text):
    return int(text[:-1]) << {"k": 10, "m": 20}[text[-1]] if text[-1] in "km" else int(text)


class Bench:
    def __init__(self, args):
        self.args = args
        self.cuda = not args.tiny
        if self.cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            self.device = torch.device("cuda", torch.cuda.current_device())
        else:
            torch.set_num_threads(1)
            self.device = torch.device("cpu")
        dist.init_process_group("nccl" if self.cuda else "gloo")
        self.cp = ContextParallel(align=128 if args.tiny else 384)
        self.rank, self.world = self.cp.rank, self.cp.world
        self.random = random.Random(1)

    def say(self, **line):
        if self.rank == 0:
            text = json.dumps({"gpus": self.world, **line})
            print(text, flush=True)
            if self.args.json:
                with open(self.args.json, "a") as f:
                    f.write(text + "\n")

    def seconds(self, run):
        """The time of a run on the slowest rank, and what it gave."""
        if self.cuda:
            torch.cuda.synchronize()
        dist.barrier()
        start = time.perf_counter()
        out = run()
        if self.cuda:
            torch.cuda.synchronize()
        took = torch.tensor([time.perf_counter() - start], device=self.device)
        dist.all_reduce(took, dist.ReduceOp.MAX)
        return took.item(), out

    def race(self, runs, rounds):
        """Medians of the runs by name, after one round that does not count."""
        times = {name: [] for name in runs}
        for n in range(rounds + 1):
            order = list(runs)
            self.random.shuffle(order)
            for name in order:
                took, _ = self.seconds(runs[name])
                if n:
                    times[name].append(took)
        return {name: statistics.median(x) for name, x in times.items()}

    def generated(self, heads, kv_heads, dim, n):
        return minfc.workload(self.args.kind, q_heads=heads, kv_heads=kv_heads, head_dim=dim, seqlen=n, device=self.device, seed=3)

    def exposed(self, run):
        """Milliseconds of transfers and of waiting for them, of lists, and of attention, on this rank."""
        self.cp.clock = []
        run()
        torch.cuda.synchronize()
        total = {}
        for name, start, end in self.cp.clock:
            total[name] = total.get(name, 0.0) + start.elapsed_time(end)
        self.cp.clock = None
        return total

    def layer(self, example, n):
        heads, kv_heads, dim = (4, 2, 64) if self.args.tiny else (32, 8, 128)
        layer = minfc.Plan({"schema": 1, "layers": [example.real_heads(heads)]}).layer(0)
        pattern = self.args.pattern or layer
        q, k, v = self.generated(heads, kv_heads, dim, n)
        own = [self.cp.split(x, 2) for x in (q, k, v)]
        runs = {
            "one": lambda: minfc.attention(q, k, v, pattern),
            "all": lambda: self.cp.attention(*own, pattern, length=n),
        }
        want = self.cp.split(minfc.attention(q, k, v, pattern, fallback=False), 2)
        got = runs["all"]()
        off = torch.tensor([(got.float() - want.float()).abs().max().item(), (got != want).any(-1).float().mean().item()], device=self.device)
        dist.all_reduce(off, dist.ReduceOp.MAX)
        del want, got
        times = self.race(runs, self.args.rounds)
        line = dict(name="layer", pattern=str(self.args.pattern or "plan"), kind=self.args.kind, tokens=n)
        line |= {f"{name}_ms": round(1e3 * t, 3) for name, t in times.items()}
        line |= dict(speedup=round(times["one"] / times["all"], 3), moved_mb=round(self.cp.moved / 1e6, 1))
        line |= dict(max_difference=off[0].item(), rows_that_differ=round(off[1].item(), 6))
        if self.cuda:
            clock = self.exposed(runs["all"])
            line["clock_ms"] = {name: round(t, 3) for name, t in clock.items()}
            if clock.get("transfer"):
                line["hidden"] = round(1 - min(1, clock["wait"] / clock["transfer"]), 3)
        self.say(**line)

    def model(self, example, n):
        """A prefill of the whole model. One GPU runs it too, where it has room."""
        args = argparse.Namespace(tiny=self.args.tiny, layers_only=False, device=str(self.device))
        model = example.make_model(args)
        config = model.config
        heads, kv_heads, dim = config.num_attention_heads, config.num_key_value_heads, model.model.layers[0].self_attn.head_dim
        minfc.install(model, example.plan_of(config), fallback=False)
        model.set_attn_implementation("generated")
        q, k, _ = self.generated(heads, kv_heads, dim, n)
        own = [self.cp.split(x, 2) for x in (q, k)]
        ids = torch.randint(1, config.vocab_size, (1, n), generator=torch.Generator().manual_seed(4)).to(self.device)

        def one():
            example.Generated.q, example.Generated.k = q, k
            return model(ids, use_cache=False, logits_to_keep=1).logits

        def every():
            assert current() is None
            example.Generated.q, example.Generated.k = own
            return self.cp.prefill(model, ids, use_cache=False)

        line = dict(name="model", kind=self.args.kind, tokens=n)
        with torch.inference_mode():
            if n <= self.args.one_gpu_most:
                a, b = one().float(), every().float()
                line |= dict(max_logit=round(a.abs().max().item(), 4), max_difference=round((a - b).abs().max().item(), 5), same_token=bool(a.argmax() == b.argmax()))
                times = self.race({"one": one, "all": every}, self.args.rounds)
            else:
                del q, k
                times = self.race({"all": every}, 1)
        line |= {f"{name}_s": round(t, 3) for name, t in times.items()}
        if "one" in times:
            line["speedup"] = round(times["one"] / times["all"], 3)
        self.say(**line, moved_mb_a_layer=round(self.cp.moved / 1e6, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="", help="lengths of a layer's attention, such as 128k,512k")
    parser.add_argument("--models", default="", help="lengths of whole prefills")
    parser.add_argument("--pattern", help="one pattern for all heads instead of the plan")
    parser.add_argument("--kind", default="mixed", help="kind of generated structure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one-gpu-most", type=length_of, default=256 << 10, help="the longest prefill that one GPU runs, too")
    parser.add_argument("--json", help="a file to which lines are added")
    parser.add_argument("--tiny", action="store_true", help="small, on the emulator, with gloo")
    args = parser.parse_args()
    if args.tiny:
        args.layers, args.models, args.rounds = args.layers or "700", args.models or "300", 1
    example, bench = prefill_example(), Bench(args)
    for n in filter(None, args.layers.split(",")):
        bench.layer(example, length_of(n))
    for n in filter(None, args.models.split(",")):
        bench.model(example, length_of(n))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
