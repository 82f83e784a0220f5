"""Training sequences: their length, which tokens are answers, and that seeds decide them."""

import pytest

from minfc_evals import facts, mixture


def test_sequences_are_of_the_seed(tokens, text):
    kinds = set()
    for seed in range(12):
        ids, asked = mixture.sequence(tokens, text, 1024, seed)
        assert len(ids) == len(asked) == 1025
        assert (ids, asked) == mixture.sequence(tokens, text, 1024, seed)
        kinds.add(sum(asked) > 0)
    assert kinds == {True, False}


@pytest.mark.parametrize("make", [mixture.packed, mixture.soup])
def test_marked_tokens_are_answers(tokens, text, make):
    for seed in range(4):
        s = facts.Source(tokens, text, "train", facts.random.Random(seed))
        ids, asked = make(s, 2000)
        assert len(ids) == len(asked) == 2000 and any(asked)
        starts = [i for i in range(1, 2000) if asked[i] and not asked[i - 1]]
        for i in starts:  # what is asked for was said before
            n = next((n for n in range(i, 2000) if not asked[n]), 2000)
            said = tokens.text(ids[i:n]).replace(",", " ").split()
            assert said and all(word in tokens.text(ids[:i]) for word in said)
