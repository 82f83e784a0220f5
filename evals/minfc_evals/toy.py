"""The toy size: a tiny model with random weights, a small tokenizer, random words as text. It runs on the emulator in CI.

Nothing is learned, so the toy answers nothing: what it shows is that each stage runs and that a plan which keeps everything changes nothing.
"""

from __future__ import annotations

import random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from .tasks import INTRO, WORDS_INTRO, _ask

VOCABULARY = 1024
SENTENCES = 1500  # a book
WORDS = """
about above across action after again against agree alone along already always among anger answer apple arrive autumn basket battle beauty before begin
behind believe below between beyond border bottle branch bread breath bridge bright bring broken brother build butter candle carry castle cattle
center certain chain chance change charge choose church circle clean clear climb close cloud coast colour common copper corner cotton country
courage cover crown dance danger daughter decide deliver desert dinner distance doctor double dream driver early earth eight either empty enough
evening every example family famous farmer father feather fellow figure finger finish flower follow forest forget fresh friend garden gentle giant
glass golden grain grass green ground guard happen harbour harvest hidden hollow honest horse hunter island journey judge kitchen ladder lantern
large leather letter light listen little market master meadow message middle minute mirror moment morning mother mountain narrow nature needle
night number ocean orange order other paper people pepper picture place planet pocket present prince quarter quiet rather ready reason remember
river round sailor salt school second shadow shelter silver simple sister sleep smooth soldier sound spring station stone storm street strong
summer supper table teacher temple thick thread thunder together tower travel under valley village voice wagon water weather window winter wonder
""".split()


def books() -> dict[str, dict[str, str]]:
    """Text of both splits by book: sentences of random words, frequent ones first. It is always the same and says nothing."""
    return {split: {f"{split}{i}": _book(f"{split} {i}") for i in range(2)} for split in ("train", "test")}


def _book(seed: str) -> str:
    r = random.Random(seed)
    weights = [1 / (i + 3) for i in range(len(WORDS))]
    sentences = (" ".join(r.choices(WORDS, weights, k=r.randint(5, 14))).capitalize() + "." for _ in range(SENTENCES))
    return "".join(s + ("\n" if r.random() < 0.2 else " ") for s in sentences)


CONFIG = dict(
    hidden_size=64,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=1024,
    initializer_range=0.1,  # so that attention is far from even, and what it loses shows
    tie_word_embeddings=True,
    bos_token_id=None,
    eos_token_id=None,
    pad_token_id=None,
)


def pages() -> dict[str, str]:
    """The text of the project's pages, by name. Raises FileNotFoundError outside of a clone."""
    found = {p.stem: p.read_text(encoding="utf-8") for p in sorted(PAGES.glob("*.md")) if not p.stem.startswith("accuracy")}
    if not found:
        raise FileNotFoundError(f"{PAGES} has no pages: --toy takes them as text, so it runs in a clone of minfc")
    return found


def tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer, as SmolLM2's is, trained on the books and on what the tasks say."""
    said = [INTRO, WORDS_INTRO, _ask([" one"], 1), _ask([" one"], 2), *[word for word in WORDS for _ in range(20)]]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    made.train_from_iterator([*books()["train"].values(), *said], trainer)
    return made


def model(vocabulary: int) -> LlamaForCausalLM:
    """A model of two layers of four heads, bfloat16, always the same."""
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **CONFIG)).to(torch.bfloat16).eval()
