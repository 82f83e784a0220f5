"""Scores of a model that is known: one that says what stood one token after the last time it saw the token (induction), and one that does not."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minfc_evals import score
from minfc_evals.score import Window
from minfc_evals.tasks import Case, Span

VOCABULARY = 50


class Copier:
    """Predicts after a token what followed it the first time. It counts its calls, and takes a cache as far as tokens are in it."""

    device = torch.device("cpu")
    config = SimpleNamespace(get_text_config=lambda **_: SimpleNamespace(num_hidden_layers=1, layer_types=None, sliding_window=None, attention_chunk_size=None, to_dict=dict))

    def __init__(self):
        self.rows = []

    def __call__(self, ids, logits_to_keep=0, use_cache=True, past_key_values=None):
        seen = getattr(past_key_values, "seen", [])
        self.rows.append(ids.shape[1])
        said = [*seen, *ids[0].tolist()]
        if past_key_values is not None:
            past_key_values.seen = said
        logits = torch.zeros(1, len(said), VOCABULARY)
        for i, t in enumerate(said):
            logits[0, i, said[said.index(t) + 1] if said.index(t) < i else 0] = 1
        logits = logits[:, len(seen) :]
        keep = logits_to_keep
        return SimpleNamespace(logits=logits[:, keep] if isinstance(keep, torch.Tensor) else logits[:, -keep:])


def case(*answer):
    """A prompt that holds 7 11 12 13, and 7 with an answer at its end."""
    tokens = (1, 2, 7, 11, 12, 13, 3, 7, *answer)
    return Case("x", tokens, (Span(8, len(tokens)),), ())


@pytest.fixture(autouse=True)
def _cache(monkeypatch):
    monkeypatch.setattr(score, "DynamicCache", lambda config: SimpleNamespace())


@pytest.mark.parametrize("name", score.SCORES)
def test_all_tokens_of_an_answer_count(name):
    scored = score.SCORES[name]
    assert scored(Copier(), case(11, 12, 13))
    assert not scored(Copier(), case(11, 12, 14))
    assert not scored(Copier(), case(10, 12, 13))


def test_how_each_score_reads():
    for name, rows in {"strict": [10], "strict free": [8, 9, 10], "decoded": [8, 1, 1, 1]}.items():
        model = Copier()
        score.SCORES[name](model, case(11, 12, 13))
        assert model.rows == rows


@pytest.mark.parametrize("name", score.SCORES)
def test_both_turns_count(name):
    tokens = (7, 11, 12, 20, 21, 3, 7, 11, 4, 20, 21)
    right = Case("x", tokens, (Span(7, 8), Span(10, 11)), ())
    model = Copier()
    assert score.SCORES[name](model, right)
    if name == "decoded":
        assert sum(model.rows) == len(tokens)  # each token is read once, the answers among them
    for at in (7, 10):
        wrong = list(tokens)
        wrong[at] = 30
        assert not score.SCORES[name](Copier(), Case("x", tuple(wrong), right.answers, ()))


def test_windows_against_torch(tokens, text):
    from minfc_evals import toy

    model = toy.model(tokens.tokenizer.get_vocab_size())
    ids = text["test0"][:300]
    got, state = score.window(model, ids, tokens)
    logits = model(torch.tensor(ids)[None].long()).logits[0, :-1].float()
    want = torch.nn.functional.cross_entropy(logits, torch.tensor(ids)[1:].long(), reduction="sum").item()
    assert got.nats == pytest.approx(want, rel=1e-3) and got.drift == 0
    assert got.bytes == len(tokens.text(ids[1:].tolist()).encode())
    again, _ = score.window(model, ids, tokens, state)
    assert again.drift == pytest.approx(0, abs=1e-6) and again.nats == got.nats
    other, _ = score.window(model, ids, tokens, state.flip(0))
    assert other.drift > 0.1
    assert score.bits_per_byte([got]) == pytest.approx(want / got.bytes / math.log(2), rel=1e-3)


def test_intervals_cover_what_they_say():
    """Of 300 experiments with 100 cases and a chance of 0.8, 95 of a hundred intervals hold 0.8, give or take."""
    r = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        m = score.rate(list(r.random(100) < 0.8))
        held += m.low <= 0.8 <= m.high
    assert 0.89 <= held / 300 <= 0.99


def test_pairs_make_differences_sharper():
    r = np.random.default_rng(2)
    nats = r.uniform(100, 1000, 40)
    dense, sparse = [Window(x, 100, 0) for x in nats], [Window(x * 1.01, 100, 0) for x in nats]
    m = score.more_bits(sparse, dense)
    assert m.value == pytest.approx(0.01) and m.high - m.low < 1e-9
    hits = list(r.random(200) < 0.5)
    same = score.difference(hits, hits)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    fewer = score.difference([False] * 200, hits)
    assert fewer.low < fewer.value == -np.mean(hits) < fewer.high


def test_no_cases_is_an_error():
    with pytest.raises(ValueError, match="no cases"):
        score.rate([])


def test_rank_correlation():
    assert score.rank_correlation([(1, 10), (2, 30), (3, 90)]) == pytest.approx(1)
    assert score.rank_correlation([(1, 3), (2, 2), (3, 1)]) == pytest.approx(-1)
    assert score.rank_correlation([(1, 1), (1, 2), (2, 3)]) == pytest.approx(0.8660, abs=1e-4)  # equal numbers share a rank
