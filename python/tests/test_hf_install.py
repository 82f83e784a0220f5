"""install, uninstall, report: what is refused, what is given back, what is counted."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch

import families
import minfc
from families import PROMPT, error, model, padded, prompts

transformers = pytest.importorskip("transformers")

TOLERANCE = 4e-3  # see test_hf_families.py


def test_import_minfc_does_not_import_transformers():
    code = "import minfc, sys; assert 'transformers' not in sys.modules; minfc.install; assert 'transformers' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_transformers_it_says_what_to_install():
    code = "import sys; sys.modules['transformers'] = None; import minfc; minfc.install"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'transformers>=5.17'" in done.stderr


def test_uninstall_gives_back_what_there_was():
    for before in ("sdpa", "eager"):
        m = model()
        m.set_attn_implementation(before)
        want = m(prompts()).logits
        minfc.install(minfc.install(m, "dense"), "sliding", window=5)  # the second one takes the place of the first
        assert m.config._attn_implementation == "minfc"
        assert error(m(prompts()).logits, want) > 10 * TOLERANCE
        assert minfc.uninstall(m) is m
        assert m.config._attn_implementation == before
        assert torch.equal(m(prompts()).logits, want)
        with pytest.raises(ValueError, match="minfc is not installed in this LlamaForCausalLM"):
            minfc.uninstall(m)
        with pytest.raises(ValueError, match="no layer of this LlamaForCausalLM has run or installed minfc"):
            minfc.report(m)


def test_report_counts_and_says_why():
    m = minfc.install(model(), "dense")
    assert str(minfc.report(m)) == "no attention has run yet"
    cache = transformers.DynamicCache(config=m.config)
    m(prompts(), past_key_values=cache)
    m(prompts(tokens=30), past_key_values=cache)
    m(prompts(tokens=1), past_key_values=cache)
    ids, mask = padded([PROMPT, 200])
    m(ids, attention_mask=mask)
    m(ids, position_ids=torch.cat([torch.arange(100), torch.arange(150)])[None], use_cache=False)  # two sequences in one row
    m(ids, attention_mask=torch.ones(2, 1, PROMPT, PROMPT, dtype=torch.bool).tril())
    r = minfc.report(m, clear=True)
    packed = "a mask that is not causal with padding: causal_mask_function, packed_sequence_mask_function"
    assert r.total == {
        ("minfc", "prompt"): 2,
        ("minfc", "prompt, padded batch"): 2,
        ("stock", "fewer than 128 queries"): 2,
        ("stock", "one query"): 2,
        ("stock", packed): 2,
        ("stock", "a mask of its own"): 2,
    }
    assert r.calls("minfc") == 4 and r.calls("stock") == 8
    assert [layer.pattern for layer in r.layers] == ["dense", "dense"]
    assert str(r).splitlines()[:2] == ["layers  where  calls  why", "0-1     minfc  2      prompt"]
    assert minfc.report(m).total == {}


def test_recall_says_what_heads_kept():
    m = minfc.install(model(), "a_shape", sink=1, window=20, recall=1000)  # all rows
    m(prompts())
    first = minfc.report(m).layers[0].kept
    m(prompts(tokens=PROMPT))
    r = minfc.report(m, clear=True)
    heads = m.config.num_attention_heads
    assert all(len(layer.kept) == heads and all(0.02 < share < 0.9 for share in layer.kept) for layer in r.layers)
    assert first == pytest.approx(r.layers[0].kept, abs=0.2), "the mean of two calls, not their sum"
    lines = str(r).splitlines()
    assert lines[2].startswith("layer 0 kept ") and " of the attention, least " in lines[2] and lines[3].startswith("layer 1 kept ")
    assert minfc.report(m).layers[0].kept is None
    for pattern in ("dense", "full"):
        m(prompts()), minfc.install(m, pattern, recall=64)
        m(prompts())
        assert minfc.report(m).layers[1].kept == pytest.approx((1,) * heads, abs=1e-3)
    assert minfc.install(m, "dense") and m(prompts()) and minfc.report(m).layers[0].kept is None, "nobody asked"
    with pytest.raises(ValueError, match="recall is -1"):
        minfc.install(m, "dense", recall=-1)


def test_other_calls_are_stock_calls():
    """What minfc leaves to sdpa has stock logits: packed sequences, masks of the caller's own, short prompts."""
    m = model()
    ids = prompts(2)
    calls = [
        ((ids,), dict(position_ids=torch.cat([torch.arange(100), torch.arange(150)])[None], use_cache=False)),
        ((ids,), dict(attention_mask=(torch.rand(2, 1, PROMPT, PROMPT) < 0.5).tril() | torch.eye(PROMPT, dtype=torch.bool))),
        ((ids[:, :100],), {}),
        ((ids,), dict(attention_mask=(torch.arange(PROMPT) % 9 > 0).expand(2, -1).long())),
    ]
    want = [m(*a, **k).logits for a, k in calls]
    minfc.install(m, "sliding", window=2)
    for (a, k), w in zip(calls, want):
        assert torch.equal(m(*a, **k).logits, w)
    assert minfc.report(m).calls("minfc") == 0


def test_a_short_chunk_has_the_mask_of_its_place():
    m = model()
    ids = prompts()
    want = m(ids).logits
    minfc.install(m, "dense")
    cache = transformers.DynamicCache(config=m.config)
    got = torch.cat([m(chunk, past_key_values=cache).logits for chunk in ids.split([200, 50], 1)], 1)
    assert error(got, want) < TOLERANCE
    assert minfc.report(m).total == {("minfc", "prompt"): 2, ("stock", "fewer than 128 queries"): 2}


def test_min_queries():
    m = minfc.install(model(), "dense", min_queries=20)
    m(prompts(tokens=20))
    assert minfc.report(m).calls("minfc") == 2


def test_training_is_an_error():
    m = minfc.install(model(), "dense")
    with torch.enable_grad(), pytest.raises(RuntimeError, match="inference only: call the model under torch.no_grad"):
        m(prompts())


def test_weights_of_attention_are_an_error():
    m = minfc.install(model(), "dense")
    with pytest.raises(ValueError, match="output_attentions"):
        m(prompts(), output_attentions=True)


def test_copies_count_for_themselves():
    m = minfc.install(model(), "dense")
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        other(prompts())
        assert minfc.report(other).calls("minfc") == 2
    assert minfc.report(m).calls("minfc") == 0


BAD_PLANS = [
    (minfc.Plan([{}]), {}, ValueError, "the plan has 1 layers and LlamaAttention's model has 2"),
    ([{}, {"4": ["stream_llm", 1, 9, 1]}], {}, ValueError, "layer 1 of the plan has head 4, and the model has heads 0 to 3"),
    ([{}, {}], {"window": 3}, ValueError, "goes without window"),
    ("vertical_slsh", {}, ValueError, 'the library has no pattern "vertical_slsh"'),
    ("a_shape", {"windw": 3}, ValueError, "windw"),
    ([{}, {"0": {"pattern": "dense"}}], {}, ValueError, "layer 1, head 0: found an object, want a list"),
    (3, {}, TypeError, "plan is int"),
    (["dense"], {}, ValueError, "the plan has 1 layers"),
    ("no/such/plan.json", {}, FileNotFoundError, "no/such/plan.json"),
]


@pytest.mark.parametrize("plan, params, kind, words", BAD_PLANS, ids=[b[3] for b in BAD_PLANS])
def test_bad_plans_are_told_at_install(plan, params, kind, words):
    m = model()
    with pytest.raises(kind, match=words):
        minfc.install(m, plan, **params)
    assert m.config._attn_implementation == "sdpa"  # nothing was changed


def test_models_that_cannot_are_refused_by_name():
    with pytest.raises(ValueError, match="computes in torch.float32.*model.to"):
        minfc.install(model(dtype=torch.float32), "dense")
    with pytest.raises(ValueError, match="head dim of 8, want a multiple of 16"):
        minfc.install(model("Qwen3", head_dim=8), "dense")
    with pytest.raises(ValueError, match="Linear is no model of transformers"):
        minfc.install(torch.nn.Linear(2, 2), "dense")
    with torch.device("meta"), pytest.raises(ValueError, match="no weights yet"):
        minfc.install(model(), "dense")
    small = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    bert = transformers.BertModel(transformers.BertConfig(**small)).half()
    with pytest.raises(ValueError, match="BertModel has no attention|attends both ways"):
        minfc.install(bert, "dense")
    oss = transformers.GptOssConfig(**small, num_key_value_heads=1, head_dim=16, num_local_experts=2, num_experts_per_tok=1)
    with pytest.raises(ValueError, match="GptOssAttention has sink logits"):
        minfc.install(transformers.GptOssForCausalLM(oss).half(), "dense")


def test_shared_keys_are_refused_by_name():
    m = model()
    m.config.num_kv_shared_layers = 1
    with pytest.raises(ValueError, match="LlamaAttention: layers share keys and values"):
        minfc.install(m, "dense")


def test_a_plan_wants_the_heads_that_install_found():
    """A model that is split among ranks by other means than transformers gives a module some of the heads, and which ones is not known."""
    from minfc.transformers._forward import attention_forward

    m = minfc.install(model(), [{}, {}])
    x = torch.randn(1, 2, PROMPT, 16).half()
    with pytest.raises(ValueError, match="a call with 2 query heads of a layer where minfc.install found 4: split a model"):
        attention_forward(m.model.layers[1].self_attn, x, x[:, :1], x[:, :1], None)
    minfc.install(m, "dense")
    attention_forward(m.model.layers[1].self_attn, x, x[:, :1], x[:, :1], None)


def test_a_composite_model_runs_its_decoder():
    """The decoder of an image model has a configuration of its own; the tower that sees images keeps its attention."""
    text = {**families.COMMON, **families.FAMILIES["Gemma3"], "vocab_size": 300}
    tower = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=28, patch_size=14)
    config = transformers.Gemma3Config(
        text_config=text, vision_config=tower, mm_tokens_per_image=4, image_token_index=299, boi_token_index=298, eoi_token_index=297
    )
    torch.manual_seed(0)
    m = transformers.Gemma3ForConditionalGeneration(config).half().eval()
    m.set_attn_implementation("sdpa")
    want = m(prompts()).logits
    minfc.install(m, "dense")
    assert (config.text_config._attn_implementation, config.vision_config._attn_implementation) == ("minfc", "sdpa")
    assert error(m(prompts()).logits, want) < TOLERANCE
    assert minfc.report(m).calls("minfc") == 2
    minfc.uninstall(m)
    assert config.text_config._attn_implementation == "sdpa"


def test_a_decoder_without_a_head_runs():
    m = model().model
    want = m(prompts()).last_hidden_state
    assert error(minfc.install(m, "dense")(prompts()).last_hidden_state, want) < TOLERANCE


def test_prompts_compile_nothing(monkeypatch):
    """All that a prompt may run is there after install, windows included."""
    from minfc import _calls

    window = 73  # of no other test: what was compiled stays
    m = minfc.install(model("Mistral", sliding_window=window), "a_shape", sink=2, window=33, min_queries=2)

    def never(*_):
        raise AssertionError("a prompt compiles")

    monkeypatch.setattr(_calls, "Attention", never)
    m(prompts())
    m(prompts(tokens=window))
    with pytest.raises(AssertionError, match="a prompt compiles"):
        minfc.install(m, "a_shape", sink=2, window=34)
