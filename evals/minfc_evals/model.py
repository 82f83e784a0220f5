"""Stage model: a GGUF file becomes a model of transformers, its tokenizer, and the text as token ids. GGUF is read by transformers, which uses
the package gguf: it names the tensors, takes the quantisation back, and undoes the order of rotary halves that GGUF keeps for Llama."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models

from . import text, toy
from .facts import SPLITS
from .settings import Settings
from .tokens import Tokens
from .work import Missing, Work

SENTENCE = (
    "The quick brown fox jumps over the lazy dog. The capital of France is Paris, and the capital of Germany is Berlin. Water boils at one hundred "
    "degrees, and it freezes at zero degrees."
)
NO_MERGE = -1000.0  # the score that GGUF files give special tokens and bytes
MOST_PERPLEXITY = 30.0  # of a sentence that every language model knows; weights that are read in the wrong order give thousands


def make_model(work: Work, settings: Settings) -> Path:
    """Stage model: FOLDER/model (safetensors), FOLDER/tokenizer.json and FOLDER/text (token ids of both splits)."""
    inputs = {"text": work.identity("text"), **({"toy": toy.CONFIG} if settings.toy else {"weights": work.identity("weights")})}

    def make(folder: Path) -> dict[str, Any]:
        tokenizer, model = _toy() if settings.toy else _gguf(work.root / "weights")
        tokenizer.save(str(folder / "tokenizer.json"))
        model.save_pretrained(folder / "model")
        tokens = Tokens.read(folder / "tokenizer.json")
        facts = {"perplexity": round(perplexity(model, tokens), 2), "words": len(tokens.words)}
        if not settings.toy and facts["perplexity"] > MOST_PERPLEXITY:
            raise ValueError(f"the model has a perplexity of {facts['perplexity']} on a plain sentence, want {MOST_PERPLEXITY} at most: its weights were not read right")
        facts["tokens"] = _write_books(folder, work.root / "text", tokens)
        return facts

    return work.stage("model", inputs, make)


def _toy() -> tuple[Tokenizer, Any]:
    tokenizer = toy.tokenizer()
    return tokenizer, toy.model(tokenizer.get_vocab_size())


def _gguf(folder: Path) -> tuple[Tokenizer, Any]:
    """A tokenizer, and a model in bfloat16."""
    try:
        import gguf  # noqa: F401
    except ImportError as e:
        raise Missing("the package gguf is not installed, which reads the weights: pip install -r evals/requirements.txt") from e
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = merged(AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf").backend_tokenizer, folder / "model.gguf")
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype=torch.float32)
    read.config.__dict__.pop("quantization_config", None)
    model = AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)  # one that transformers does not take for a quantised model
    model.load_state_dict(read.state_dict())
    return tokenizer, model.to(torch.bfloat16).eval()


def merged(tokenizer: Tokenizer, path: Path) -> Tokenizer:
    """The tokenizer with the merges that its scores say, where the GGUF file has scores and no merges, as SentencePiece vocabularies do: of two
    neighbours that make a token, the pair with the best token is merged first. (transformers 5.17 orders them otherwise for Gemma 3.)"""
    from gguf import GGUFReader

    fields = GGUFReader(path).fields
    if "tokenizer.ggml.merges" in fields or "tokenizer.ggml.scores" not in fields:
        return tokenizer
    tokens, scores = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores"))
    vocabulary = {token: i for i, token in enumerate(tokens)}
    pairs = [
        (-score, vocabulary[token[:cut]], vocabulary[token[cut:]])
        for token, score in zip(tokens, scores)
        if score != NO_MERGE
        for cut in range(1, len(token))
        if token[:cut] in vocabulary and token[cut:] in vocabulary
    ]
    merges = [(tokens[a], tokens[b]) for _, a, b in sorted(pairs)]
    tokenizer.model = models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    return tokenizer


def _write_books(folder: Path, texts: Path, tokens: Tokens) -> dict[str, dict[str, int]]:
    """Writes the token ids of both splits, and says how many each book has."""
    (folder / "text").mkdir()
    counts = {}
    for split in SPLITS:
        books = text.tokenized(texts, split, tokens)
        np.savez(folder / "text" / f"{split}.npz", **books)
        counts[split] = {name: len(ids) for name, ids in books.items()}
    return counts


@torch.no_grad()
def perplexity(model: Any, tokens: Tokens) -> float:
    """Of SENTENCE."""
    ids = torch.tensor([[*tokens.bos, *tokens.encode(SENTENCE)]], device=model.device)
    return math.exp(model(ids, labels=ids).loss.item())


def load(work: Work, device: str) -> tuple[Any, Tokens]:
    """The model to evaluate, the trained one where there is one, and its tokenizer."""
    from transformers import AutoModelForCausalLM

    work.manifest("model")
    folder = work.root / ("train" if (work.root / "train").exists() else "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.bfloat16, attn_implementation="sdpa")
    return model.to(device).eval(), Tokens.read(work.root / "model" / "tokenizer.json")


def identity(work: Work) -> str:
    """Which model load gives."""
    return work.identity("train" if (work.root / "train").exists() else "model")
