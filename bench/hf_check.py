#!/usr/bin/env python3
"""Checks transformers' models on a GPU: a small Llama with random weights generates the same tokens with a dense plan as with stock
attention, alone and in a padded batch, with dynamic and static caches, compiled and not; a JSON line each. It exits with 1 where one differs.

    PYTHONPATH=python/src MINFC_LIBRARY=.../libminfc.so python3 bench/hf_check.py
"""

import json
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import minfc

wrong = 0


def say(name, ok, **what):
    global wrong
    wrong += not ok
    print(json.dumps({"name": name, "ok": bool(ok), **what}), flush=True)


def small():
    torch.manual_seed(1)
    config = LlamaConfig(hidden_size=512, intermediate_size=512, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=2, vocab_size=512,
                         max_position_embeddings=8192, pad_token_id=0, bos_token_id=1, eos_token_id=None)
    with torch.device("cuda"):
        return LlamaForCausalLM(config).half().eval()


def batch(lengths):
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long, device="cuda")
    mask = torch.zeros_like(ids)
    for i, n in enumerate(lengths):
        ids[i, -n:], mask[i, -n:] = torch.randint(2, 512, (n,), device="cuda"), 1
    return {"input_ids": ids, "attention_mask": mask}


@torch.inference_mode()
def main():
    model = small()
    for name, lengths in (("alone", [700]), ("padded", [700, 300, 513])):
        inputs = batch(lengths)
        for cache in (None, "static"):
            for pattern, params in (("dense", {}), ("vertical_slash", {"vertical": 1000, "slash": 1000})):  # which keeps all
                stock = model.generate(**inputs, max_new_tokens=8, do_sample=False, cache_implementation=cache)
                minfc.install(model, pattern, fallback=False, **params)
                mine = model.generate(**inputs, max_new_tokens=8, do_sample=False, cache_implementation=cache)
                ran = str(minfc.report(model))
                minfc.uninstall(model)
                say(f"generate {name} {cache or 'dynamic'} {pattern}", torch.equal(stock, mine) and "minfc" in ran, tokens=mine[:, -8:].tolist()[0])
        want = model(**inputs, logits_to_keep=1).logits.float()
        minfc.install(model, "dense", fallback=False)
        got = model(**inputs, logits_to_keep=1).logits.float()
        minfc.uninstall(model)
        error = ((got - want).norm() / want.norm()).item()
        say(f"logits {name}", error < 1e-2, error=error)
    sys.exit(wrong > 0)


main()
