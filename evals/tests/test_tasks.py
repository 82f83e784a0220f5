"""Cases: of the length asked for, with the answer in the prompt exactly where they say, and nothing of the test in training."""

from collections import Counter

import pytest

from minfc_evals import facts, tasks
from minfc_evals.tasks import TASKS, make

LENGTHS = (512, 1000)
SEEDS = range(6)
COUNTED = ("common words", "frequent words")


def said(tokens, case, span):
    return tokens.text(case.tokens[span.start : span.stop])


@pytest.mark.parametrize("task", TASKS)
def test_cases_have_the_length_and_end_with_the_answer(tokens, text, task):
    for length in LENGTHS:
        for seed in SEEDS:
            case = make(task, tokens, text, length, seed)
            assert len(case.tokens) == length and case.answers[-1].stop == length
            assert all(0 < a.start < a.stop for a in case.answers)
            assert case == make(task, tokens, text, length, seed) != make(task, tokens, text, length, seed + 100)


@pytest.mark.parametrize("task", [t for t in TASKS if t not in COUNTED])
def test_the_answer_is_in_the_facts_and_nowhere_else(tokens, text, task):
    """Each part of an answer stands in one fact, and facts lie before the questions."""
    for seed in SEEDS:
        case = make(task, tokens, text, 700, seed)
        parts = [part for a in case.answers for part in said(tokens, case, a).split(",")]
        where = [said(tokens, case, f) for f in case.facts]
        assert all(f.stop <= case.answers[0].start for f in case.facts)
        for part in parts:
            assert any(part.strip() in w for w in where), (part, where)
        assert all(any(part.strip() in w for part in parts) for w in where)
        if task in ("single", "multi-key", "multi-value", "multi-query", "key-values", "two turns"):
            prompt = tokens.text(case.tokens[: case.answers[0].start])
            assert all(prompt.count(part.strip()) == 1 for part in parts)


def test_answers_of_several_values_come_in_the_order_of_the_text(tokens, text):
    for seed in SEEDS:
        case = make("multi-value", tokens, text, 700, seed)
        prompt = tokens.text(case.tokens[: case.answers[0].start])
        places = [prompt.index(part.strip()) for part in said(tokens, case, case.answers[0]).split(",")]
        assert len(places) == 4 and places == sorted(places)


def test_answers_of_several_keys_come_in_the_order_of_the_question(tokens, text):
    for seed in SEEDS:
        case = make("multi-query", tokens, text, 700, seed)
        prompt = tokens.text(case.tokens[: case.answers[0].start])
        values = said(tokens, case, case.answers[0]).split(",")
        keys = prompt.rsplit("numbers for", 1)[1].split(" mentioned")[0].split(" and")
        assert len(keys) == len(values) == 4
        assert all(f"number for{key} is:{value}." in prompt for key, value in zip(keys, values))


def test_variables_of_the_other_chain_are_not_asked_for(tokens, text):
    for seed in SEEDS:
        case = make("variables", tokens, text, 700, seed)
        prompt = tokens.text(case.tokens[: case.answers[0].start])
        value = prompt.split("have the value ")[1].split(" ")[0]
        names = said(tokens, case, case.answers[0]).split(",")
        lines = [line for line in prompt.splitlines() if line.startswith("VAR ")]
        assert len(lines) == 8 and len(names) == 4
        have = [line.split(" = ")[0][3:] for line in lines if line.endswith(f" = {value}.")]
        for line in lines:  # a chain is assigned from its beginning on
            if any(line.endswith(f" = VAR{name}.") for name in have):
                have.append(line.split(" = ")[0][3:])
        assert have == names


@pytest.mark.parametrize("task, rank", [("common words", 0), ("frequent words", 1)])
def test_asked_words_are_the_frequent_ones(tokens, text, task, rank):
    for length in (256, *LENGTHS, 4096):
        case = make(task, tokens, text, length, 3)
        answer = case.answers[0]
        counts = Counter(case.tokens[len(tokens.encode(tasks.WORDS_INTRO)) : answer.start])
        ranked = [(i, n) for i, n in counts.most_common() if i in tokens.words]
        asked = list(case.tokens[answer.start : answer.stop])
        assert [i for i, _ in ranked[rank : rank + len(asked)]] == asked
        numbers = [n for _, n in ranked[: rank + len(asked) + 1]]
        assert len(set(numbers)) == len(numbers), "a tie leaves two orders right"


def test_depth_is_where_the_fact_stands(tokens, text):
    for depth in (0.0, 0.25, 0.5, 1.0):
        case = make("single", tokens, text, 1000, 1, depth=depth)
        head = len(tokens.encode(tasks.INTRO))
        free = case.answers[0].start - head - len(tokens.encode(tasks._ask([" alpha beta"], 1))) - (case.facts[0].stop - case.facts[0].start)
        assert abs((case.facts[0].start - head) - depth * free) <= 40


def test_the_second_turn_asks_for_another_fact(tokens, text):
    case = make("two turns", tokens, text, 700, 1)
    first, second = case.answers
    assert first.stop < second.start and said(tokens, case, first) != said(tokens, case, second)


def test_a_repeated_passage_goes_on_as_before(tokens, text):
    """The tokens before the answer and the answer stand together in the passage, once."""
    for seed in SEEDS:
        case = make("repeat", tokens, text, 512, seed)
        (fact,), (answer,) = case.facts, case.answers
        passage, end = case.tokens[fact.start : fact.stop], case.tokens[answer.start - 12 : answer.stop]
        assert len(end) == 24 and any(passage[i : i + 24] == end for i in range(len(passage)))


def test_no_name_of_the_test_is_in_training(tokens, text):
    def names(split):
        for task in TASKS:
            for seed in range(4):
                s = facts.Source(tokens, text, split, facts.random.Random(seed))
                TASKS[task](s, 700)
                yield from s._used

    train, test = set(names("train")), set(names("test"))
    assert train and test and not train & test
    assert all(facts.split_of(*pair) == "train" for pair in train)


def test_what_does_not_fit_is_an_error_that_says_so(tokens, text):
    for task in TASKS:
        with pytest.raises(ValueError, match="take longer prompts"):
            make(task, tokens, text, 40, 1)
    with pytest.raises(ValueError, match="there is no task 'singel'"):
        make("singel", tokens, text, 512, 1)
    with pytest.raises(ValueError, match="no text of the test split has"):
        make("single", tokens, text, 10**6, 1)
