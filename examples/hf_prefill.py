#!/usr/bin/env python3
"""Prefill time of a transformers model with random weights: stock FlashAttention-2, stock cuDNN, minfc dense, minfc with a head plan.

    python examples/hf_prefill.py --seqlens 8k,32k,128k --json prefill.jsonl --plot prefill.png
    python examples/hf_prefill.py --layers-only --seqlens 512k,1m      # one layer, times the number of layers
    python examples/hf_prefill.py --tiny                               # on the emulator: what CI runs, times mean nothing

The model is Llama-3-8B's shape: 32 layers, hidden size 4096, 32 heads on 8 kv heads of 128, bfloat16, batch 1, no cache kept, logits of the
last token. Random weights have no structure to attend to. So for the plan a layer computes its q, k and v and then takes generated q and
k in place of its own (minfc.workload, kind "mixed", one pair for all layers): their cost is in, what they would say is not. Logits of the
plan mean nothing; logits of minfc dense are compared with stock ones. "no attention" gives back the queries, so it is the time of
everything else.

Every run is timed alone by events on the device; a round runs all subjects once in random order.
"""

import argparse
import contextlib
import gc
import importlib.util
import json
import random
import statistics
import sys
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AttentionMaskInterface, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

import minfc
import minfc.transformers

FULL = dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, vocab_size=128256)
TINY = dict(hidden_size=160, intermediate_size=128, num_hidden_layers=2, num_attention_heads=10, num_key_value_heads=5, vocab_size=128)
CHUNK_ROWS = 1 << 16  # of everything but attention with --layers-only: a whole MLP of a million tokens would take 90 GB
SEED = 3


# What is measured


def real_heads(heads):
    """A layer of a head plan as models have them, of minfc's own benchmark of layers (BenchmarkLayer in plan/apart_test.go): of 32 heads 20
    vertical_slash with four pairs of budgets, 8 block_sparse, 3 a_shape, 1 dense."""
    budgets = [(1000, 6096), (3500, 100), (500, 700), (30, 800)]
    layer = {}
    for h in range(heads):
        vertical, slash = budgets[h % 4]
        entry = {"pattern": "vertical_slash", "params": {"vertical": vertical, "slash": slash}}
        if h % 8 in (3, 6):
            entry = {"pattern": "block_sparse", "params": {"topk": 100}}
        elif h % 16 == 5:
            entry = {"pattern": "a_shape", "params": {"sink": 128, "window": 4096}}
        elif h in (10, 30):
            entry = {"pattern": "a_shape", "params": {"sink": 128, "window": 1024}}
        if h == 31:
            entry = {"pattern": "dense"}
        layer[str(h)] = entry
    return layer


def plan_of(config):
    layer = real_heads(config.num_attention_heads)
    return {"schema": 1, "layers": [layer] * config.num_hidden_layers}


class Generated:
    """q and k with structure, for the length that is being measured."""

    q = k = None


def generated_attention(module, query, key, value, mask, **rest):
    """minfc over the generated q and k and the layer's own v."""
    return AttentionInterface()["minfc"](module, Generated.q, Generated.k, value, mask, **rest)


def no_attention(module, query, key, value, mask, **rest):
    return query.transpose(1, 2), None


for name, function in (("generated", generated_attention), ("no_attention", no_attention)):
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, AttentionMaskInterface()["minfc"])


class Subject:
    """One column of the table: an attention implementation, the backend of sdpa, what minfc runs, and how time grows with the length."""

    def __init__(self, name, implementation, attends, backend=None, plan=None, power=2.0):
        self.name, self.implementation, self.attends = name, implementation, attends
        self.backend, self.plan, self.power = backend, plan, power

    @contextlib.contextmanager
    def __call__(self, model):
        """Sets a model up for the subject."""
        plan = plan_of(model.config) if self.plan == "heads" else self.plan
        if plan is not None:
            minfc.install(model, plan)
        model.set_attn_implementation(self.implementation)
        try:
            with sdpa_kernel(self.backend) if self.backend is not None else contextlib.nullcontext():
                yield
        finally:
            if plan is not None:
                minfc.uninstall(model)
            model.set_attn_implementation("sdpa")


OWN = "all causal pairs of the model's own q and k"
MIX = "what each head's pattern chooses of generated q and k (20 of 32 heads vertical_slash, 8 block_sparse, 3 a_shape, 1 dense); fallback allowed"
GPU_SUBJECTS = [
    Subject("stock FA2", "sdpa", OWN, SDPBackend.FLASH_ATTENTION),
    Subject("stock cuDNN", "sdpa", OWN, SDPBackend.CUDNN_ATTENTION),
    Subject("minfc dense", "minfc", OWN, plan="dense"),
    Subject("minfc plan", "generated", MIX, plan="heads", power=1.3),
    Subject("no attention", "no_attention", "nothing: the queries are the output", power=1.0),
]
CPU_SUBJECTS = [Subject("stock", "sdpa", OWN)] + GPU_SUBJECTS[2:]


# How


class Clock:
    """Seconds of a run on a device."""

    def __init__(self, device):
        self.cuda = torch.device(device).type == "cuda"

    def time(self, run):
        if not self.cuda:
            start = time.perf_counter()
            out = run()
            return time.perf_counter() - start, out
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        out = run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3, out


def make_model(args):
    config = LlamaConfig(
        **(TINY if args.tiny else FULL),
        max_position_embeddings=1 << 21,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        pad_token_id=0,
    )
    if args.layers_only:
        config.num_hidden_layers = 1
    torch.manual_seed(SEED)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(args.device):
            model = LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)
    model.set_attn_implementation("sdpa")
    return model


def whole(model, tokens):
    """A prefill: the logits of the last token."""
    ids = torch.randint(1, model.config.vocab_size, (1, tokens), device=model.device)
    return lambda: model(ids, use_cache=False, logits_to_keep=1).logits


def one_layer(model, tokens):
    """A decoder layer, all but attention in chunks of rows."""
    layer, size = model.model.layers[0], model.config.hidden_size
    hidden = torch.randn(1, tokens, size, device=model.device, dtype=model.dtype)
    return lambda: run_layer(model, layer, hidden)


def run_layer(model, layer, hidden):
    attention, dim = layer.self_attn, layer.self_attn.head_dim
    chunks = [slice(at, min(at + CHUNK_ROWS, hidden.shape[1])) for at in range(0, hidden.shape[1], CHUNK_ROWS)]
    heads = (attention.q_proj.out_features // dim, attention.k_proj.out_features // dim)
    q, k, v = (hidden.new_empty(1, hidden.shape[1], n, dim) for n in (heads[0], heads[1], heads[1]))
    for rows in chunks:
        x = layer.input_layernorm(hidden[:, rows])
        cos, sin = model.model.rotary_emb(x, torch.arange(rows.start, rows.stop, device=x.device)[None])
        own = [project(x).view(1, -1, n.shape[2], dim) for project, n in ((attention.q_proj, q), (attention.k_proj, k))]
        q[:, rows], k[:, rows] = apply_rotary_pos_emb(*own, cos, sin, unsqueeze_dim=2)
        v[:, rows] = attention.v_proj(x).view(1, -1, heads[1], dim)
    interface = AttentionInterface()[model.config._attn_implementation]
    out, _ = interface(attention, q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), None, scaling=attention.scaling)
    del q, k, v
    last = None
    for rows in chunks:
        x = hidden[:, rows] + attention.o_proj(out[:, rows].flatten(2))
        last = x + layer.mlp(layer.post_attention_layernorm(x))
    return last[:, -1:].clone()  # a view would hold the chunk


class Bench:
    """The measurements of one run of the program, by subject and length."""

    def __init__(self, args, model):
        self.args, self.model = args, model
        self.clock = Clock(args.device)
        self.layers = (TINY if args.tiny else FULL)["num_hidden_layers"]
        self.factor = self.layers if args.layers_only else 1
        self.rows = []
        self.json = open(args.json, "a", buffering=1) if args.json else None
        self.rng = random.Random(SEED)

    def subjects(self):
        every = GPU_SUBJECTS if self.clock.cuda else CPU_SUBJECTS
        unknown = set(self.args.subjects or ()) - {s.name for s in every}
        if unknown:
            sys.exit(f"there is no subject {', '.join(sorted(unknown))} on {self.args.device}: want some of {', '.join(s.name for s in every)}")
        return [s for s in every if not self.args.subjects or s.name in self.args.subjects]

    def length(self, tokens):
        """Measures all subjects at a length, and writes a line each."""
        config = self.model.config
        heads = config.num_attention_heads
        sizes = dict(q_heads=heads, kv_heads=config.num_key_value_heads, head_dim=config.hidden_size // heads, seqlen=tokens)
        Generated.q, Generated.k = minfc.workload("mixed", **sizes, device=self.args.device, seed=SEED)[:2]
        run = (one_layer if self.args.layers_only else whole)(self.model, tokens)
        cases = {s: [] for s in self.subjects()}
        outcome, logits = {}, {}
        for s in list(cases):
            outcome[s] = self.warm_up(s, tokens, run, logits)
            if outcome[s] is not None:
                del cases[s]
        self.rounds(cases, tokens, run)
        for s in outcome:
            self.write(s, tokens, cases.get(s), outcome[s], logits)
        self.say_plan(tokens)
        Generated.q = Generated.k = None
        free()

    def warm_up(self, subject, tokens, run, logits):
        """A run that is not counted, where there is time for one. Returns why the subject is left out at this length, or None."""
        expected = self.expected(subject, tokens)
        if expected is not None and expected > self.args.time_limit:
            return f"left out: {expected:.0f} s expected, --time-limit is {self.args.time_limit:.0f}"
        if expected is not None and 2 * expected > self.args.time_limit:
            return None
        _, logits[subject.name], failed = self.attempt(subject, tokens, run)
        return failed and f"failed: {failed}"

    def rounds(self, cases, tokens, run):
        """Rounds in random order, until the time of a case or the number of rounds is used up."""
        for n in range(self.args.rounds):
            order = list(cases)
            self.rng.shuffle(order)
            for s in order:
                if cases[s] and sum(cases[s]) + cases[s][-1] > self.args.time_limit:
                    continue
                took, _, failed = self.attempt(s, tokens, run)
                if failed:
                    say(f"{s.name} at {short(tokens)} failed: {failed}")
                    del cases[s]
                    continue
                cases[s].append(took)
                self.line({"tokens": tokens, "subject": s.name, "run": took})
                say(f"{short(tokens)} tokens, round {n + 1} of {self.args.rounds}: {s.name} {took:.3f} s", end="\r")
        say("")

    def attempt(self, subject, tokens, run):
        """Seconds and logits of one run, and why it failed, or None. Memory goes back after a failure, when nothing holds it any more."""
        try:
            with subject(self.model), torch.inference_mode():
                return *self.clock.time(run), None
        except RuntimeError as e:  # out of memory is one
            failed = (str(e) or type(e).__name__).splitlines()[0]
        free()
        return None, None, failed

    def expected(self, subject, tokens):
        """Seconds of one run by the longest length before, or None."""
        before = [r for r in self.rows if r["subject"] == subject.name and r.get("seconds")]
        if not before:
            return None
        last = max(before, key=lambda r: r["tokens"])
        return last["seconds"] / self.factor * (tokens / last["tokens"]) ** subject.power

    def write(self, subject, tokens, took, why_not, logits):
        row = {"tokens": tokens, "subject": subject.name, "attended": subject.attends, "device": device_name(self.args.device)}
        if took:
            row |= {
                "seconds": statistics.median(took) * self.factor,
                "best": min(took) * self.factor,
                "rounds": len(took),
                "derived": f"one layer times {self.factor}" if self.factor > 1 else None,
            }
            stock = next((x for n, x in logits.items() if n.startswith("stock") and x is not None), None)
            mine = logits.get(subject.name)
            if subject.attends == OWN and stock is not None and mine is not None:
                mine = mine.float()
                row["differs_from_first_stock"] = ((mine - stock.float()).norm() / stock.float().norm()).item()
        else:
            row["left_out"] = why_not or "failed"
        self.rows.append(row)
        self.line(row)

    def line(self, what):
        """Writes a line of JSON at once, so that what was measured is there whatever happens later."""
        if self.json:
            print(json.dumps(what), file=self.json)

    def say_plan(self, tokens):
        """How many heads of the plan the device found better off dense."""
        if all(s.plan != "heads" for s in self.subjects()):
            return
        try:
            heads = minfc.chosen(Generated.q, Generated.k, Generated.k, minfc.Plan(plan_of(self.model.config)).layer(0))[0]
        except RuntimeError as e:
            return say(f"what the plan's heads chose at {short(tokens)} tokens is not known: {e}")
        self.line({"tokens": tokens, "heads": len(heads), "fell_back": sum(h.dense for h in heads)})
        say(f"{short(tokens)} tokens: {sum(h.dense for h in heads)} of the plan's {len(heads)} heads fell back to dense attention")


# What is said


def table(rows):
    """Seconds and speed-ups by length."""
    subjects = list(dict.fromkeys(r["subject"] for r in rows))
    lines = [["tokens", *subjects, *(f"plan over {s}" for s in subjects if s.startswith("stock"))]]
    for tokens in dict.fromkeys(r["tokens"] for r in rows):
        at = {r["subject"]: r for r in rows if r["tokens"] == tokens}
        plan = at.get("minfc plan", {}).get("seconds")
        cells = [seconds(at.get(s, {})) for s in subjects]
        for s in subjects:
            if s.startswith("stock"):
                stock = at.get(s, {}).get("seconds")
                cells.append(f"{stock / plan:.2f}x" if stock and plan else "-")
        lines.append([short(tokens), *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths)) for line in lines)


def seconds(row):
    if row.get("seconds"):
        return f"{row['seconds']:.3f}" + ("*" if row["derived"] else "")
    return row.get("left_out", "-").split(":")[0]


def legend(bench):
    lines = [f"{s.name}: attends {s.attends}" for s in bench.subjects()]
    if bench.factor > 1:
        lines.append(f"*: derived, one decoder layer times {bench.factor}; embedding, last norm and logits are not in it")
    lines.append(f"median seconds on {device_name(bench.args.device)}; torch {torch.__version__}, minfc {minfc.__version__}, random weights")
    for r in bench.rows:
        if r.get("left_out"):
            lines.append(f"{r['subject']} at {short(r['tokens'])}: {r['left_out']}")
        elif "differs_from_first_stock" in r and r["subject"].startswith("minfc"):
            lines.append(f"{r['subject']} at {short(r['tokens'])}: logits differ from stock by {r['differs_from_first_stock']:.1e} (relative norm)")
    return "\n".join(lines)


def plot(rows, path):
    """A PNG by matplotlib, where it is installed, else bars of text on the standard output."""
    done = [r for r in rows if r.get("seconds")]
    if path and importlib.util.find_spec("matplotlib"):
        return png(done, path)
    if path:
        say(f"matplotlib is not installed: no {path}, bars instead")
    most = max((r["seconds"] for r in done), default=1)
    for r in done:
        print(f"{short(r['tokens']):>6} {r['subject']:<13} {'#' * max(1, round(50 * r['seconds'] / most))} {r['seconds']:.3f} s")


def png(rows, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for subject in dict.fromkeys(r["subject"] for r in rows):
        of = [r for r in rows if r["subject"] == subject]
        axes.plot([r["tokens"] for r in of], [r["seconds"] for r in of], marker="o", label=subject)
    axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="seconds of a prefill", title="random weights, batch 1")
    lengths = sorted({r["tokens"] for r in rows})
    axes.set_xticks(lengths, [short(n) for n in lengths])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    say(f"wrote {path}")


def say(text, end="\n"):
    print(text, end=end, file=sys.stderr, flush=True)


def free():
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def short(tokens):
    for unit, size in (("M", 1 << 20), ("K", 1 << 10)):
        if tokens % size == 0:
            return f"{tokens // size}{unit}"
    return str(tokens)


def device_name(device):
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "the emulator, whose times mean nothing"


def tokens_of(text):
    unit = {"k": 1 << 10, "m": 1 << 20}.get(text[-1:].lower())
    try:
        n = int(text[:-1]) * unit if unit else int(text)
    except ValueError:
        n = 0
    if n < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no length, want 8k, 1m or 5000")
    return n


def parsed():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seqlens", type=lambda t: [tokens_of(x) for x in t.split(",")], metavar="LIST", help="default 4k,8k,16k,32k,128k")
    p.add_argument("--subjects", type=lambda t: [x.strip() for x in t.split(",")], metavar="LIST", help="columns of the table, with commas")
    p.add_argument("--rounds", type=int, default=9, help="at most; a case ends earlier at its time limit (default 9)")
    p.add_argument("--time-limit", type=float, default=60, help="seconds of a subject at a length, as far as can be foreseen")
    p.add_argument("--layers-only", action="store_true", help="one decoder layer, times the number of layers: for lengths that do not fit whole")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda, cuda:1, or cpu for the emulator")
    p.add_argument("--tiny", action="store_true", help="a small model")
    p.add_argument("--json", metavar="FILE", help="append a line for each subject and length")
    p.add_argument("--plot", metavar="FILE.png")
    args = p.parse_args()
    if torch.device(args.device).type == "cpu" and not args.tiny:
        p.error("there is no GPU here, and the emulator would take years: use --tiny")
    if args.rounds < 1 or args.time_limit <= 0:
        p.error("want --rounds of 1 or more and a --time-limit above 0")
    args.seqlens = args.seqlens or ([192, 320] if args.tiny else [n << 10 for n in (4, 8, 16, 32, 128)])
    return args


def main():
    args = parsed()
    start = time.time()
    bench = Bench(args, make_model(args))
    bench.subjects()
    say(f"the model is there after {time.time() - start:.0f} s")
    for tokens in sorted(args.seqlens):
        try:
            bench.length(tokens)
        except torch.OutOfMemoryError as e:
            say(f"{short(tokens)} tokens do not fit: {str(e).splitlines()[0]}")
            free()
        print(table(bench.rows), flush=True)
    print(legend(bench))
    plot(bench.rows, args.plot)


if __name__ == "__main__":
    main()
