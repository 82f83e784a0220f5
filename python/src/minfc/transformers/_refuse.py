"""What minfc does not compute, told by a module or its configuration before anything runs."""

from __future__ import annotations

from typing import Any

import torch

_LARGEST = 256
_STEP = 16


def refuse(module: torch.nn.Module) -> None:
    """Raises ValueError, by name, where minfc cannot compute an attention module, whatever the call."""
    config: Any = getattr(module, "config", None)
    name = type(module).__name__
    cap = getattr(module, "attn_logit_softcapping", None) or getattr(config, "attn_logit_softcapping", None)
    if cap:
        raise ValueError(f"{name} caps its scores (attn_logit_softcapping={cap}), which minfc does not compute: keep its own attention")
    if getattr(module, "sinks", None) is not None:
        raise ValueError(f"{name} has sink logits (sinks), which minfc does not compute: keep its own attention")
    if getattr(config, "num_kv_shared_layers", 0):
        raise ValueError(f"{name}: layers share keys and values (num_kv_shared_layers), which minfc does not support: keep its own attention")
    if getattr(module, "is_causal", True) is False:
        raise ValueError(f"{name} attends both ways (is_causal=False), and minfc computes causal attention: keep its own attention")
    dim, v_dim = head_dims(module)
    if dim % _STEP or not 0 < dim <= _LARGEST:
        raise ValueError(f"{name} has a head dim of {dim}, want a multiple of {_STEP} up to {_LARGEST}")
    if v_dim != dim:
        raise ValueError(f"{name} has a head dim of {dim} for keys and {v_dim} for values, and minfc wants one for both")


def head_dims(module: torch.nn.Module) -> tuple[int, int]:
    """The head dims of keys and values."""
    dim = getattr(module, "qk_head_dim", None) or getattr(module, "head_dim", None)
    if dim is None:
        config: Any = module.config
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return dim, getattr(module, "v_head_dim", None) or dim
