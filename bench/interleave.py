#!/usr/bin/env python3
"""Times and checks compiled artifacts on a GPU beside torch's FlashAttention-2, in one process.

  interleave.py [--json OUT] [--rounds N] CASE...
  CASE = @FILE with a case a line, or
         PATTERN:SEQLEN:HEADS:KVHEADS:HEADDIM:DTYPE:FILE.minf[,FILE.minf...][:name=value,...]

PATTERN is dense, full, sliding or a_shape: what the reference computes. Kernels run in random order each round, because the card
sits at its power limit and a fixed order biases by up to 10%; the figures are medians. Inputs rotate past the L2. Every kernel is
checked first, with poisoned outputs, on random and on structured inputs: rows against float64, O by relative Frobenius error and
worst row, LSE by the largest difference.
"""
import argparse, ctypes, datetime, json, math, random, shlex, statistics, struct, sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

cuda = ctypes.CDLL("libcuda.so.1")
CTYPES = {"ptr": ctypes.c_uint64, "i64": ctypes.c_int64, "i32": ctypes.c_int32, "f32": ctypes.c_float}
TORCH = {"bf16": torch.bfloat16, "f16": torch.float16}


def ok(code, what):
    if code:
        raise RuntimeError(f"{what}: CUDA error {code}")


def read_artifact(path):
    """Returns the manifest and the PTX modules of an artifact (runtime/artifact.go has the format)."""
    data = open(path, "rb").read()
    assert data[:6] == b"MINFC\n", path
    _, manifest, modules = struct.unpack_from("<HII", data, 6)
    lengths = struct.unpack_from(f"<{modules}I", data, 16)
    at = 16 + 4 * modules
    parsed, at = json.loads(data[at : at + manifest]), at + manifest
    texts = []
    for n in lengths:
        texts.append(data[at : at + n])
        at += n
    return parsed, texts


class Kernel:
    """One loaded attention kernel and its launch."""

    def __init__(self, path):
        manifest, modules = read_artifact(path)
        self.meta = manifest["kernels"][0]
        module = ctypes.c_void_p()
        log = ctypes.create_string_buffer(8192)
        keys = (ctypes.c_int * 3)(5, 6, 12)  # error log buffer, its size, verbose
        vals = (ctypes.c_void_p * 3)(ctypes.addressof(log), len(log), 1)
        code = cuda.cuModuleLoadDataEx(ctypes.byref(module), ctypes.create_string_buffer(modules[self.meta["module"]] + b"\0"), 3, keys, vals)
        if code:
            raise RuntimeError(f"{path}: {log.value.decode()}")
        self.fn = ctypes.c_void_p()
        ok(cuda.cuModuleGetFunction(ctypes.byref(self.fn), module, self.meta["entry"].encode()), "cuModuleGetFunction")
        ok(cuda.cuFuncSetAttribute(self.fn, 8, self.meta["shared_bytes"]), "cuFuncSetAttribute")
        self.registers, self.local = (self.attribute(a) for a in (4, 3))

    def attribute(self, which):
        v = ctypes.c_int()
        ok(cuda.cuFuncGetAttribute(ctypes.byref(v), which, self.fn), "cuFuncGetAttribute")
        return v.value

    def launch(self, q, k, v, o, lse, params, q_offset=0):
        """q and o are [B,Hq,Sq,D], k and v [B,Hk,Sk,D], lse [B,Hq,Sq] float32; any strides with a contiguous last dim."""
        b, hq, sq, d = q.shape
        values = {"lse": lse.data_ptr(), "lse_batch": 4 * lse.stride(0), "lse_head": 4 * lse.stride(1), "sq": sq, "sk": k.shape[2],
                  "q_offset": q_offset, "group": hq // k.shape[1], "scale_log2": d**-0.5 * math.log2(math.e)}
        for name, t in (("q", q), ("k", k), ("v", v), ("o", o)):
            values[name] = t.data_ptr()
            for i, dim in enumerate(("batch", "head", "row")):
                values[f"{name}_{dim}"] = 2 * t.stride(i)
        values.update({"p_" + n: x for n, x in params.items()})
        args = [CTYPES[p["type"]](values[p["name"]]) for p in self.meta["params"]]
        ptrs = (ctypes.c_void_p * len(args))(*[ctypes.addressof(a) for a in args])
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        grid = (-(-sq // self.meta["row_tile"]), hq, b)
        ok(cuda.cuLaunchKernel(self.fn, *grid, self.meta["threads"], 1, 1, self.meta["shared_bytes"], stream, ptrs, None), "cuLaunchKernel")


def keeps(pattern, params, q, k):
    """Boolean mask of the pattern for query positions q [n,1] and key positions k [1,m]."""
    causal = k <= q
    if pattern == "full":
        return torch.ones_like(causal)
    if pattern == "dense":
        return causal
    if pattern == "sliding":
        return causal & (q - k < params["window"])
    if pattern == "a_shape":
        return causal & ((k < params["sink"]) | (q - k < params["window"]))
    raise SystemExit(f"no reference for pattern {pattern}")


def useful_pairs(pattern, params, n):
    if pattern == "full":
        return n * n
    if pattern == "dense":
        return n * (n + 1) // 2
    w = min(params["window"], n)
    window = w * (w + 1) // 2 + (n - w) * w
    sink = min(params.get("sink", 0), n - w)  # row i keeps min(sink, i - w + 1) sink keys outside its window
    return window + sink * (sink + 1) // 2 + (n - w - sink) * sink


def reference(pattern, params, q, k, v, rows, group):
    """Float64 attention of the listed rows: O [B,Hq,rows,D] and LSE [B,Hq,rows], natural log."""
    n = k.shape[2]
    keep = keeps(pattern, params, rows[:, None], torch.arange(n, device=q.device)[None, :])
    outs, lses = [], []
    for h in range(q.shape[1]):
        kk, vv = k[:, h // group].double(), v[:, h // group].double()
        s = (q[:, h, rows].double() @ kk.transpose(-1, -2)) * q.shape[3] ** -0.5
        s = s.masked_fill(~keep, -math.inf)
        lse = torch.logsumexp(s, -1)
        outs.append(torch.exp(s - lse[..., None]) @ vv)
        lses.append(lse)
    return torch.stack(outs, 1), torch.stack(lses, 1)


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
    kernel.launch(q, k, v, o, lse, params)
    torch.cuda.synchronize()
    assert not torch.isnan(o).any() and not torch.isnan(lse).any(), "an output was not written or is NaN"
    few = max(8, min(256, 2**27 // n // 8))
    rows = torch.unique(torch.cat([torch.randint(0, n, (few,), device="cuda"), torch.tensor([0, 1, 63, 64, 127, n - 1], device="cuda").clamp(max=n - 1)]))
    ref, ref_lse = reference(pattern, params, q, k, v, rows, heads // kv)
    diff = o[:, :, rows].double() - ref
    return {"frobenius": (diff.norm() / ref.norm()).item(), "worst_row": (diff.norm(dim=-1) / ref.norm(dim=-1)).max().item(),
            "lse": (lse[:, :, rows].double() - ref_lse).abs().max().item()}


def timed(f, reps):
    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    a.record()
    for _ in range(reps):
        f()
    b.record()
    torch.cuda.synchronize()
    return a.elapsed_time(b) / reps


def fa2(q, k, v, causal):
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])


def parse_case(text):
    pattern, n, heads, kv, d, dtype, files, *rest = text.split(":")
    params = {a: int(b) for a, b in (x.split("=") for x in rest[0].split(","))} if rest else {}
    return (pattern, int(n), int(heads), int(kv), int(d), dtype, params), files.split(",")


def measure(text, rounds):
    case, files = parse_case(text)
    pattern, n, heads, kv, d, dtype, params = case
    kernels = {f: Kernel(f) for f in files}
    errors = {f: {kind: check(kern, case, kind) for kind in ("random", "structured")} for f, kern in kernels.items()}
    torch.cuda.empty_cache()
    if rounds == 0:
        return [{"case": text, "kernel": f, "errors": errors[f], "registers": kernels[f].registers, "local_bytes": kernels[f].local} for f in files]
    bytes_one = (heads + 2 * kv) * n * d * 2
    sets = [inputs("random", n, heads, kv, d, dtype, s) for s in range(max(1, min(4, 2**28 // bytes_one)))]
    o, lse = torch.empty_like(sets[0][0]), torch.empty(sets[0][0].shape[:3], device="cuda")
    turn = iter(range(10**9))

    def ours(kern):
        def f():
            q, k, v = sets[next(turn) % len(sets)]
            kern.launch(q, k, v, o, lse, params)
        return f

    runs = {f: ours(kern) for f, kern in kernels.items()}
    if pattern in ("dense", "full"):
        runs["fa2"] = lambda: fa2(*sets[next(turn) % len(sets)], pattern == "dense")
    for f in runs.values():
        timed(f, 2)
    times = {name: [] for name in runs}
    for _ in range(rounds):
        order = list(runs)
        random.shuffle(order)
        for name in order:
            runs[name]()  # lets the clocks settle on this kernel
            times[name].append(timed(runs[name], 3))
    flops = 4 * d * heads * useful_pairs(pattern, params, n)
    out = []
    base = statistics.median(times["fa2"]) if "fa2" in times else None
    for name, ts in times.items():
        ms = statistics.median(ts)
        row = {"case": text, "kernel": name, "ms": ms, "tflops": flops / ms / 1e9, "vs_fa2": base / ms if base else None}
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
        if r.get("vs_fa2"):
            line += f" {r['vs_fa2']:.3f}x FA2"
        for kind, e in r.get("errors", {}).items():
            line += f" | {kind} {e['frobenius']:.1e} {e['worst_row']:.1e} lse {e['lse']:.1e}"
        if "registers" in r:
            line += f" | {r['registers']} regs {r['local_bytes']} local"
        print(line, flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--title", default="")
    p.add_argument("--json")
    p.add_argument("--rounds", type=int, default=9, help="0 checks only")
    p.add_argument("cases", nargs="+")
    a = p.parse_args()
    torch.zeros(1, device="cuda")
    rows = []
    for c in [line for x in a.cases for line in (open(x[1:]).read().split() if x.startswith("@") else [x])]:
        try:
            rows += measure(c, a.rounds)
        except Exception as e:  # one bad case must not cost the others
            print(f"{c}: {e}", file=sys.stderr, flush=True)
            rows.append({"case": c, "kernel": "", "error": str(e)})
            continue
        show([r for r in rows if r["case"] == c])
    if a.json:
        driver = ctypes.c_int()
        ok(cuda.cuDriverGetVersion(ctypes.byref(driver)), "cuDriverGetVersion")
        about = {"title": a.title, "device": torch.cuda.get_device_name(), "cuda": f"{driver.value // 1000}.{driver.value % 1000 // 10}", "torch": torch.__version__,
                 "date": datetime.date.today().isoformat(), "command": shlex.join(["python3", "bench/interleave.py", "--title", a.title, "--rounds", str(a.rounds), *a.cases])}
        json.dump({**about, "rows": rows}, open(a.json, "w"), indent=1)


if __name__ == "__main__":
    main()
