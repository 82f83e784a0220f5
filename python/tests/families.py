"""Model classes of transformers at small size, with random weights."""

import torch
import transformers

PROMPT = 250  # tokens; two row tiles of the kernels, the second one cut
WINDOW = 80  # of sliding layers
VOCAB = 128

COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.3,  # so that attention and logits are far from even
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
    "attention_dropout": 0.0,
}

FAMILIES = {
    "Llama": {},
    "Qwen2": {},
    "Qwen3": {"head_dim": 32},
    "Phi3": {},
    "Glm4": {"head_dim": 16},
    "Mistral": {"sliding_window": WINDOW, "head_dim": 32},
    "Gemma3": {
        "sliding_window": WINDOW,
        "head_dim": 32,
        "query_pre_attn_scalar": 20,  # not the head dim: the scale is the module's
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "Gemma2": {"head_dim": 32, "sliding_window": WINDOW},
}


def model(family="Llama", dtype=torch.float16, seed=0, **settings):
    """A model of a family, for inference."""
    name = "Gemma3Text" if family == "Gemma3" else family
    config = getattr(transformers, name + "Config")(**{**COMMON, **FAMILIES[family], **settings})
    torch.manual_seed(seed)
    made = getattr(transformers, family + "ForCausalLM")(config).to(dtype).eval()
    made.set_attn_implementation("sdpa")
    return made


def prompts(batch=1, tokens=PROMPT, seed=1):
    """Token numbers [batch, tokens] without the pad token."""
    return torch.randint(1, VOCAB, (batch, tokens), generator=torch.Generator().manual_seed(seed))


def padded(lengths, side="left", seed=1):
    """Prompts of several lengths in one batch: token numbers and the attention mask, both [batch, longest]."""
    longest = max(lengths)
    ids, mask = prompts(len(lengths), longest, seed), torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, n in zip(mask, lengths):
        row[longest - n :] = 1 if side == "left" else row[longest - n :]
        row[:n] = 1 if side == "right" else row[:n]
    return ids * mask, mask


def error(got, want):
    """The relative norm of a difference."""
    return ((got.double() - want.double()).norm() / want.double().norm()).item()
