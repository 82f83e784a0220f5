#!/usr/bin/env python3
"""A faster prefill of a Hugging Face model, in five lines: import minfc, load, install, generate, look at what ran.

    python examples/hf_generate.py meta-llama/Llama-3.1-8B-Instruct --plan plan.json --prompt book.txt
    python examples/hf_generate.py --tiny        # a small model with random weights on the emulator: no GPU, no download

The plan is minfc's JSON or MInference's (docs/plans.md); without one all heads run vertical_slash with 1000 columns and 6096 diagonals.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

import minfc


def main():
    args = parsed()
    if args.tiny:
        model, inputs, tokenizer = tiny()
    else:
        tokenizer = AutoTokenizer.from_pretrained(args.model)
        model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16, device_map="cuda")
        inputs = tokenizer(Path(args.prompt).read_text(), return_tensors="pt").to(model.device)

    minfc.install(model, args.plan)  # the one line that the program has more
    output = model.generate(**inputs, max_new_tokens=args.new_tokens, do_sample=False)

    new = output[0, inputs["input_ids"].shape[1] :]
    print(tokenizer.decode(new) if tokenizer else new.tolist())
    print(minfc.report(model))  # which layers ran on minfc, which calls did not, and why


def tiny():
    """A model of two layers with random weights, and a prompt of random tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128, hidden_size=128, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        pad_token_id=0, eos_token_id=None,
    )  # fmt: skip
    ids = torch.randint(1, 128, (1, 300))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    return model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, None


def parsed():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model", nargs="?", help="name at the Hub, or folder")
    p.add_argument("--plan", default="vertical_slash", help="file of a head plan, or the name of a pattern (default: vertical_slash)")
    p.add_argument("--prompt", help="text file")
    p.add_argument("--new-tokens", type=int, default=32)
    p.add_argument("--tiny", action="store_true", help="a small model with random weights on the emulator")
    args = p.parse_args()
    if not args.tiny and not (args.model and args.prompt):
        p.error("want a model and --prompt FILE, or --tiny")
    return args


if __name__ == "__main__":
    main()
