"""torch.compile of a model: minfc is in the graph, and nothing is traced anew for a count."""

import pytest
import torch

import minfc
from families import error, model, prompts

transformers = pytest.importorskip("transformers")

TOLERANCE = 4e-3  # see test_hf_families.py


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(m):
    """The model as graphs without a break. The backend runs them as they are: what is tested is the tracing."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    return torch.compile(m, fullgraph=True, dynamic=True, backend=backend), graphs


def cache(m):
    return transformers.DynamicCache(config=m.config)


def test_prompts_with_a_cache_run_in_one_graph():
    m = model()
    want = m(prompts()).logits
    minfc.install(m, "dense")
    run, graphs = compiled(m)
    for _ in range(2):
        assert error(run(prompts(), past_key_values=cache(m)).logits, want) < TOLERANCE
    for tokens in (170, 300):
        run(prompts(tokens=tokens), past_key_values=cache(m))
    assert len(graphs) == 1
    assert sum(node.target is torch.ops.minfc.attention.default for node in graphs[0].graph.nodes) == 2
    assert minfc.report(m).total == {("minfc, compiled", "prompt"): 2}


def test_what_a_graph_cannot_know_is_stock():
    """Padding is data and a chunk's offset would be, so graphs of these have sdpa: right, and in the report."""
    m = model()
    ids = prompts()
    mask = torch.ones_like(ids)
    mask[:, :40] = 0
    want = m(ids, attention_mask=mask, past_key_values=cache(m)).logits
    minfc.install(m, "dense")
    run, _ = compiled(m)
    got = run(ids, attention_mask=mask, past_key_values=cache(m)).logits
    assert error(got[:, 40:], want[:, 40:]) < TOLERANCE
    assert minfc.report(m, clear=True).total == {("stock, compiled", "a mask of a graph that is compiled"): 2}

    whole = m(ids).logits
    minfc.report(m, clear=True)
    held = cache(m)
    got = torch.cat([run(chunk, past_key_values=held).logits for chunk in ids.split([130, 120], 1)], 1)
    assert error(got, whole) < TOLERANCE
    assert ("stock, compiled", "a mask of a graph that is compiled") in minfc.report(m).total


def test_a_static_cache_in_a_graph_is_stock():
    """Its offset lies on the device. generate makes the mask outside of the graph, where it is spans."""
    m = model()
    ids = prompts()
    want = m(ids).logits
    minfc.install(m, "dense")
    held = transformers.StaticCache(config=m.config, max_cache_len=400)
    held.early_initialization(1, m.config.num_key_value_heads, 16, torch.float16, torch.device("cpu"))
    inputs = m.prepare_inputs_for_generation(ids, past_key_values=held, attention_mask=torch.ones_like(ids))
    run, _ = compiled(m)
    assert error(run(**inputs).logits, want) < TOLERANCE
    assert minfc.report(m).total == {("stock, compiled", "offsets of a graph that is compiled"): 2}


def test_decoding_over_a_static_cache_is_one_graph():
    """What generate compiles on a GPU: stock attention in one graph for all steps, with the tokens of generate."""
    m = minfc.install(model(), "dense")
    ids = prompts()
    want = m.generate(ids, max_new_tokens=5, do_sample=False, cache_implementation="static")
    minfc.report(m, clear=True)
    held = transformers.StaticCache(config=m.config, max_cache_len=400)
    run, graphs = compiled(m)
    step, new = m, {}
    while ids.shape[1] < want.shape[1]:
        inputs = m.prepare_inputs_for_generation(ids, past_key_values=held, attention_mask=torch.ones_like(ids), **new)
        ids = torch.cat([ids, step(**inputs).logits[:, -1:].argmax(-1)], 1)
        step, new = run, {"next_sequence_length": 1}
    assert torch.equal(ids, want)
    assert len(graphs) == 1
    assert minfc.report(m).total == {("minfc", "prompt"): 2, ("stock, compiled", "one query"): 2}


def test_install_comes_before_compile():
    m = model()
    m.set_attn_implementation("minfc")
    run, _ = compiled(m)
    with pytest.raises(Exception, match=r"call minfc.install\(model\) before torch.compile"):
        run(prompts(), past_key_values=cache(m))
