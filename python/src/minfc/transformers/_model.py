"""install and uninstall: which modules of a model attend, what each of them runs, and what cannot be."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Mapping, Sequence, TypeVar, Union

import torch

from .._attention import compile
from .._plan import Layer as PlanLayer
from .._plan import Plan
from .._spec import Pattern, spec_of
from ._layers import DEFAULT, MIN_QUERIES, Layer, window_of
from ._parallel import RankHeads, give_whole_kv_head, heads_of, own_specs, take_back
from ._refuse import head_dims, refuse

NAME = "minfc"  # of the attention implementation

Model = TypeVar("Model", bound=torch.nn.Module)
What = Union[Plan, Pattern, "os.PathLike[str]", Mapping[str, Any], Sequence[Any]]

_TYPES = (torch.bfloat16, torch.float16)


def install(model: Model, plan: What = DEFAULT, *, min_queries: int = MIN_QUERIES, fallback: bool = True, recall: int = 0, **params: int) -> Model:
    """Makes a model's layers run minfc, and returns the model.

    plan         a minfc.Plan, or its file, JSON or list, minfc's or MInference's; or a pattern for all layers: a name, a source text, a
                 spec; or a list of patterns and plan layers, one a layer.
    params       of a pattern: vertical=1000, slash=6096.
    min_queries  prompts and chunks of fewer rows run on transformers' sdpa: rows of one tile of the Hopper kernel unless given.
    fallback     False keeps heads sparse where dense attention is predicted to be faster.
    recall       how many query rows of each head to look at in each prompt or chunk, so that minfc.report says what share of the attention
                 heads kept: 64 are counted to cost 0.2 ms of an H200 for 32 heads at 128K tokens (docs/recall.md). 0: none.

    Layers with a sliding window run it by the pattern "sliding" where it leaves out keys, else as the plan says. Everything is compiled
    here, so that no prompt waits. What cannot run minfc (a mask of its own, a single query, ...) runs on sdpa and is counted with its
    reason: minfc.report. In a model that was loaded with a tp_plan, each rank installs the plan of all heads, and runs it for its own.
    Raises ValueError where the plan does not fit the model or the model does something that minfc does not compute.
    """
    if recall < 0:
        raise ValueError(f"recall is {recall}, want how many rows of each head to look at, or 0 for none")
    modules = _attending(model)
    patterns = _patterns(plan, params, modules)
    for module in modules:
        refuse(module)
    specs = {index: spec_of(pattern, params if isinstance(pattern, str) else None) for index, pattern in patterns.items()}
    _check_heads(specs, modules)
    heads = {m.layer_idx: own for m, own in zip(modules, heads_of(model, modules))}
    specs = own_specs(specs, heads)
    _compile_all(modules, specs, heads)
    _switch(model, modules)
    for module in modules:
        index, own = module.layer_idx, heads[module.layer_idx]
        give_whole_kv_head(module, own, head_dims(module)[0])
        module.minfc_layer = Layer(specs[index], min_queries, fallback, own, isinstance(patterns[index], PlanLayer), recall)
    return model


def uninstall(model: Model) -> Model:
    """Gives a model the attention back that it had before install, and returns it. Raises ValueError if minfc is not installed in it."""
    before = model.__dict__.pop("_minfc_before", None)
    if before is None:
        raise ValueError(f"minfc is not installed in this {type(model).__name__}")
    model.set_attn_implementation(before)  # type: ignore[operator]
    for module in model.modules():
        module.__dict__.pop("minfc_layer", None)
        take_back(module)
    return model


def _attending(model: torch.nn.Module) -> list[Any]:
    """The modules of a decoder that attend, by their layers."""
    if not hasattr(model, "set_attn_implementation"):
        raise ValueError(f"{type(model).__name__} is no model of transformers")
    config = _text_config(model)
    found = [
        m
        for m in model.modules()
        if isinstance(getattr(m, "layer_idx", None), int) and hasattr(m, "is_causal") and getattr(m, "config", None) is config
    ]
    if not found or not model._can_set_attn_implementation():  # type: ignore[operator]
        raise ValueError(
            f"{type(model).__name__} has no attention that transformers lets another implementation compute (AttentionInterface): minfc "
            "works in models such as Llama, Qwen2, Qwen3, Mistral, Phi-3, GLM-4, Gemma 3"
        )
    return sorted(found, key=lambda m: m.layer_idx)


def _text_config(model: Any) -> Any:
    return model.config.get_text_config(decoder=True)


def _patterns(plan: What, params: dict[str, int], modules: list[Any]) -> dict[int, Pattern]:
    """The pattern of each layer that attends, by its index."""
    want = modules[0].config.num_hidden_layers
    what = _plan_of(plan)
    if isinstance(what, (str, PlanLayer)):
        return {m.layer_idx: what for m in modules}
    if isinstance(what, Plan) and params:
        raise ValueError(f"a plan has the parameters of its heads, so it goes without {', '.join(params)}")
    layers = list(what)
    if len(layers) != want:
        raise ValueError(f"the plan has {len(layers)} layers and {type(modules[0]).__name__}'s model has {want}: use the plan of this model")
    return {m.layer_idx: layers[m.layer_idx] for m in modules}


def _plan_of(plan: What) -> Plan | Pattern | Sequence[Pattern]:
    """A plan where it is one or the text or file of one, else a pattern or a list of them."""
    if isinstance(plan, (Plan, PlanLayer)):
        return plan
    if isinstance(plan, str):
        text = plan.lstrip()
        if text.startswith("[") or text.startswith("{") and "layers" in json.loads(text) or plan.endswith(".json"):
            return Plan(plan)
        return plan
    if isinstance(plan, (os.PathLike, Mapping)) or isinstance(plan, Sequence) and all(isinstance(x, Mapping) for x in plan):
        return Plan(plan)
    if isinstance(plan, Sequence) and all(isinstance(x, (str, PlanLayer)) for x in plan):
        return plan
    raise TypeError(f"plan is {type(plan).__name__}, want a minfc.Plan or what makes one, a pattern, or a list of patterns")


def _check_heads(specs: dict[int, str], modules: list[Any]) -> None:
    """Refuses a plan with heads that the model does not have. The library would, too, but knows no layers."""
    have = modules[0].config.num_attention_heads
    for index, spec in specs.items():
        plan = json.loads(spec).get("plan")
        if plan is None:
            continue
        layer = (plan if isinstance(plan, list) else plan["layers"])[0]
        beyond = [name for name in layer if name.isdecimal() and int(name) >= have]
        if beyond:
            raise ValueError(f"layer {index} of the plan has head {beyond[0]}, and the model has heads 0 to {have - 1}: use the plan of this model")


def _compile_all(modules: list[Any], specs: Mapping[int, str], heads: Mapping[int, RankHeads]) -> None:
    """Compiles what the layers may run, side by side: layers whose heads have other patterns are other kernels, and a GPU's driver takes seconds for
    each where it has not seen them. Raises the error of the first layer that has one."""
    with ThreadPoolExecutor(max_workers=max(1, min(len(modules), os.cpu_count() or 1, 16))) as pool:
        for done in [pool.submit(_compile, m, specs[m.layer_idx], heads[m.layer_idx]) for m in modules]:
            done.result()


def _compile(module: Any, spec: str, own: RankHeads) -> None:
    """Compiles what a layer may run. Raises ValueError for a type that no kernel has."""
    weight = next(module.parameters())
    if weight.is_meta:
        raise ValueError("the model has no weights yet (meta device): install minfc in a loaded model")
    dtype = weight.dtype if weight.is_floating_point() and weight.dtype.itemsize > 1 else module.config.dtype  # quantised weights
    if dtype not in _TYPES:
        raise ValueError(f"the model computes in {dtype}, want torch.bfloat16 or torch.float16: model.to(torch.bfloat16)")
    heads = {
        "q_heads": own.q_heads,
        "kv_heads": own.kv_heads,
        "head_dim": head_dims(module)[0],
        "dtype": dtype,
        "device": weight.device,
    }
    compile(spec, **heads)
    window = window_of(module)
    if window:
        compile("sliding", window=window, **heads)


def _switch(model: Any, modules: list[Any]) -> None:
    """Sets the implementation of the decoder, and remembers what there was."""
    config = modules[0].config
    key = next((k for k in getattr(model.config, "sub_configs", {}) if getattr(model.config, k, None) is config), "")
    before = config._attn_implementation
    if before != NAME or "_minfc_before" not in model.__dict__:
        model.__dict__["_minfc_before"] = {key: "sdpa" if before == NAME else before}
    model.set_attn_implementation({key: NAME})
