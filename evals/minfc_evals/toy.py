"""The toy size: a tiny model with random weights, a small tokenizer, the project's own pages as text. It runs on the emulator in CI.

Nothing is learned, so the toy answers nothing: what it shows is that each stage runs and that a plan which keeps everything changes nothing.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

PAGES = Path(__file__).resolve().parents[2] / "docs"
VOCABULARY = 1536
CONFIG = dict(
    hidden_size=64,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=1024,
    initializer_range=0.3,  # so that attention and logits are far from even
    tie_word_embeddings=True,
    bos_token_id=None,
    eos_token_id=None,
    pad_token_id=None,
)


def pages() -> dict[str, str]:
    """The text of the project's pages, by name. Raises FileNotFoundError outside of a clone."""
    found = {p.stem: p.read_text(encoding="utf-8") for p in sorted(PAGES.glob("*.md")) if p.stem != "accuracy"}
    if not found:
        raise FileNotFoundError(f"{PAGES} has no pages: --toy takes them as text, so it runs in a clone of minfc")
    return found


def tokenizer(texts: dict[str, str]) -> Tokenizer:
    """A byte-level BPE tokenizer of VOCABULARY tokens, as SmolLM2's is, trained on texts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(texts.values(), trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=sorted(alphabet), show_progress=False))
    return made


def model(vocabulary: int) -> LlamaForCausalLM:
    """A model of two layers of four heads, bfloat16, always the same."""
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **CONFIG)).to(torch.bfloat16).eval()
