#!/usr/bin/env python3
"""Times and checks compiled artifacts on a GPU beside torch's FlashAttention-2 and cuDNN, in one process.

  interleave.py [--json OUT] [--rounds N] CASE...
  CASE = @FILE with a case a line, or
         PATTERN:SEQLEN:HEADS:KVHEADS:HEADDIM:DTYPE:FILE.minf[,FILE.minf...][:name=value,...]

PATTERN is dense, full, sliding or a_shape: what the reference computes; or vertical_slash or block_sparse over planted lists
(lists.py), whose TFLOP/s are those of the listed tiles, beside cuDNN on dense causal calls of 131072 tokens as a yardstick. Every
round runs the kernels in another order, because the card sits at its power limit and a fixed one biases by up to 10%; the figures
are medians. Inputs rotate past the L2, those of lists are larger than it. Every kernel is checked first, with poisoned outputs, on
random and on structured inputs: rows against float64, O by relative Frobenius error and worst row, LSE by the largest difference.
"""
import argparse, datetime, itertools, json, math, random, shlex, statistics, sys, time

import torch

import lists
from torchside import TORCH, Kernel, cudnn, driver_version, fa2, keeps, reference, timed, useful_pairs

SAMPLE_MS = 20  # a power limit needs that long to show
HEAT_SECONDS = 5
YARD_TOKENS, YARD_HEADS = 131072, 4


def inputs(kind, n, heads, kv, d, dtype, seed):
    g = torch.Generator(device="cuda").manual_seed(seed)
    q, k, v = (torch.randn(1, h, n, d, device="cuda", generator=g) for h in (heads, kv, kv))
    if kind == "structured":  # sink and heavy columns share a direction with all queries; neighbours share a slow drift
        shared = torch.randn(d, device="cuda", generator=g)
        q += 1.5 * shared
        k[:, :, :4] += 3 * shared
        heavy = torch.randint(0, n, (max(1, n // 512),), device="cuda", generator=g)
        k[:, :, heavy] += 2 * shared
        drift = torch.randn(1, 1, n // 256 + 1, d, device="cuda", generator=g).repeat_interleave(256, 2)[:, :, :n]
        q += drift
        k += drift
    return [t.to(TORCH[dtype]) for t in (q, k, v)]


def check(kernel, case, kind):
    pattern, n, heads, kv, d, dtype, params = case
    q, k, v = inputs(kind, n, heads, kv, d, dtype, 7)
    o, lse = torch.full_like(q, math.nan), torch.full(q.shape[:3], math.nan, device="cuda")
    planted = lists.plant(pattern, params, k, v, heads) if pattern in lists.PATTERNS else None
    kernel.launch(q, k, v, o, lse, params, lists=planted)
    torch.cuda.synchronize()
    assert not torch.isnan(o).any() and not torch.isnan(lse).any(), "an output was not written or is NaN"
    few = max(8, min(256, 2**27 // n // 8))
    rows = torch.unique(torch.cat([torch.randint(0, n, (few,), device="cuda"), torch.tensor([0, 1, 63, 64, 127, n - 1], device="cuda").clamp(max=n - 1)]))
    keys = torch.arange(n, device="cuda")[None, :]
    keep_of = planted.keeps if planted else lambda head, rows: keeps(pattern, params, rows[:, None], keys)
    ref, ref_lse = reference(keep_of, q, k, v, rows)
    diff = o[:, :, rows].double() - ref
    return {"frobenius": (diff.norm() / ref.norm()).item(), "worst_row": (diff.norm(dim=-1) / ref.norm(dim=-1)).max().item(),
            "lse": (lse[:, :, rows].double() - ref_lse).abs().max().item()}


def heat():
    """Brings the card to its power limit. A cool one runs anything faster, and what needs more power for the same work most."""
    q, k, v = inputs("random", 32768, 16, 16, 128, "bf16", 1)
    end = time.monotonic() + HEAT_SECONDS
    while time.monotonic() < end:
        timed(lambda: cudnn(q, k, v, True), 8)


def parse_case(text):
    pattern, n, heads, kv, d, dtype, files, *rest = text.split(":")
    params = {a: int(b) for a, b in (x.split("=") for x in rest[0].split(","))} if rest else {}
    return (pattern, int(n), int(heads), int(kv), int(d), dtype, params), files.split(",")


def orders(names):
    """Every order of the kernels as often as every other, in random turn: what a kernel follows changes its clocks."""
    while True:
        turns = list(itertools.permutations(names))
        random.shuffle(turns)
        yield from turns


def measure(text, rounds):
    case, files = parse_case(text)
    pattern, n, heads, kv, d, dtype, params = case
    kernels = {f: Kernel(f) for f in files}
    errors = {f: {kind: check(kern, case, kind) for kind in ("random", "structured")} for f, kern in kernels.items()}
    torch.cuda.empty_cache()
    if rounds == 0:
        return [{"case": text, "kernel": f, "errors": errors[f], "registers": kernels[f].registers, "local_bytes": kernels[f].local} for f in files]
    bytes_one = (heads + 2 * kv) * n * d * 2
    planted = pattern in lists.PATTERNS
    sets = [inputs("random", n, heads, kv, d, dtype, s) for s in range(1 if planted else max(1, min(4, 2**28 // bytes_one)))]
    own = lists.plant(pattern, params, *sets[0][1:], heads) if planted else None
    o, lse = torch.empty_like(sets[0][0]), torch.empty(sets[0][0].shape[:3], device="cuda")
    turn = iter(range(10**9))

    def ours(kern):
        def f():
            q, k, v = sets[next(turn) % len(sets)]
            kern.launch(q, k, v, o, lse, params, lists=own)
        return f

    runs = {f: ours(kern) for f, kern in kernels.items()}
    if planted:
        yard = inputs("random", YARD_TOKENS, YARD_HEADS, YARD_HEADS, 128, "bf16", 1)
        runs["cudnn"] = lambda: cudnn(*yard, True)
    elif pattern in ("dense", "full"):
        for name, peer in (("fa2", fa2), ("cudnn", cudnn)):
            if name == "cudnn" and d > 128:  # torch refuses those
                try:
                    peer(*sets[0], pattern == "dense")
                except RuntimeError:
                    continue
            runs[name] = lambda peer=peer: peer(*sets[next(turn) % len(sets)], pattern == "dense")
    reps = {name: min(24, math.ceil(SAMPLE_MS / timed(f, 2))) for name, f in runs.items()}
    times = {name: [] for name in runs}
    for order in itertools.islice(orders(list(runs)), rounds):
        for name in order:
            runs[name]()  # lets the clocks settle on this kernel
            times[name].append(timed(runs[name], reps[name]))
    peers = 4 * 128 * YARD_HEADS * useful_pairs("dense", {}, YARD_TOKENS) if planted else 4 * d * heads * useful_pairs(pattern, params, n)
    out = []
    base = {} if planted else {"vs_" + peer: statistics.median(times[peer]) for peer in ("fa2", "cudnn") if peer in times}
    for name, ts in times.items():
        ms = statistics.median(ts)
        flops = 4 * d * lists.BLOCK**2 * own.tiles if planted and name in kernels else peers
        row = {"case": text, "kernel": name, "ms": ms, "tflops": flops / ms / 1e9, **{name: x / ms for name, x in base.items()}}
        if name in kernels:
            row.update(errors=errors[name], registers=kernels[name].registers, local_bytes=kernels[name].local)
        out.append(row)
    return out


def show(rows):
    for r in rows:
        short = ":".join(x for i, x in enumerate(r["case"].split(":")) if i != 6)
        line = f"{short:42s} {r['kernel'].split('/')[-1]:34s}"
        if "ms" in r:
            line += f" {r['ms']:9.3f} ms {r['tflops']:7.1f} TFLOP/s"
        for key, peer in (("vs_fa2", "FA2"), ("vs_cudnn", "cuDNN")):
            if r.get(key):
                line += f" {r[key]:.3f}x {peer}"
        for kind, e in r.get("errors", {}).items():
            line += f" | {kind} {e['frobenius']:.1e} {e['worst_row']:.1e} lse {e['lse']:.1e}"
        if "registers" in r:
            line += f" | {r['registers']} regs {r['local_bytes']} local"
        print(line, flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--title", default="")
    p.add_argument("--json")
    p.add_argument("--rounds", type=int, default=12, help="0 checks only; six are every order of three kernels")
    p.add_argument("cases", nargs="+")
    a = p.parse_args()
    torch.zeros(1, device="cuda")
    rows = []
    if a.rounds:
        heat()
    for c in [line for x in a.cases for line in (open(x[1:]).read().split() if x.startswith("@") else [x])]:
        try:
            rows += measure(c, a.rounds)
        except Exception as e:  # one bad case must not cost the others
            print(f"{c}: {e}", file=sys.stderr, flush=True)
            rows.append({"case": c, "kernel": "", "error": str(e)})
            continue
        show([r for r in rows if r["case"] == c])
    if a.json:
        about = {"title": a.title, "device": torch.cuda.get_device_name(), "cuda": driver_version(), "torch": torch.__version__,
                 "date": datetime.date.today().isoformat(), "command": shlex.join(["python3", "bench/interleave.py", "--title", a.title, "--rounds", str(a.rounds), *a.cases])}
        json.dump({**about, "rows": rows}, open(a.json, "w"), indent=1)


if __name__ == "__main__":
    main()
