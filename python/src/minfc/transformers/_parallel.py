"""Tensor parallelism of transformers: which heads of a layer this process computes, and the plan of these (docs/parallel.md)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import torch

from .._plan import Plan

_PROJECTIONS = {"q_proj", "k_proj", "v_proj"}
_SPLIT = ("colwise", "packed_colwise")  # styles of a projection of which each rank computes a part of the outputs, and keeps it to itself
_BEFORE = "minfc_before"  # attribute of a module: what give_whole_kv_head replaced


@dataclass(frozen=True)
class RankHeads:
    """The heads of a layer that this process computes: as rank of world processes it has q_heads query heads of the model from q_from on, and
    kv_heads kv heads from kv_from on. sharers is how many ranks have these kv heads: above 1 where a model has fewer kv heads than ranks."""

    rank: int
    world: int
    q_from: int
    q_heads: int
    kv_from: int
    kv_heads: int
    sharers: int = 1

    def __str__(self) -> str:
        q, kv = _range(self.q_from, self.q_heads), _range(self.kv_from, self.kv_heads)
        return f"rank {self.rank} of {self.world}: query heads {q}, kv heads {kv}"


def _range(first: int, n: int) -> str:
    return f"{first}-{first + n - 1}" if n > 1 else str(first)


def heads_of(model: Any, modules: list[Any]) -> list[RankHeads]:
    """The heads that this process computes in each attention module of a model: all of them unless the model was loaded with a tp_plan that
    splits them. Raises ValueError where the heads do not divide, and for a split that minfc cannot tell heads of."""
    world = getattr(model, "_tp_size", None) or 1
    rank = 0
    if world > 1:
        mesh = model._device_mesh
        rank = (mesh["tp"] if mesh.ndim > 1 else mesh).get_local_rank()
    names = {module: name for name, module in model.named_modules()}
    return [_heads_of(m, rank, world if world > 1 and _is_split(m, names[m], model.tp_plan) else 1) for m in modules]


def _heads_of(module: Any, rank: int, world: int) -> RankHeads:
    q, kv = module.config.num_attention_heads, kv_heads(module)
    if world == 1:
        return RankHeads(0, 1, 0, q, 0, kv)
    name = type(module).__name__
    if q % world:
        raise ValueError(
            f"{name} has {q} query heads, which do not divide among {world} ranks: load the model on a number of ranks that divides {q}"
        )
    if kv % world and world % kv:
        raise ValueError(
            f"{name} has {kv} kv heads, which {world} ranks can neither divide nor share: load the model on a number of ranks that "
            f"divides {kv} or is a multiple of it"
        )
    heads = RankHeads(rank, world, rank * q // world, q // world, rank * kv // world, max(kv // world, 1), max(world // kv, 1))
    if heads.sharers > 1 and not hasattr(module, _BEFORE) and not all(hasattr(part, "full_tensor") for _, _, part in _parts(module)):
        raise ValueError(
            f"{name} has {kv} kv heads, which {world} ranks have to share, and its weights are quantised, so that minfc cannot make whole kv "
            f"heads of their parts: load the model on {kv} ranks, or not quantised"
        )
    return heads


def kv_heads(module: Any) -> int:
    """The kv heads of a layer in the model, on all ranks together."""
    config = module.config
    return getattr(config, "num_key_value_heads", None) or config.num_attention_heads


def _is_split(module: Any, name: str, tp_plan: dict[str, str]) -> bool:
    """Whether each rank computes some of a module's heads, by the styles of its projections in the tp_plan of transformers."""
    generic = re.sub(r"\.\d+(?=\.|$)", ".*", name)
    split = {child for child, _ in module.named_children() if tp_plan.get(f"{generic}.{child}") in _SPLIT}
    if hasattr(module, "q_proj"):
        split &= _PROJECTIONS
    if split and split != _PROJECTIONS:
        raise ValueError(
            f"the tp_plan splits {', '.join(sorted(split))} of {type(module).__name__} among ranks, and minfc can tell which heads a rank has "
            'where q_proj, k_proj and v_proj are all "colwise", or none of them is'
        )
    return bool(split)


def own_specs(specs: dict[int, str], heads: dict[int, RankHeads]) -> dict[int, str]:
    """Specs of layers with the head plans among them cut to the heads of this process; a plan that already is for these heads stays as it
    is, told by the number of heads that it says it has. Raises ValueError for a plan of other heads."""
    known: dict[tuple[str, RankHeads], str] = {}
    for index, spec in specs.items():
        key = (spec, heads[index])
        if key not in known:
            known[key] = _own_spec(index, *key)
    return {index: known[spec, heads[index]] for index, spec in specs.items()}


def _own_spec(index: int, spec: str, heads: RankHeads) -> str:
    said = json.loads(spec)
    plan = said.get("plan")
    if plan is None or heads.world == 1:
        return spec
    if isinstance(plan, dict) and plan.get("heads") == heads.q_heads:
        first = plan.get("heads_from", 0)
        if first != heads.q_from:
            raise ValueError(
                f"layer {index} of the plan is for query heads {_range(first, heads.q_heads)} of the model, and this is {heads}: give "
                f"install the whole plan, or plan.shard({heads.rank}, {heads.world})"
            )
        return spec
    return Plan(plan).shard(heads.rank, heads.world, heads=heads.q_heads * heads.world).layer(said["layer"]).spec


def _parts(module: Any) -> list[tuple[Any, str, Any]]:
    """The parameters of k_proj and v_proj, as projection, name and value."""
    return [(x, name, part) for x in (module.k_proj, module.v_proj) for name, part in x.named_parameters(recurse=False)]


def give_whole_kv_head(module: Any, heads: RankHeads, head_dim: int) -> None:
    """Makes k_proj and v_proj of a module compute the kv head that goes with this rank's query heads, where ranks share kv heads.

    transformers splits the rows of these weights evenly, so that a rank has a part of a kv head and the model cannot run. Every rank must
    call this: the parts are gathered, once. take_back undoes it.
    """
    if heads.sharers == 1 or hasattr(module, _BEFORE):
        return
    parts = _parts(module)
    first, end = (n * head_dim for n in (heads.kv_from, heads.kv_from + heads.kv_heads))
    for projection, name, part in parts:
        projection._parameters[name] = torch.nn.Parameter(part.detach().full_tensor()[first:end].clone(), requires_grad=False)
    setattr(module, _BEFORE, (parts, module.num_key_value_groups))
    module.num_key_value_groups = heads.q_heads // heads.kv_heads


def take_back(module: Any) -> None:
    """Gives a module the parts of its weights back that give_whole_kv_head replaced."""
    parts, groups = module.__dict__.pop(_BEFORE, ((), None))
    for projection, name, part in parts:
        projection._parameters[name] = part
    if parts:
        module.num_key_value_groups = groups
