"""Worlds and measures of experiments with self-rewards: what is right, what a teacher says, who wins."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.claims import kit_intrinsic as lab
from guerdon.claims.intrinsic import crew, flr, laser, rlfr
from guerdon.data.rollouts import Rollouts

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def engine():
    return lab.kit.lab(0, context=48, dim=16)


def test_references_name_the_right_digit_as_often_as_they_should():
    notes = lab.Notes(3, length=12, content=5, mentions=2)
    problems = notes.problems(np.random.default_rng(0), 26)
    assert len({p.prompt for p in problems}) == 26
    for problem in problems:
        named = [c for c in problem.reference if c.isupper()]
        assert len(problem.reference) == 12 and len(named) == 2
        assert {ord(c) - ord("A") for c in named} == {problem.meta["digit"]}


def test_answers_of_the_teacher_follow_its_thoughts():
    notes = lab.Notes(3, length=8, content=3, known=0.5)
    said = [pair for _ in range(40) for pair in notes.lesson(np.random.default_rng(_))]
    for _, text in said:
        thought, answer = text.split("=")
        assert [ord(c) - ord("A") for c in answer if c.isupper()] == [int(thought[1])] * 3
    right = np.mean([int(text[1]) == notes.right[lab.LETTERS.index(prompt[0])] for prompt, text in said])
    assert 0.45 < right < 0.57


def test_the_mark_opens_every_answer(engine):
    notes = lab.Notes(3, length=4, content=1)
    thoughts = notes.sampled(engine, notes.problems(np.random.default_rng(1), 3), 2, 5)
    opened = notes.opened(thoughts)
    assert all(opened.text(i).endswith("=") for i in range(6)) and thoughts.lengths.max() <= 2
    rows, mask = lab.followed_by_references(engine, opened)
    behind = [rows.tokens[i][rows.tokens.with_values(mask)[i]].tolist() for i in range(6)]
    assert behind == [engine.tokenizer.encode(r) for r in opened.reference]
    assert rows.tokens.total == mask.size and mask.sum() == 24


def test_right_paths_of_a_secret_map():
    chains = lab.Chains(4)
    assert not set(chains.train) & set(chains.test) and len(chains.train) + len(chains.test) == 78
    letter, hops = chains.test[0]
    path, at = chains.path(letter, hops), letter
    for passed in path:
        at = int(chains.next[at])
        assert lab.LETTERS[at] == passed
    problem = chains.problem(letter, hops)
    assert problem.reference == path[-1] and problem.prompt == f"{lab.LETTERS[letter]}{hops}:"
    rng = np.random.default_rng(0)
    first = int(np.flatnonzero(chains.wrong == 0.15)[0])
    slips = np.mean([chains.path(first, 1, rng) != chains.path(first, 1) for _ in range(2000)])
    assert 0.12 < slips < 0.18


def test_the_chance_of_an_opening_is_that_of_its_tokens(engine):
    found = lab.opening_chances(engine, ["a:", "a:"], ["x", "x7"])
    rows = engine.rollouts_from_text(["a:"], ["x7"])
    logprobs = engine.logprobs(rows)[0]
    assert found == pytest.approx([np.exp(logprobs[0]), np.exp(logprobs[:2].sum())], rel=1e-4)


def test_leave_one_out():
    found = lab.left_out(np.array([-1.0, -2.0, -6.0, 5.0]), np.array([4, 4, 4, 9]))
    assert found.tolist() == [3.0, 1.5, -4.5, 0.0]


def test_pairs_are_compared_inside_a_question():
    scores = np.array([-3.0, -1.0, 9.0, 8.0, 7.0, np.nan])
    right = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    groups = np.array([0, 0, 1, 1, 1, 1])
    assert lab.auroc_within(scores, right, groups) == pytest.approx(1 / 3)
    assert np.isnan(lab.auroc_within(scores[:1], right[:1], groups[:1]))


def test_a_truncated_completion_is_never_right():
    rollouts = Rollouts(
        prompt=["a2:"] * 3,
        completion=["b>c", "b>c", "b>d"],
        reference=["c"] * 3,
        truncated=np.array([False, True, False]),
    )
    assert lab.last_letter_right(rollouts).tolist() == [1.0, 0.0, 0.0]


def test_the_best_step_size_is_the_one_that_scores_best():
    assert lab.tuned_rate(lambda arm, rate, seed: -((rate - 2) ** 2), (1.0, 2.0, 4.0))("any") == 2.0


def test_a_curve_starts_before_and_ends_after_training():
    moved: list[int] = []
    curve = lab.curve_of(None, lambda _, at: moved.append(at), 7, lambda _: float(len(moved)), every=3)
    assert curve.tolist() == [0, 3, 6, 7]


def test_talk_judges_what_was_never_reacted_to():
    talk = flr.Talk(2)
    rng = np.random.default_rng(0)
    reacted = {prompt for _ in range(30) for prompt, said in talk.lesson(rng) if "\n" in said}
    prompts, said = talk.held_out()
    assert len(reacted) == 120 and len(set(prompts)) == 40 and not reacted & set(prompts)
    things = [flr.THINGS.index(prompt[1]) for prompt in prompts]
    assert [int(s) for s in said[0::2]] == talk.right[things[0::2]].tolist()
    assert [int(s) for s in said[1::2]] == talk.wrong[things[1::2]].tolist()


def test_a_worded_path_ends_in_a_box():
    text = crew.worded("mqt", np.random.default_rng(0))
    assert text.endswith("\\boxed{t}") and [text[0], text[2]] == ["m", "q"] and text[1] in crew.SIGNS


def test_votes_by_weight():
    texts = ["q>a", "q>b", "q>b"] + ["q>c"] * 5
    rollouts = Rollouts(
        prompt=["k2:"] * 8, completion=texts, reference=["a"] * 8, truncated=np.arange(8) >= 3
    )
    assert laser.voted(rollouts, np.ones(8)) == 0.0
    assert laser.voted(rollouts, np.array([0.9, 0.4, 0.4, 9, 9, 9, 9, 9])) == 1.0


def test_hops_that_follow_the_map(engine):
    chains = lab.Chains(4)
    right = chains.path(0, 2)
    other = next(c for c in lab.LETTERS if c != right[1])
    rows = engine.rollouts_from_text(["a2:", "a2:"], [f"{right[0]}>{right[1]}", f"{right[0]}>{other}"])
    at, follows = rlfr.hops(chains, rows)
    assert at.tolist() == [0, 2, 4, 6] and follows.tolist() == [1.0, 1.0, 1.0, 0.0]
