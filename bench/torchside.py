"""What the measuring scripts share: compiled kernels of minfc launched from torch, patterns and references in torch."""
import ctypes, hashlib, json, math, re, struct

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
    """Returns the manifest and the PTX modules of an artifact (runtime/artifact/artifact.go has the format)."""
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


def tensor_map(t, box):
    """The 128 bytes of a TMA tensor map of t [B,H,S,D], boxes of {columns, rows}, 128-byte swizzle (runtime/tensormap.go)."""
    dims = (ctypes.c_uint64 * 4)(t.shape[3], t.shape[2], t.shape[1], t.shape[0])
    strides = (ctypes.c_uint64 * 3)(*(2 * (t.stride(i) if t.shape[i] > 1 else t.shape[3]) for i in (2, 1, 0)))
    whole, ones = (ctypes.c_uint32 * 4)(*box, 1, 1), (ctypes.c_uint32 * 4)(1, 1, 1, 1)
    space = ctypes.create_string_buffer(128 + 64)
    out = (ctypes.c_char * 128).from_buffer(space, -ctypes.addressof(space) % 64)
    kind = {torch.bfloat16: 9, torch.float16: 6}[t.dtype]
    # interleave none, swizzle 128 B, L2 promotion 256 B, zeros outside
    ok(cuda.cuTensorMapEncodeTiled(out, kind, 4, ctypes.c_void_p(t.data_ptr()), dims, strides, whole, ones, 0, 3, 3, 0), "cuTensorMapEncodeTiled")
    return out


def runs(target):
    """Whether the GPU runs code for a target: its own and earlier ones, but of those that end in "a" its own alone."""
    major, minor = torch.cuda.get_device_capability()
    have, want = 10 * major + minor, int(target.removeprefix("sm_").removesuffix("a"))
    return have == want or have > want and not target.endswith("a")


class Kernel:
    """The attention kernel of an artifact that suits the GPU best, loaded, and its launch."""

    def __init__(self, path):
        manifest, modules = read_artifact(path)
        build = [i for i, b in enumerate(manifest["builds"]) if runs(b["target"])][-1]  # newer targets come later
        pattern = manifest["patterns"][0]
        lowered = pattern["lowered"][build]
        self.meta = manifest["codes"][next(u["code"] for u in lowered["kernels"] if u["name"] == "attend")]
        # blocks that share a queue are as many as run at once: "run attend grid min(items, 2*multiprocessors), 1, 1"
        shared = re.search(r"run attend grid min\(items, (?:(\d+)\*)?multiprocessors\)", manifest["programs"][lowered["program"]])
        self.blocks_per_sm = int(shared[1] or 1) if shared else 0
        self.digest = hashlib.sha256(modules[self.meta["module"]]).hexdigest()[:12]
        self.defaults = {w[w.index("=") - 1]: int(w[w.index("=") + 1]) for w in (line.split() for line in pattern["pattern"].splitlines()) if w[:1] == ["param"]}
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
        self.queue = torch.zeros(1, dtype=torch.int32, device="cuda")
        self.registers, self.local = (self.attribute(a) for a in (4, 3))

    def attribute(self, which):
        v = ctypes.c_int()
        ok(cuda.cuFuncGetAttribute(ctypes.byref(v), which, self.fn), "cuFuncGetAttribute")
        return v.value

    def launch(self, q, k, v, o, lse, params, q_offset=0, lists=None):
        """q and o are [B,Hq,Sq,D], k and v [B,Hk,Sk,D], lse [B,Hq,Sq] float32; any strides with a contiguous last dim. lists are
        those of lists.plant, for kernels that read some."""
        b, hq, sq, d = q.shape
        values = {"lse": lse.data_ptr(), "lse_batch": 4 * lse.stride(0), "lse_head": 4 * lse.stride(1), "sq": sq, "sk": k.shape[2],
                  "q_offset": q_offset, "group": hq // k.shape[1], "scale_log2": d**-0.5 * math.log2(math.e),
                  "route": 0, "taken": 0}  # all heads are this kernel's
        for name, t in (("q", q), ("k", k), ("v", v), ("o", o)):
            values[name] = t.data_ptr()
            for i, dim in enumerate(("batch", "head", "row")):
                values[f"{name}_{dim}"] = 2 * t.stride(i)
        values.update({"p_" + n: x for n, x in params.items()})  # also what only lists.plant knows; no kernel asks for it
        tensors = {"q": q, "k": k, "v": v, "o": o}
        tiles = -(-sq // self.meta["block_rows"])
        grid = (tiles, hq, b)
        if lists:
            values.update({n: x.data_ptr() if torch.is_tensor(x) else x for n, x in lists.values.items()})
            values.update({n: x.data_ptr() for n, x in lists.tensors.items()})
            tensors.update(lists.tensors)
        if self.blocks_per_sm:
            self.queue.zero_()
            values.update({"queue": self.queue.data_ptr(), "row_tiles": tiles, "q_heads": hq, "items": tiles * hq * b})
            sms = torch.cuda.get_device_properties(0).multi_processor_count
            grid = (min(tiles * hq * b, sms * self.blocks_per_sm), 1, 1)
        args = [tensor_map(tensors[p["tensor"]], p["box"]) if p["type"] == "map" else CTYPES[p["type"]](values[p["name"]]) for p in self.meta["params"]]
        ptrs = (ctypes.c_void_p * len(args))(*[ctypes.addressof(a) for a in args])
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
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


def reference(keep_of, q, k, v, rows):
    """Float64 attention of the listed rows over what keep_of(head, rows) says: O [B,Hq,rows,D] and LSE [B,Hq,rows], natural log."""
    group = q.shape[1] // k.shape[1]
    outs, lses = [], []
    for h in range(q.shape[1]):
        keep = keep_of(h, rows)
        kk, vv = k[:, h // group].double(), v[:, h // group].double()
        s = (q[:, h, rows].double() @ kk.transpose(-1, -2)) * q.shape[3] ** -0.5
        s = s.masked_fill(~keep, -math.inf)
        lse = torch.logsumexp(s, -1)
        outs.append(torch.exp(s - lse[..., None]) @ vv)
        lses.append(lse)
    return torch.stack(outs, 1), torch.stack(lses, 1)


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


def cudnn(q, k, v, causal):
    with sdpa_kernel([SDPBackend.CUDNN_ATTENTION]):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])


def driver_version():
    v = ctypes.c_int()
    ok(cuda.cuDriverGetVersion(ctypes.byref(v)), "cuDriverGetVersion")
    return f"{v.value // 1000}.{v.value % 1000 // 10}"
