"""Tensor parallelism of transformers in 2 and 4 processes: each runs its heads of the plan, and the model says what it says in one process."""

import contextlib
import io
import json
import os
import warnings
from pathlib import Path

import pytest
import torch

import minfc
import ranks
from families import error, model, padded, prompts
from test_docs import blocks

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")  # without which transformers loads no model with a tp_plan

TOLERANCE = 6e-3  # of logits: sums over ranks are rounded one more time than in test_hf_families.py
WORLDS = [2, 4]
PAGE = Path(__file__).parents[2] / "docs/parallel.md"
SPARSE = [
    {"pattern": "a_shape", "params": {"sink": 4, "window": 40}},
    {"pattern": "vertical_slash", "params": {"vertical": 20, "slash": 30}},
    {"pattern": "block_sparse", "params": {"topk": 2}},
    {"pattern": "a_shape", "params": {"sink": 1, "window": 90}},
]
PLANS = {
    "dense": {"schema": 1, "layers": [{str(h): {"pattern": "dense"} for h in range(4)}] * 2},
    "mixed": {"schema": 1, "heads": 4, "layers": [{str(h): SPARSE[(h + i) % 4] for h in range(4)} for i in range(2)]},
}
FAMILIES = ["Llama", "Qwen2"]  # 4 query heads on 2 kv heads; Qwen2 has biases
UNEVEN = dict(num_attention_heads=6, num_key_value_heads=3, hidden_size=96)


# In one process


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("world", [2, 4, 8])
def test_a_shard_computes_the_heads_of_the_whole(make, world, kv_heads):
    """Bit for bit, and with the same choices, since these depend on a head's own queries and keys alone."""
    entries = {str(h): SPARSE[h % 4] for h in range(7)}  # head 7 runs the default
    plan = minfc.Plan({"schema": 1, "layers": [{}, entries]})
    q, k, v = make(q_heads=8, kv_heads=kv_heads, rows=150, dim=16)
    want = minfc.attention(q, k, v, plan.layer(1), fallback=False)
    chosen = minfc.chosen(q, k, v, plan.layer(1), fallback=False)[0]
    assert len({(h.columns, h.diagonals, h.blocks) for h in chosen}) == 4
    for rank in range(world):
        own = plan.shard(rank, world, heads=8)
        assert (own.heads, own.heads_from) == (8 // world, rank * 8 // world)
        heads = slice(own.heads_from, own.heads_from + own.heads)
        kv = slice(rank * kv_heads // world, rank * kv_heads // world + max(kv_heads // world, 1))
        part = (q[:, heads], k[:, kv], v[:, kv], own.layer(1))
        assert torch.equal(minfc.attention(*part, fallback=False), want[:, heads])
        assert minfc.chosen(*part, fallback=False)[0] == chosen[heads]


def test_a_shard_is_a_plan_of_its_own():
    plan = minfc.Plan(PLANS["mixed"])
    own = plan.shard(1, 2)
    assert (plan.heads, plan.heads_from, own.heads, own.heads_from, len(own)) == (4, 0, 2, 2, 2)
    assert repr(own) == "minfc.Plan(2 layers, heads 2 to 3)"
    assert own.shard(1, 2).layer(0).spec == plan.shard(3, 4).layer(0).spec
    assert minfc.Plan(PLANS["dense"]).heads is None


@pytest.mark.parametrize(
    "rank, world, heads, kind, words",
    [
        (0, 3, None, ValueError, "4 query heads do not divide among 3 ranks"),
        (0, 4, 6, ValueError, "6 query heads do not divide among 4 ranks"),
        (2, 2, None, ValueError, "there is no rank 2 of 2"),
        (0, 2, 2, ValueError, "layer 0 has an entry for head 2, the model has 2 query heads"),
        (0, 2.0, None, TypeError, "float"),
    ],
)
def test_bad_shards(rank, world, heads, kind, words):
    with pytest.raises(kind, match=words):
        minfc.Plan(PLANS["dense"]).shard(rank, world, heads=heads)


def test_a_shard_refuses_other_heads(make):
    q, k, v = make(q_heads=4, kv_heads=2, rows=30, dim=16)
    with pytest.raises(ValueError, match="the plan is for 2 query heads, here are 4"):
        minfc.attention(q, k, v, minfc.Plan(PLANS["mixed"]).shard(0, 2).layer(0))


class Mesh:
    """A device mesh as transformers gives it to a model, of which this process is rank 1."""

    ndim = 1

    def get_local_rank(self):
        return 1


@pytest.mark.parametrize(
    "settings, drop, words",
    [
        ({}, ["k_proj", "v_proj"], "the tp_plan splits q_proj of LlamaAttention among ranks, and minfc can tell which heads a rank has where q_proj"),
        ({"num_key_value_heads": 1}, [], "LlamaAttention has 1 kv heads, which 2 ranks have to share, and its weights are quantised"),
        ({"num_attention_heads": 3, "num_key_value_heads": 1, "hidden_size": 48}, [], "has 3 query heads, which do not divide among 2 ranks"),
    ],
)
def test_splits_that_minfc_does_not_know(settings, drop, words):
    m = model(**settings)
    m._tp_size, m._device_mesh = 2, Mesh()  # weights that are no DTensor stand for quantised ones
    m._tp_plan = {name: style for name, style in m._tp_plan.items() if name.split(".")[-1] not in drop}
    with pytest.raises(ValueError, match=words):
        minfc.install(m, "dense")
    assert m.config._attn_implementation == "sdpa"


# In several


def loaded(folder, distributed=True):
    """The model of a folder, on all ranks; both ways to say it mean the same."""
    auto = {}
    if distributed and "Llama" in str(folder):
        auto = {"tp_plan": "auto"}
    elif distributed:
        auto = {"distributed_config": transformers.distributed.DistributedConfig(tp_plan="auto")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # 5.17 wants the second way
        return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16, attn_implementation="sdpa", **auto)


def said(m):
    """Logits and the tokens that follow."""
    return m(prompts()).logits, m.generate(prompts(), max_new_tokens=4, do_sample=False, pad_token_id=0)[0, -4:].tolist()


def short(m):
    """The tokens that follow short prompts of different lengths, whose masks transformers' sdpa takes."""
    ids, mask = padded([40, 25])
    return m.generate(ids, attention_mask=mask, max_new_tokens=4, do_sample=False, pad_token_id=0)[:, -4:].tolist()


def on_ranks(rank, world, folders):
    """What a rank computes, for the test in the process that started it."""
    transformers.utils.logging.disable_progress_bar()
    out = {}
    for family in FAMILIES:
        m = loaded(folders[family])
        for name, plan in PLANS.items():
            minfc.install(m, plan, fallback=False)
            report = minfc.report(m)
            out[family, name] = (*said(m), minfc.report(m).total, report.heads, str(report))
            minfc.uninstall(m)
        out[family, "parts"] = [tuple(p.shape) for p in m.model.layers[1].self_attn.k_proj.parameters()]
        out[family, "pattern"] = said(minfc.install(m, "a_shape", sink=4, window=40, fallback=False))[0]
        minfc.uninstall(m)
    mixed = minfc.Plan(PLANS["mixed"])
    minfc.install(m, mixed.shard(rank, world), fallback=False)
    out["cut before"] = said(m)[0]
    minfc.uninstall(m)
    out["layers"] = said(minfc.install(m, ["dense", mixed.layer(1)], fallback=False))[0]
    out["short"] = short(m)
    minfc.uninstall(m)
    out["another rank's"] = refusal(m, mixed.shard((rank + 1) % world, world))
    out["another model's"] = refusal(m, {**PLANS["mixed"], "heads": 8})
    out["uneven"] = refusal(loaded(folders["uneven"]), "dense")
    gathered = loaded(folders["Phi3"])  # whose projections are gathered: every rank computes all heads
    minfc.install(gathered, PLANS["mixed"], fallback=False)
    out["gathered"] = (said(gathered)[0], minfc.report(gathered).heads)
    out["page"] = printed(folders["Llama"])
    return out


def printed(folder):
    """What the page's blocks of tensor parallelism print, and what they should. A plan is a file of theirs."""
    os.chdir(folder)
    Path(f"plan.{os.getpid()}").write_text(json.dumps(PLANS["mixed"]))
    os.replace(f"plan.{os.getpid()}", "plan.json")
    text = PAGE.read_text().split("\n## Tensor parallel\n")[1].split("\n## ")[0]
    names, pairs = {"name": folder}, []
    for code, want in blocks(text):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(PAGE), "exec"), names)
        pairs.append((out.getvalue(), want))
    return pairs


def refusal(m, plan):
    """Why install refuses a plan; the model must be as it was."""
    with pytest.raises(ValueError) as e:
        minfc.install(m, plan)
    assert m.config._attn_implementation == "sdpa" and not hasattr(m.model.layers[0].self_attn, "minfc_before")
    return str(e.value)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models of random weights as files."""
    out = {}
    for name, m in {**{f: model(f) for f in (*FAMILIES, "Phi3")}, "uneven": model(**UNEVEN)}.items():
        out[name] = str(tmp_path_factory.mktemp(name))
        m.save_pretrained(out[name])
    return out


@pytest.fixture(scope="module", params=WORLDS, ids=lambda n: f"{n} ranks")
def results(request, folders, tmp_path_factory):
    """What each rank returned."""
    return ranks.run(request.param, on_ranks, tmp_path_factory.mktemp("ranks"), folders)


@pytest.fixture(scope="module")
def alone(folders):
    """What one process says."""
    with torch.no_grad():
        out = {}
        for family in (*FAMILIES, "Phi3"):
            m = loaded(folders[family], distributed=False)
            for name, plan in PLANS.items():
                out[family, name] = said(minfc.install(m, plan, fallback=False))
            out[family, "pattern"] = said(minfc.install(m, "a_shape", sink=4, window=40, fallback=False))
            out[family, "layers"] = said(minfc.install(m, ["dense", minfc.Plan(PLANS["mixed"]).layer(1)], fallback=False))
            out[family, "short"] = short(m)
        return out


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_says_what_it_says_in_one_process(results, alone, family, name):
    logits, tokens = alone[family, name]
    for rank, result in enumerate(results):
        got, follow, total, heads, _ = result[family, name]
        assert error(got, logits) < TOLERANCE
        assert follow == tokens
        assert total == {("minfc", "prompt"): 4, ("stock", "one query"): 6}
        own = 4 // len(results)
        assert (heads.rank, heads.world, heads.q_from, heads.q_heads) == (rank, len(results), rank * own, own)
        assert (heads.kv_from, heads.kv_heads, heads.sharers) == (rank * 2 // len(results), 1, len(results) // 2)
        assert torch.equal(got, results[0][family, name][0])


def test_plans_differ(alone):
    """So the comparison above would see heads that run another head's pattern."""
    assert error(alone["Llama", "mixed"][0], alone["Llama", "dense"][0]) > 10 * TOLERANCE


def test_stock_calls_have_the_heads_of_the_rank(results, alone):
    """sdpa repeats kv heads by a number that the module has."""
    assert all(result["short"] == alone["Qwen2", "short"] for result in results)


def test_the_report_says_which_heads(results):
    texts = [r["Llama", "mixed"][4].splitlines()[0] for r in results]
    assert texts == {
        2: ["rank 0 of 2: query heads 0-1, kv heads 0", "rank 1 of 2: query heads 2-3, kv heads 1"],
        4: [f"rank {i} of 4: query heads {i}, kv heads {i // 2}" for i in range(4)],
    }[len(results)]


def test_patterns_and_lists_of_layers(results, alone):
    for result in results:
        for family in FAMILIES:
            assert error(result[family, "pattern"], alone[family, "pattern"][0]) < TOLERANCE
        assert error(result["layers"], alone["Qwen2", "layers"][0]) < TOLERANCE


def test_a_plan_that_is_cut_is_not_cut_again(results, alone):
    for rank, result in enumerate(results):
        assert torch.equal(result["cut before"], result["Qwen2", "mixed"][0])
        assert f"this is rank {rank} of {len(results)}: query heads" in result["another rank's"]
        assert f"or plan.shard({rank}, {len(results)})" in result["another rank's"]
        assert "the plan is for 8 query heads, here are 4" in result["another model's"]


def test_uninstall_gives_the_parts_of_weights_back(results):
    for result in results:
        assert result["Llama", "parts"] == [(32, 64)]  # of all ranks together, as a DTensor has them
        assert result["Qwen2", "parts"] == [(32, 64), (32,)]


def test_heads_that_do_not_divide_are_refused_by_name(results):
    for result in results:
        assert result["uneven"] == {
            2: "LlamaAttention has 3 kv heads, which 2 ranks can neither divide nor share: load the model on a number of ranks that divides 3 or "
            "is a multiple of it",
            4: "LlamaAttention has 6 query heads, which do not divide among 4 ranks: load the model on a number of ranks that divides 6",
        }[len(results)]


def test_a_model_that_gathers_projections_runs_all_heads(results, alone):
    for result in results:
        got, heads = result["gathered"]
        assert error(got, alone["Phi3", "mixed"][0]) < TOLERANCE and heads is None


def test_page_runs(results):
    pairs = results[0]["page"]
    assert len(pairs) == 1
    if len(results) == 2:
        assert all(got == want for got, want in pairs)
    assert all(r["page"][0][0].splitlines()[1:] == pairs[0][1].splitlines()[1:] for r in results)
