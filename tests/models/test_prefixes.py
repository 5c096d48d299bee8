"""Values by sampling on from prefixes, forced answers, and the likelihood of the right answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import TASK, hf, lab, lab_as_hf, planted

from guerdon import models
from guerdon.context import Context
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.engines.protocol import Sampling
from guerdon.errors import DataError, RecipeError
from guerdon.learn.sampling import sample
from guerdon.models.branches import NO_ROOM, NOT_GRADED, OVER_BUDGET, Prefixes, worth
from guerdon.models.forced_answers import IS_ANSWER
from guerdon.tasks.grid_world import GridWorld

ENGINES = {"lab": lab, "hf": hf}


def even(rollouts, ctx=None) -> Signal:
    """1 where the bytes of a completion sum to an even number: a grade that depends on every token."""
    return Signal([float(sum(rollouts.text(i).encode()) % 2 == 0) for i in range(len(rollouts))], "rollout")


class Counting:
    """An engine that notes what it is asked."""

    def __init__(self, engine) -> None:
        self.engine, self.calls = engine, []

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def generate(self, prompts, n, sampling, prefix=None, group=None):
        self.calls.append(("generate", len(prompts), n))
        return self.engine.generate(prompts, n, sampling, prefix=prefix, group=group)

    def logprobs(self, rollouts, temperature=1.0):
        self.calls.append(("logprobs", len(rollouts), rollouts.tokens.total))
        return self.engine.logprobs(rollouts, temperature)


@pytest.mark.parametrize("name", ENGINES)
def test_values_are_those_of_single_calls(name):
    engine = ENGINES[name]()
    rollouts = planted(engine, 3, seed=1)
    values = models.PrefixValues(k=6, grade=even, prover=engine, max_new_tokens=5, seed=7)
    report = values.values(rollouts)
    row = np.repeat(np.arange(3), np.diff(rollouts.offsets("step")))
    ends = rollouts.partitions["step"].values
    for span in range(len(row)):
        tokens = rollouts.tokens[row[span]]
        if ends[span] == len(tokens):
            wanted = even(rollouts).values[row[span]]
        else:
            limits = Sampling(max_new_tokens=5, seed=7)
            drawn = engine.generate([rollouts.prompt[row[span]]], 6, limits, prefix=[tokens[: ends[span]]])
            wanted = even(drawn).values.mean()
        assert report.steps.values[span] == pytest.approx(wanted), span
    for i in range(3):
        drawn = engine.generate([rollouts.prompt[i]], 6, Sampling(max_new_tokens=5, seed=7))
        assert report.root.values[i] == pytest.approx(even(drawn).values.mean())
    assert (report.steps.name, report.steps.level, report.root.level) == ("q_policy", "step", "rollout")


def test_one_call_draws_distinct_prefixes_once():
    engine = Counting(lab())
    once = planted(lab(), 2, seed=1)
    rollouts = Rollouts.concat([once, once, once])
    values = models.PrefixValues(k=4, grade=even, prover=engine, max_new_tokens=5)
    report = values.values(rollouts)
    opened = len(once.partitions["step"].values) - 2
    assert engine.calls == [("generate", opened + 2, 4)]
    assert report.cost["distinct"] == opened + 2 and report.cost["places"] == 3 * (opened + 2)
    assert report.cost["draws"] == 4 * (opened + 2) and 0 < report.cost["tokens"] <= 5 * report.cost["draws"]
    thirds = report.steps.values.reshape(3, -1)
    assert (thirds == thirds[0]).all()


def test_equal_prefixes_of_other_problems_are_not_shared():
    engine = Counting(lab())
    tokens = Ragged.from_lists([[50, 51]] * 3, dtype=np.int32)
    steps = Ragged.from_lists([[1, 2]] * 3, dtype=np.int64)
    rollouts = Rollouts(
        prompt=["a", "a", "b"],
        reference=["1", "2", "1"],
        completion=["23"] * 3,
        tokens=tokens,
        partitions={"step": steps},
    )
    models.PrefixValues(k=2, grade=even, prover=engine, max_new_tokens=2)(rollouts)
    assert engine.calls == [("generate", 3, 2)]


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(4)))
def test_order_changes_no_value(order):
    engine = lab()
    rollouts = planted(engine, 4, seed=2)
    values = models.PrefixValues(k=4, grade=even, prover=engine, max_new_tokens=4)
    whole = Ragged(values(rollouts).values, rollouts.offsets("step"))
    np.testing.assert_array_equal(values(rollouts.select(order)).values, whole.select(order).values)


def test_best_of_k_is_taken_of_every_value():
    engine = lab()
    rollouts = planted(engine, 3)
    plain, best = (
        models.PrefixValues(k=4, best_of=b, grade=even, prover=engine, max_new_tokens=4).values(rollouts)
        for b in (1, 4)
    )
    np.testing.assert_allclose(best.steps.values, 1 - (1 - plain.steps.values) ** 4)
    np.testing.assert_allclose(best.root.values, 1 - (1 - plain.root.values) ** 4)


def test_a_rollout_that_was_cut_goes_on_at_its_end():
    engine = lab()
    rollouts = planted(engine, 2).replace(truncated=np.array([True, False]))
    counted = Counting(engine)
    values = models.PrefixValues(k=8, grade=even, prover=counted, max_new_tokens=3)
    values(rollouts)
    assert counted.calls[0][1] == len(rollouts.partitions["step"].values) - 1


def test_the_budget_is_kept_and_what_it_leaves_out_is_missing():
    engine = lab()
    rollouts = planted(engine, 6, seed=3)
    values = models.PrefixValues(k=2, grade=even, prover=engine, max_new_tokens=5, budget=64)
    report = values.values(rollouts, root=False)
    assert report.cost["distinct"] == 6 and report.cost["tokens"] <= 64
    assert report.steps.cause_counts().keys() == {OVER_BUDGET}
    assert np.isfinite(report.steps.values).sum() >= 6  # those drawn, and the complete ones
    none = models.PrefixValues(k=2, grade=even, prover=engine, max_new_tokens=5, budget=3).values(rollouts)
    assert none.cost["tokens"] == 0 and np.isnan(none.root.values).all()


def test_chosen_steps_only():
    engine = Counting(lab())
    rollouts = planted(engine, 3)
    chosen = np.zeros(rollouts.count("step"), bool)
    chosen[[0, 2]] = True
    report = models.PrefixValues(k=2, grade=even, prover=engine, max_new_tokens=3).values(
        rollouts, chosen=chosen, root=False
    )
    assert np.isfinite(report.steps.values).tolist() == chosen.tolist() and engine.calls[0][1] == 2
    assert report.steps.cause_counts() == {"not chosen": len(chosen) - 2}
    with pytest.raises(DataError, match="shape"):
        models.PrefixValues(k=2, grade=even, prover=engine).values(rollouts, chosen=chosen[1:])


def test_missing_references_and_full_contexts_are_causes():
    engine = lab(context=24)
    rollouts = planted(lab(), 2)
    blind = rollouts.replace(reference=[None, rollouts.reference[1]])
    steps = models.PrefixValues(k=2, prover=lab(), task=TASK, max_new_tokens=3)(blind)
    first = np.diff(rollouts.offsets("step"))[0]
    assert np.isnan(steps.values[:first]).all() and np.isfinite(steps.values[first:]).all()
    assert steps.causes[0] == NOT_GRADED and steps.causes[first - 1] == "reference missing"
    full = worth(
        engine,
        even,
        Prefixes(rollouts, np.array([0, 0]), np.array([2, len(rollouts.tokens[0])])),
        2,
        Sampling(max_new_tokens=2),
    )
    assert np.isfinite(full.values[0]) and full.causes == {1: NO_ROOM}


def test_empty_and_one_token_rollouts():
    engine = lab()
    rollouts = Rollouts(
        prompt=["1+1=", "2+2="],
        completion=["", "7"],
        tokens=Ragged.from_lists([[], [58]], dtype=np.int32),
        partitions={"step": Ragged.from_lists([[], [1]], dtype=np.int64)},
        truncated=np.array([False, True]),
    )
    report = models.PrefixValues(k=2, grade=even, prover=engine, max_new_tokens=2).values(rollouts)
    assert len(report.steps) == 1 and np.isfinite(report.root.values).all()
    nothing = models.PrefixValues(k=2, grade=even, prover=engine).values(rollouts.select([]))
    assert len(nothing.steps) == len(nothing.root) == 0


def test_who_draws_and_who_grades_must_be_known():
    rollouts = planted(lab(), 1)
    with pytest.raises(DataError, match="prover=engine"):
        models.PrefixValues(grade=even)(rollouts)
    with pytest.raises(RecipeError, match="grade"):
        models.PrefixValues()
    with pytest.raises(RecipeError, match="in turns"):
        models.PrefixValues(task=GridWorld())
    with pytest.raises(RecipeError, match="k and best_of"):
        models.PrefixValues(k=0, grade=even)
    with pytest.raises(DataError, match="one value per rollout"):
        per_token = lambda r, c=None: Signal(np.zeros(r.count("token")), "token")  # noqa: E731
        models.PrefixValues(k=1, prover=lab(), grade=per_token, max_new_tokens=2)(rollouts)
    by_name = models.PrefixValues(k=1, prover=lab(), grade={"use": "verify.math"}, max_new_tokens=2)
    assert np.isfinite(by_name(rollouts).values).all()


def test_the_prover_may_be_saved_or_be_the_policy(tmp_path):
    engine = lab()
    rollouts = planted(engine, 2)
    engine.save(tmp_path / "prover")
    options = {"k": 3, "grade": even, "max_new_tokens": 3}
    by_engine = models.PrefixValues(prover=engine, **options)(rollouts).values
    by_path = models.PrefixValues(prover=str(tmp_path / "prover"), **options)(rollouts).values
    ctx = Context(engines={"policy": engine})
    by_policy = models.PrefixValues(prover="policy", **options)(rollouts, ctx).values
    np.testing.assert_array_equal(by_path, by_engine)
    assert by_policy.shape == by_engine.shape
    asked = Counting(engine)
    models.PrefixValues(**options)(rollouts, Context(engines={"policy": asked}))
    assert asked.calls


def test_going_on_from_a_prompt_is_not_the_rollouts_again():
    engine = lab()
    problems = TASK.problems("train", 4)
    rollouts = sample(engine, TASK, problems, 4, Sampling(max_new_tokens=8, seed=0))
    seen = set(zip(map(str, rollouts.prompt), rollouts.completion, strict=True))
    met: list[bool] = []

    def grade(drawn, ctx=None):
        met.extend((str(p), c) in seen for p, c in zip(drawn.prompt, drawn.completion, strict=True))
        return Signal(np.ones(len(drawn)), "rollout")

    values = models.PrefixValues(k=4, grade=grade, max_new_tokens=8)
    ctx = Context(engines={"policy": engine})
    chosen = np.zeros(rollouts.count("step"), bool)
    values.values(rollouts, ctx, chosen=chosen)
    assert len(met) == 16 and not any(met)


@pytest.mark.slow
def test_a_taught_prover_values_right_prefixes_higher():
    from guerdon.learn.warm import warm_start

    engine = lab(dim=48)
    warm_start(engine, TASK, steps=150, batch=48, lr=3e-3)
    rollouts = planted(engine, 30, seed=5)
    report = models.PrefixValues(k=6, prover=engine, task=TASK, max_new_tokens=32).values(rollouts)
    open_ = np.ones(len(report.steps), bool)
    open_[rollouts.offsets("step")[1:] - 1] = False
    spoilt = np.concatenate(
        [
            np.minimum.accumulate(part)
            for part in np.split(rollouts.signals["steps"].values, rollouts.offsets("step")[1:-1])
        ]
    )
    sound, broken = (report.steps.values[open_ & (spoilt == v)].mean() for v in (1, 0))
    assert sound > broken + 0.05


# -- forced answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENGINES)
def test_forced_answers_follow_the_cue(name):
    engine = Counting(ENGINES[name]())
    rollouts = planted(engine, 3, seed=4)
    forced = models.ForcedAnswers("#", k=4, grade=even, prover=engine, max_new_tokens=2, seed=5)
    steps, start, cost = forced.accuracies(rollouts)
    assert len(engine.calls) == 1
    last = rollouts.offsets("step")[1:] - 1
    assert np.isnan(steps.values).nonzero()[0].tolist() == last.tolist()
    assert steps.cause_counts() == {IS_ANSWER: 3}
    limits = Sampling(max_new_tokens=2, temperature=0.6, top_p=0.95, seed=5)
    cue = engine.tokenizer.encode("#")
    prefix = [*rollouts.tokens[0][: rollouts.partitions["step"][0][0]], *cue]
    drawn = engine.generate([rollouts.prompt[0]], 4, limits, prefix=[prefix])
    assert steps.values[0] == pytest.approx(even(drawn).values.mean())
    at_start = engine.generate([rollouts.prompt[0]], 4, limits, prefix=[cue])
    assert start.values[0] == pytest.approx(even(at_start).values.mean())
    assert cost["draws"] == 4 * cost["distinct"]


def test_what_the_last_span_is_worth_is_a_choice():
    engine = lab()
    rollouts = planted(engine, 3, seed=4)
    last = rollouts.offsets("step")[1:] - 1
    by = {
        choice: models.ForcedAnswers(
            "#", k=2, last=choice, grade=even, prover=engine, max_new_tokens=2
        ).attach(rollouts)
        for choice in ("missing", "outcome", "force")
    }
    np.testing.assert_array_equal(by["outcome"].signals["j"].values[last], even(rollouts).values)
    assert np.isfinite(by["force"].signals["forced_acc"].values).all()
    assert by["missing"].signals["j_start"].level == "rollout"
    cut = rollouts.replace(truncated=np.ones(3, bool))  # no answer was given: every span is forced
    steps = models.ForcedAnswers("#", k=2, grade=even, prover=engine, max_new_tokens=2)(cut)
    assert steps.missing == 0
    with pytest.raises(RecipeError, match="last"):
        models.ForcedAnswers("#", grade=even, last="skip")


def test_they_work_on_what_a_policy_sampled():
    engine = lab()
    rollouts = sample(engine, TASK, TASK.problems("train", 3), 2, Sampling(max_new_tokens=6))
    attached = models.ForcedAnswers("#", k=2, prover=engine, task=TASK, max_new_tokens=2).attach(rollouts)
    values = models.PrefixValues(k=2, prover=engine, task=TASK, max_new_tokens=4).attach(attached)
    assert {"forced_acc", "j", "j_start", "q_policy", "q_root"} <= set(values.signals)


# -- likelihood of the answer ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENGINES)
def test_answer_logprobs_are_means_over_the_answer_only(name):
    engine = Counting(ENGINES[name]())
    rollouts = planted(engine, 3, seed=4).replace(reference=["12", 7, "3"])
    found = models.AnswerLogprob(cue="#", level="step", prover=engine)(rollouts)
    assert [call[0] for call in engine.calls] == ["logprobs"]
    row = np.repeat(np.arange(3), np.diff(rollouts.offsets("step")))
    starts = (
        rollouts.partitions["step"].values
        - np.diff(np.concatenate([np.insert(e, 0, 0) for e in rollouts.partitions["step"].to_lists()]))[
            np.arange(len(row)) + row
        ]
    )
    cue = engine.tokenizer.encode("#")
    for span in range(len(row)):
        answer = engine.tokenizer.encode(str(rollouts.reference[row[span]]))
        prefix = [*rollouts.tokens[row[span]][: starts[span]].tolist(), *cue]
        alone = Rollouts(
            prompt=[rollouts.prompt[row[span]]],
            tokens=Ragged.from_lists([[*prefix, *answer]], dtype=np.int32),
        )
        wanted = engine.engine.logprobs(alone).values[len(prefix) :].mean()
        assert found.values[span] == pytest.approx(wanted, abs=1e-4)


def test_before_and_after_are_shifted_by_one():
    engine = lab()
    rollouts = planted(engine, 2, seed=4)
    before, after = (
        models.AnswerLogprob("#", level="step", at=at, prover=engine)(rollouts).values
        for at in ("before", "after")
    )
    inner = np.ones(len(before), bool)
    inner[rollouts.offsets("step")[:-1]] = False
    np.testing.assert_allclose(before[inner], after[np.flatnonzero(inner) - 1], atol=1e-5)


def test_references_that_cannot_be_written_are_missing():
    engine = lab(context=40)
    rollouts = planted(lab(), 4).replace(reference=[None, ["a", "b"], "", "1" * 39])
    found = models.AnswerLogprob("#", level="step", prover=engine)(rollouts)
    assert np.isnan(found.values).all()
    assert set(found.causes.values()) == {
        "reference missing",
        "the reference is neither text nor a number",
        NO_ROOM,
    }
    listed = models.AnswerLogprob("#", level="step", prover=engine, answer=lambda r: r[0])
    assert np.isfinite(listed(rollouts.select([1])).values).all()
    keyed = models.AnswerLogprob("#", level="step", prover=engine, answer="gold")
    held = rollouts.replace(reference=[{"gold": "12"}, {}, "12", None])
    whole = models.AnswerLogprob("#", level="step", prover=engine)(rollouts.replace(reference=["12"] * 4))
    first, second, *_ = np.split(keyed(held).values, rollouts.offsets("step")[1:-1])
    np.testing.assert_allclose(first, whole.values[: len(first)], atol=1e-6)
    assert np.isnan(second).all()
    with pytest.raises(DataError, match="prover=engine"):
        models.AnswerLogprob("#", level="step")(rollouts)
    with pytest.raises(DataError, match="no 'turn' spans"):
        models.AnswerLogprob("#", prover=engine)(rollouts)
    with pytest.raises(RecipeError, match="at"):
        models.AnswerLogprob("#", at="during")


def test_lab_and_hf_agree_on_the_same_weights(tmp_path):
    engine = lab()
    other = lab_as_hf(engine, tmp_path / "m")
    rollouts = planted(engine, 4, seed=2)
    for make in (
        lambda e: models.PrefixValues(k=4, grade=even, prover=e, max_new_tokens=4),
        lambda e: models.ForcedAnswers("#", k=4, grade=even, prover=e, max_new_tokens=3),
        lambda e: models.AnswerLogprob("#", level="step", prover=e),
    ):
        np.testing.assert_allclose(make(other)(rollouts).values, make(engine)(rollouts).values, atol=1e-4)
