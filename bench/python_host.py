#!/usr/bin/env python3
"""Measures and checks the Python package on a GPU: what a call costs the host, CUDA graphs, memory, threads, torch.compile, errors.

  python_host.py [--only NAME,...] [--seconds S] [--threads N] [--rounds N] [--device cuda]

It prints one JSON object a line, {"name": ...}, with "ok": false where something is wrong, and exits with 1 then. It needs torch and the
package: a wheel, or PYTHONPATH=python/src with MINFC_LIBRARY=.../libminfc.so. --device cpu runs on the emulator, at small sizes, what needs
no GPU: to try the script itself. Times are microseconds of the host for one call: the median over calls that follow another one, as a model's
layers do (us, p99_us), and over the first call after a wait (first_us), which finds the host's caches cold: the longer the wait, the colder.
"""
import argparse, concurrent.futures, ctypes, json, resource, statistics, sys, threading, time, traceback

import torch

import minfc
from minfc import _calls, _library, _op

HEADS, KV_HEADS, DIM = 32, 8, 128


def inputs(rows, heads=HEADS, kv_heads=KV_HEADS, seed=1, layout="bhsd"):
    g = torch.Generator(device=DEVICE).manual_seed(seed)
    shape = lambda n: (1, n, rows, DIM) if layout == "bhsd" else (1, rows, n, DIM)
    return [torch.randn(shape(n), generator=g, device=DEVICE).to(torch.bfloat16) for n in (heads, kv_heads, kv_heads)]


def layer():
    """32 heads as a search would leave them: most of them vertical_slash of four budgets."""
    budgets = [(1000, 6096), (500, 700), (30, 800), (3500, 100)]
    heads = [{"pattern": "vertical_slash", "params": dict(zip(("vertical", "slash"), budgets[i % 4]))} for i in range(20)]
    heads += [{"pattern": "block_sparse", "params": {"topk": 100}}] * 8
    heads += [{"pattern": "a_shape", "params": {"sink": 128, "window": 4096}}] * 3 + [{"pattern": "dense"}]
    return minfc.Plan({"schema": 1, "layers": [dict(zip(map(str, range(32)), heads))]}).layer(0)


def wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def host(f, rows=256, calls=0):
    """Microseconds of the host for a call of f, over inputs of so many rows. A round has a wait and calls after it: few enough for the
    driver's queue of launches, and of long inputs more, whose wait is longer."""
    rounds, calls = (200, calls or 10) if rows < 1024 else (20, calls or 24)
    if DEVICE == "cpu":
        rounds, calls = 2, 2
    first, later = [], []
    for _ in range(rounds):
        wait()
        for n in range(calls):
            begin = time.perf_counter_ns()
            f()
            (later if n else first).append((time.perf_counter_ns() - begin) / 1e3)
    wait()
    later.sort()
    us = {"us": statistics.median(later), "p99_us": later[int(len(later) * 0.99)], "first_us": statistics.median(first)}
    return {name: round(value, 2) for name, value in us.items()}


def bare(q, k, v, pattern, options, params):
    """minfc_run through ctypes with everything made ahead: what the library itself costs."""
    before = set(map(id, _calls.calls.values()))
    o = minfc.attention(q, k, v, pattern, **options, **params)
    call = next((c for c in _calls.calls.values() if id(c) not in before), None) or next(reversed(_calls.calls.values()))
    workspace = torch.empty(max(call.workspace, 1), dtype=torch.uint8, device=DEVICE)
    at = _library.Pointers(q=q.data_ptr(), k=k.data_ptr(), v=v.data_ptr(), o=o.data_ptr())
    at.workspace, at.workspace_bytes = workspace.data_ptr(), call.workspace
    at.lengths_q = options["cu_seqlens"].data_ptr() if "cu_seqlens" in options else 0
    error = _library.Error()
    where, told = ctypes.addressof(at), ctypes.addressof(error)
    stream = torch.cuda.current_stream().cuda_stream
    run, handle = _library.lib.minfc_run, call.handle

    def f(keep=(o, workspace, at, error, call)):
        assert run(handle, where, stream, told) == 0, error.message

    return f


def cases():
    long = 32768 if DEVICE == "cuda" else 256
    yield "dense, 256 tokens", "dense", 256, {}, {}
    yield "vertical_slash, 256 tokens, no fallback", "vertical_slash", 256, {"fallback": False}, {}
    yield f"plan layer, {long} tokens", layer(), long, {}, {}


def host_row(q, k, v, pattern, options, params, op=None):
    """What a call costs: of the library, of minfc.attention, and of the op where there is one."""
    ways = {"attention": lambda: minfc.attention(q, k, v, pattern, **options, **params), **({"op": op} if op else {})}
    rows = q.shape[2] if q.dim() == 4 else q.shape[0]
    row = {"bare": host(bare(q, k, v, pattern, options, params), rows)} if DEVICE == "cuda" else {}
    row.update({way: host(f, rows) for way, f in ways.items()})
    if "bare" in row:
        row["over_bare_us"] = {way: round(row[way]["us"] - row["bare"]["us"], 2) for way in ways}
    return row


def check_host():
    op = torch.ops.minfc.attention.default
    for name, pattern, rows, options, params in cases():
        q, k, v = inputs(rows)
        spec = minfc.spec_of(pattern, params)
        fallback = options.get("fallback", True)
        yield {"case": name, **host_row(q, k, v, pattern, options, params, lambda: op(q, k, v, spec, 0.0, 0, "bhsd", fallback))}
    q, k, v = (t[0] for t in inputs(256, layout="bshd"))
    options = {"fallback": False, "cu_seqlens": torch.tensor([0, 100, 256], dtype=torch.int32, device=DEVICE)}
    yield {"case": "vertical_slash, 256 tokens, lengths in device memory", **host_row(q, k, v, "vertical_slash", options, {})}
    q, k, v = inputs(256)
    sdpa = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    yield {"case": "torch's sdpa, 256 tokens", "op": host(sdpa)}


LAYERS = 32  # of a model, whose calls one graph holds


def lengths_of_a_graph():
    """A graph that is captured over a capacity serves shorter lengths, which lie in a tensor."""
    q, k, v = inputs(512)
    lengths = torch.tensor([512], dtype=torch.int32, device=DEVICE)
    f = lambda: minfc.attention(q, k, v, "vertical_slash", fallback=False, lengths=lengths, vertical=40, slash=100)
    f()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        o = f()
    ok = True
    for n in (512, 300, 77, 1):
        lengths.fill_(n)
        graph.replay()
        alone = minfc.attention(q[:, :, :n], k[:, :, :n], v[:, :, :n], "vertical_slash", fallback=False, vertical=40, slash=100)
        error = (o[:, :, :n].double() - alone.double()).norm() / alone.double().norm()
        ok = ok and error < 4e-3 and not o[:, :, n:].any()
    return {"case": "lengths in device memory", "replay": host(graph.replay), "ok": bool(ok)}


def check_graph():
    if DEVICE == "cpu":
        return
    for name, pattern, rows, options, params in cases():
        q, k, v = inputs(rows)
        f = lambda: minfc.attention(q, k, v, pattern, **options, **params, return_lse=True)
        want, want_lse = f()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            o, lse = f()
        o.fill_(torch.nan), lse.fill_(torch.nan)
        graph.replay()
        wait()
        equal = torch.equal(o, want) and torch.equal(lse, want_lse)
        q.copy_(inputs(rows, seed=2)[0])  # a replay reads what lies there then
        graph.replay()
        equal_again = torch.equal(o, f()[0]) and not torch.equal(o, want)
        many = torch.cuda.CUDAGraph()
        with torch.cuda.graph(many):
            for _ in range(LAYERS):
                f()
        layers = {name: round(us / LAYERS, 2) for name, us in host(many.replay, rows, calls=2).items()}
        yield {"case": name, "replay": host(graph.replay, rows), f"one_of_{LAYERS}": layers, "equal": equal, "reads_anew": equal_again,
               "ok": equal and equal_again}
    yield lengths_of_a_graph()
    for n in (1, 11, 17):  # what torch and the driver take for as many kernels as the cases above have
        torch.cuda._sleep(0)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(n):
                torch.cuda._sleep(0)
        yield {"case": f"{n} empty kernels", "replay": host(graph.replay)}
    q, k, v = inputs(64, heads=4, kv_heads=4)
    try:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            minfc.attention(q, k, v, "sliding", window=4321)
        said = "nothing"
    except RuntimeError as e:
        said = str(e)
    wait()
    yield {"case": "not compiled while captured", "said": said, "ok": "compile" in said}


def check_numbers():
    rows = 2048 if DEVICE == "cuda" else 128
    q, k, v = inputs(rows)
    want = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).double()
    error = lambda o, w: ((o.double() - w).norm() / w.norm()).item()
    dense = error(minfc.attention(q, k, v, "dense"), want)
    all_kept = error(minfc.attention(q, k, v, "vertical_slash", vertical=rows, slash=rows, fallback=False), want)
    packed = torch.cat([t.transpose(1, 2) for t in (q, k, v)], 2)
    views = error(minfc.attention(*packed.split([HEADS, KV_HEADS, KV_HEADS], 2), "dense", layout="bshd").transpose(1, 2), want)
    half = rows // 2
    chunk = error(minfc.attention(q[:, :, half:], k, v, "dense", q_offset=half), want[:, :, half:])
    worst = max(dense, all_kept, views, chunk)
    yield {"dense": dense, "vertical_slash_of_all": all_kept, "packed_views": views, "chunk": chunk, "ok": worst < 1e-2}
    yield {"case": "other streams", "ok": on_streams()}


def on_streams():
    """A call waits for what its stream has queued, and for nothing of the default stream."""
    q, k, v = inputs(256)
    want = minfc.attention(q, k, v, "a_shape", sink=4, window=64)
    if DEVICE == "cpu":
        return True
    late = torch.zeros_like(q)
    wait()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(100_000_000)
        late.copy_(q)
        o = minfc.attention(late, k, v, "a_shape", sink=4, window=64)
        equal = torch.equal(o, want)
    return equal


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def check_memory():
    """Rounds of prepare, run and close lose no memory of device or host: the second half of them takes nothing that the first had not."""
    q, k, v = inputs(256)
    rounds = OPTIONS.rounds if DEVICE == "cuda" else 4
    held = []
    for n in range(rounds + 1):
        if n in (rounds // 2, rounds):
            wait()
            held.append((resident(), -torch.cuda.mem_get_info()[0] if DEVICE == "cuda" else 0))
        rows = 256 - 8 * (n % 16)
        minfc.attention(q[:, :, :rows], k[:, :, :rows], v[:, :, :rows], "vertical_slash", fallback=False)
        _calls.calls.clear()  # the last reference: the call is closed
    host, device = (end - middle for middle, end in zip(*held))
    ok = DEVICE == "cpu" or device <= 0 and host < 1 << 20  # the emulator's own heap grows and shrinks
    yield {"rounds": rounds, "host_bytes_lost_in_half": host, "device_bytes_lost_in_half": device, "ok": ok}


def check_threads():
    """Threads with streams of their own, every result compared."""
    kinds = [("dense", {}), ("a_shape", {"sink": 4, "window": 64}), ("vertical_slash", {"vertical": 40, "slash": 110, "fallback": False})]
    sizes = [64 * n for n in range(1, 9)] if DEVICE == "cuda" else [32, 48]
    work = [(inputs(rows, 4, 2, seed=i), kind, params) for i, rows in enumerate(sizes) for kind, params in kinds]
    want = [minfc.attention(*x, kind, **params) for x, kind, params in work]
    wait()
    end = time.monotonic() + OPTIONS.seconds
    begin = threading.Barrier(OPTIONS.threads)

    def one(n):
        calls = wrong = 0
        begin.wait()
        with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream() if DEVICE == "cuda" else None):
            while time.monotonic() < end:
                i = (calls * 7 + n) % len(work)
                x, kind, params = work[i]
                wrong += not torch.equal(minfc.attention(*x, kind, **params), want[i])
                calls += 1
        return calls, wrong

    with concurrent.futures.ThreadPoolExecutor(OPTIONS.threads) as pool:
        counts = list(pool.map(one, range(OPTIONS.threads)))
    calls, wrong = (sum(c) for c in zip(*counts))
    ok = wrong == 0 and min(c for c, _ in counts) > 0
    yield {"threads": OPTIONS.threads, "seconds": OPTIONS.seconds, "calls": calls, "wrong": wrong, "ok": ok}


def check_torch():
    """opcheck, and torch.compile: one graph for all lengths."""
    q, k, v = inputs(64, 4, 2)
    spec = minfc.spec_of("a_shape", {"sink": 2, "window": 30})
    for op in (torch.ops.minfc.attention.default, torch.ops.minfc.attention_lse.default):
        yield {"case": "opcheck " + str(op), "said": torch.library.opcheck(op, (q, k, v, spec))}
    graphs = []
    backend = lambda graph, example: graphs.append(graph) or graph.forward
    f = lambda q, k, v, at: minfc.attention(q, k, v, "a_shape", sink=2, window=30, q_offset=at) * 2
    counted = torch.compile(f, fullgraph=True, dynamic=True, backend=backend)
    compiled = torch.compile(f, fullgraph=True, dynamic=True)
    equal = True
    for rows, at in ((64, 3), (97, 5), (33, 8)):
        x = inputs(rows, 4, 2)
        counted(*x, at)
        equal &= torch.equal(compiled(*x, at), f(*x, at))
    yield {"case": "torch.compile, inductor", "graphs": len(graphs), "equal": equal, "ok": equal and len(graphs) == 1}


def check_errors():
    q, k, v = inputs(64, 4, 2)
    odd = torch.zeros(q.numel() + 8, dtype=q.dtype, device=DEVICE)[4 : 4 + q.numel()].view(q.shape)
    other = k.cpu() if DEVICE == "cuda" else k.to("meta")
    wrong = {
        "on one device": lambda: minfc.attention(q, other, v, "dense"),
        "begin on 16 bytes": lambda: minfc.attention(odd, k, v, "dense"),
        "got float32": lambda: minfc.attention(q.float(), k.float(), v.float(), "dense"),
        "inference only": lambda: minfc.attention(q.clone().requires_grad_(), k, v, "dense"),
        "contiguous": lambda: minfc.attention(q.transpose(2, 3).contiguous().transpose(2, 3), k, v, "dense"),
    }
    if DEVICE == "cuda":
        wrong["cuda:99"] = lambda: minfc.compile("dense", q_heads=4, kv_heads=2, head_dim=DIM, device="cuda:99")
        if torch.cuda.device_count() > 1:
            wrong["got cuda:0 for q and cuda:1"] = lambda: minfc.attention(q, k.to("cuda:1"), v, "dense")
    before = sum(minfc.counters().values())
    for words, call in wrong.items():
        said = "nothing"
        try:
            with torch.enable_grad():
                call()
        except (ValueError, RuntimeError) as e:
            said = f"{type(e).__name__}: {e}"
        yield {"case": words, "said": said, "ok": words in said}
    wait()
    yield {"case": "nothing ran", "ok": sum(minfc.counters().values()) == before}


CHECKS = {"numbers": check_numbers, "host": check_host, "graph": check_graph, "memory": check_memory, "torch": check_torch,
          "errors": check_errors, "threads": check_threads}


def main():
    good = True
    about = {"name": "machine", "torch": torch.__version__, "python": sys.version.split()[0], "minfc": minfc.__version__}
    if DEVICE == "cuda":
        about["gpu"] = torch.cuda.get_device_name()
    print(json.dumps(about), flush=True)
    for name in OPTIONS.only.split(",") if OPTIONS.only else CHECKS:
        try:
            with torch.no_grad():
                for row in CHECKS[name]():
                    good &= row.get("ok", True)
                    print(json.dumps({"name": name, **row}), flush=True)
        except Exception:
            good = False
            print(json.dumps({"name": name, "ok": False, "error": traceback.format_exc()}), flush=True)
    sys.exit(not good)


parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
parser.add_argument("--only", default="", help="names of checks, with commas: " + ", ".join(CHECKS))
parser.add_argument("--seconds", type=float, default=60, help="of the check of threads")
parser.add_argument("--threads", type=int, default=64)
parser.add_argument("--rounds", type=int, default=1000)
parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
OPTIONS = parser.parse_args()
DEVICE = OPTIONS.device
if __name__ == "__main__":
    main()
