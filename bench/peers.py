#!/usr/bin/env python3
"""Measures what torch has on the inputs of minfc bench, beside the kernels of minfc in the same process and rounds.

  peers.py --minfc bin/minfc --json peers.json [dense a_shape sliding full] --seqlen 32k,128k,1m --heads H --kv-heads K ...

FlashAttention-2 and cuDNN through scaled_dot_product_attention for dense and full, FlexAttention with the equivalent block mask for
every pattern, an 8192^3 product for the card's matrix rate. The JSON is that of minfc bench (docs/measuring.md), for its --compare.
"""
import argparse, datetime, json, math, os, random, shlex, statistics, struct, subprocess, sys, tempfile, time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from torchside import TORCH, Kernel, driver_version, fa2, reference, timed, useful_pairs

SAMPLE_MS, SETTLED_MS, MAX_CALLS, MIN_ROUNDS, MAX_ROUNDS = 10, 200, 100, 3, 25  # as bench/timing.go
SAMPLED_ROWS = 64  # as bench/quality.go
BLOCK = 128  # FlexAttention's


def count(text):
    factor = {"k": 1 << 10, "m": 1 << 20}.get(text[-1:].lower(), 1)
    return int(text[:-1] if factor > 1 else text) * factor


def generate(a, n):
    """The tensors of minfc gen, on the device."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors", dir=a.scratch) as f:
        subprocess.run([a.minfc, "gen", "--kind", a.workload, "--seqlen", str(n), "--heads", str(a.heads), "--kv-heads", str(a.kv_heads),
                        "--head-dim", str(a.head_dim), "--dtype", a.dtype, "--seed", str(a.seed), "-o", f.name], check=True, stdout=subprocess.DEVNULL)
        return load_safetensors(f.name)


def load_safetensors(path):
    out = {}
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        for name in ("q", "k", "v"):
            t = header[name]
            start, end = t["data_offsets"]
            f.seek(8 + size + start)
            raw = torch.frombuffer(bytearray(f.read(end - start)), dtype=TORCH[t["dtype"].lower()])
            out[name] = raw.reshape(t["shape"]).cuda()
    return out["q"], out["k"], out["v"]


def rotated(first, n_bytes):
    """Copies of the inputs, so that they rotate past the L2 cache."""
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    free = torch.cuda.mem_get_info()[0]
    more = min(7, 2 * l2 // n_bytes, int(0.5 * free) // n_bytes)
    return [first] + [tuple(t.clone() for t in first) for _ in range(max(0, more))]


def compiled(a, pattern, folder):
    path = os.path.join(folder, pattern + ".minf")
    subprocess.run([a.minfc, "compile", pattern, "--target", a.target, "--head-dim", str(a.head_dim), "--dtype", a.dtype, "-o", path],
                   check=True, stderr=subprocess.DEVNULL)
    return Kernel(path)


def mask_mod(pattern, params):
    """The pattern as FlexAttention wants it."""
    sink, window = params.get("sink", 0), params.get("window", 0)
    return {
        "full": lambda b, h, q, k: q >= 0,
        "dense": lambda b, h, q, k: q >= k,
        "sliding": lambda b, h, q, k: (q >= k) & (q - k < window),
        "a_shape": lambda b, h, q, k: (q >= k) & ((k < sink) | (q - k < window)),
    }[pattern]


def block_mask(pattern, params, n):
    """The exact block mask from block corners: torch's own construction looks at all n^2 pairs."""
    blocks = -(-n // BLOCK)
    at = torch.arange(blocks, device="cuda") * BLOCK
    low = at[:, None] - at[None, :] - (BLOCK - 1)  # smallest and largest distance of a block
    high = at[:, None] - at[None, :] + (BLOCK - 1)
    some, every = high >= 0, low >= 0
    if pattern == "full":
        some, every = torch.ones_like(some), torch.ones_like(every)
    if pattern == "sliding":
        some, every = some & (low < params["window"]), every & (high < params["window"])
    if pattern == "a_shape":
        sink, window = params["sink"], params["window"]
        some &= (at[None, :] < sink) | (low < window)
        every &= (at[None, :] + BLOCK <= sink) | (high < window)
    if n % BLOCK:
        every[:, -1] = every[-1, :] = False
    partial = some & ~every
    lists = [x for m in (partial, some & every) for x in indices(m)]
    return BlockMask.from_kv_blocks(*lists, BLOCK_SIZE=BLOCK, mask_mod=mask_mod(pattern, params), seq_lengths=(n, n)), int(some.sum())


def indices(mask):
    """Counts [1, 1, rows] and the kept columns of each row first [1, 1, rows, columns], as int32."""
    counts = mask.sum(-1, dtype=torch.int32)
    order = torch.argsort(mask.to(torch.uint8), dim=-1, descending=True, stable=True).to(torch.int32)
    return counts[None, None], order[None, None]


def cudnn(q, k, v, causal):
    with sdpa_kernel([SDPBackend.CUDNN_ATTENTION]):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])


class Contender:
    """One kernel at one length: run(q, k, v) returns O."""

    def __init__(self, name, pattern, params, run, kernel="", tiles=None, compile_s=0.0):
        self.name, self.pattern, self.params, self.run = name, pattern, params, run
        self.kernel, self.tiles, self.compile_s = kernel, tiles, compile_s
        self.ms, self.samples, self.error, self.failure = 0.0, [], None, ""

    def calls(self):
        return max(1, min(MAX_CALLS, math.ceil(SAMPLE_MS / max(self.ms, 1e-6))))


def contenders(a, n, kernels, q):
    out = []
    o, lse = torch.empty_like(q), torch.empty(q.shape[:3], device="cuda")
    for pattern, kernel in kernels.items():
        params = {p: a.set.get(p, v) for p, v in kernel.defaults.items()}

        def ours(q, k, v, kernel=kernel, params=params):
            kernel.launch(q, k, v, o, lse, params)
            return o

        out.append(Contender("minfc " + kernel.meta["target"], pattern, params, ours, kernel.digest))
        if pattern in ("dense", "full"):
            for name, f in (("torch fa2", fa2), ("torch cudnn", cudnn)):
                out.append(Contender(name, pattern, params, lambda q, k, v, f=f, causal=pattern == "dense": f(q, k, v, causal)))
        if a.flex:
            out.append(flex(pattern, params, n, q.shape[1]))
    return out


def flex(pattern, params, n, heads):
    c = Contender("torch flex", pattern, params, None)
    try:
        start = time.time()
        mask, blocks = block_mask(pattern, params, n)
        call = torch.compile(flex_attention, dynamic=False)
        torch.cuda.synchronize()
        c.compile_s, c.tiles = time.time() - start, blocks * heads * (BLOCK // 64) ** 2
        c.run = lambda q, k, v: call(q, k, v, block_mask=mask, enable_gqa=q.shape[1] != k.shape[1])
    except Exception as e:
        c.failure = first_line(e)
    return c


def first_line(e):
    return (str(e).strip().splitlines() or [type(e).__name__])[0][:200]


def warm(c, first, dense_o, rows):
    """First calls: compilation, an estimate of the time, and the error against dense."""
    try:
        start = time.time()
        c.run(*first)
        torch.cuda.synchronize()
        once = time.time() - start
        last = []
        c.ms = timed(lambda: last.append(c.run(*first)), 1)
        if c.name == "torch flex":
            c.compile_s += max(0.0, once - c.ms / 1e3)
        else:
            c.compile_s = once
        got = last[0][:, :, rows].double()
        c.error = ((got - dense_o).norm() / dense_o.norm()).item() if dense_o is not None else None
    except Exception as e:
        c.failure = first_line(e)


def rounds_of(a, list_):
    """Times the contenders in random order each round, as bench/timing.go does."""
    order, turn = random.Random(a.seed), iter(range(10**9))
    total = sum(c.ms * (c.calls() + (c.ms <= SETTLED_MS)) for c in list_)
    n = a.rounds or int(max(MIN_ROUNDS, min(MAX_ROUNDS, 1e3 * a.seconds / total)))
    for _ in range(n):
        for c in order.sample(list_, len(list_)):
            f = lambda: c.run(*a.sets[next(turn) % len(a.sets)])
            if c.ms <= SETTLED_MS:
                f()  # lets the clocks settle on this kernel
            c.samples.append(timed(f, c.calls()))


def recall(pattern, params, q, k, v, rows, group):
    """Share of the dense softmax's mass that the sampled rows keep, in float64."""
    if pattern in ("dense", "full"):
        return None
    kept = reference(pattern, params, q, k, v, rows, group)[1]
    return torch.exp(kept - reference("dense", {}, q, k, v, rows, group)[1]).mean().item()


def measure(a, n, kernels):
    first = generate(a, n)
    q, k, v = first
    a.sets = rotated(first, sum(t.numel() * 2 for t in first))
    list_ = contenders(a, n, kernels, q)
    rows = torch.tensor([(i + 1) * n // min(n, SAMPLED_ROWS) - 1 for i in range(min(n, SAMPLED_ROWS))], device="cuda")
    dense_o = fa2(q, k, v, True)[:, :, rows].double()
    for c in list_:
        print(f"{n}: first calls of {c.name}, {c.pattern}", flush=True)
        if not c.failure:
            warm(c, first, dense_o if c.pattern not in ("dense", "full") else None, rows)
    torch.cuda.empty_cache()
    good = [c for c in list_ if not c.failure]
    print(f"{n}: rounds", flush=True)
    rounds_of(a, good)
    dense = {c.pattern: statistics.median(c.samples) for c in good if c.kernel and c.pattern in ("dense", "full")}
    group = a.heads // a.kv_heads
    recalls = {p: recall(p, {x: a.set.get(x, d) for x, d in kern.defaults.items()}, q, k, v, rows, group) for p, kern in kernels.items()}
    return [row(a, c, n, dense, recalls) for c in list_]


def row(a, c, n, dense, recalls):
    pairs = useful_pairs(c.pattern, c.params, n)
    out = {"implementation": c.name, "pattern": c.pattern, "params": c.params, "seqlen": n, "kernel": c.kernel}
    if c.failure:
        return {**out, "failure": c.failure}
    ms = statistics.median(c.samples)
    low, _, high = statistics.quantiles(c.samples, n=4, method="inclusive") if len(c.samples) > 1 else (ms, ms, ms)
    per_ms = 4 * a.head_dim / ms / 1e9
    tile = c.tiles * 64 * 64 * per_ms if c.tiles else None
    baseline = dense.get("full" if c.pattern == "full" else "dense")
    whole = n * n if c.pattern == "full" else n * (n + 1) // 2
    return {**out, "index_ms": 0, "attention_ms": ms, "total_ms": ms, "low_ms": low, "high_ms": high, "rounds": len(c.samples), "compile_s": c.compile_s,
            "pairs": pairs, "density": pairs / whole, "tiles": c.tiles, "tile_tflops": tile, "useful_tflops": pairs * a.heads * per_ms,
            "matrix_fraction": tile / a.rate if tile else None, "vs_dense": baseline / ms if baseline else None, "index_bytes": 0,
            "recall": recalls[c.pattern], "error": c.error}


def matrix_rate(dtype):
    x, y = (torch.randn(8192, 8192, device="cuda", dtype=TORCH[dtype]) for _ in range(2))
    timed(lambda: x @ y, 5)
    return 2 * 8192**3 / statistics.median(timed(lambda: x @ y, 5) for _ in range(9)) / 1e9


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("patterns", nargs="*", default=["dense", "a_shape"], help="of dense, full, sliding, a_shape")
    p.add_argument("--minfc", required=True, help="the minfc binary")
    p.add_argument("--json", required=True)
    p.add_argument("--seqlen", default="32k", help="lengths, separated by commas")
    p.add_argument("--heads", type=int, default=8)
    p.add_argument("--kv-heads", type=int, default=0)
    p.add_argument("--head-dim", type=int, default=128)
    p.add_argument("--dtype", choices=list(TORCH), default="bf16")
    p.add_argument("--target", default="auto")
    p.add_argument("--workload", default="mixed")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    p.add_argument("--rounds", type=int, default=0)
    p.add_argument("--seconds", type=float, default=15)
    p.add_argument("--scratch", default=None, help="folder for generated inputs")
    p.add_argument("--no-flex", dest="flex", action="store_false")
    a = p.parse_args()
    a.kv_heads = a.kv_heads or a.heads
    a.set = {name: int(v) for name, v in (s.split("=") for s in a.set)}
    return a


def main():
    a = arguments()
    torch.zeros(1, device="cuda")
    a.rate = matrix_rate(a.dtype)
    with tempfile.TemporaryDirectory() as folder:
        kernels = {p: compiled(a, p, folder) for p in dict.fromkeys(["dense"] + a.patterns)}
    rows = []
    for n in map(count, a.seqlen.split(",")):
        torch._dynamo.reset()
        try:
            rows += measure(a, n, kernels)
        except Exception as e:  # one length must not cost the others
            rows.append({"implementation": "torch", "pattern": "", "params": {}, "seqlen": n, "failure": first_line(e)})
            print(f"{n}: {e}", flush=True)
        a.sets = None
        torch.cuda.empty_cache()
        save(a, rows)
    for r in rows:
        print(f"{r['seqlen']:8d} {r['pattern']:9s} {r['implementation']:13s} " + (r.get("failure") or f"{r['total_ms']:10.3f} ms {r['useful_tflops']:6.0f} TFLOP/s"))


def save(a, rows):
    props = torch.cuda.get_device_properties(0)
    report = {
        "schema": 1, "tool": "bench/peers.py", "version": f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}",
        "date": datetime.date.today().isoformat(), "command": shlex.join(["python3", "bench/peers.py", *sys.argv[1:]]),
        "machine": {"name": torch.cuda.get_device_name(), "driver": "cuda", "driver_version": driver_version(),
                    "capability": f"{props.major}.{props.minor}", "multiprocessors": props.multi_processor_count, "emulated": False},
        "call": {"batch": 1, "q_heads": a.heads, "kv_heads": a.kv_heads, "head_dim": a.head_dim, "dtype": a.dtype},
        "workload": {"kind": a.workload, "seed": a.seed}, "rates": [{"name": f"torch 8192x8192x8192 {a.dtype}", "tflops": a.rate}], "rows": rows,
    }
    with open(a.json, "w") as f:
        json.dump(report, f, indent=1)


if __name__ == "__main__":
    main()
