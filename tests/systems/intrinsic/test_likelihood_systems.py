"""Systems that score a likelihood: worked numbers, and the same numbers out of an engine's own log-probs."""

import math

import numpy as np
import pytest
import torch

from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.lab import LabEngine
from guerdon.errors import DataError, EngineError
from guerdon.intrinsic.direct import direct_loss
from guerdon.intrinsic.likelihoods import reduce_logprobs
from guerdon.intrinsic.scoring import EMPTY, NO_REFERENCE, NO_ROOM
from guerdon.registry import build
from guerdon.systems.intrinsic import dro_r3
from guerdon.systems.intrinsic.crew import answer_characters, confidence_pairs
from guerdon.systems.intrinsic.rlpr import DeviationFilter, combine, repeats, well_formed

LIKELIHOOD = ("likelihood-rewards", "rlpr", "dro-r3")


@pytest.fixture(scope="module")
def engine():
    made = LabEngine(dim=32, layers=2, heads=2, context=160, device="cpu")
    with torch.no_grad():
        for parameter in made.parameters().values():
            if parameter.dim() == 2:
                parameter.mul_(4.0)
    return made


@pytest.fixture
def ctx(engine):
    return Context(engines={"policy": engine})


def thoughts(*texts, reference="42", group=None):
    completions = [f"<think>{t}</think><answer>x</answer>" for t in texts]
    return Rollouts(
        prompt=["6*7="] * len(texts),
        completion=completions,
        reference=[reference] * len(texts),
        group=np.zeros(len(texts), np.int64) if group is None else np.array(group),
    )


def by_hand(engine, prefix, text):
    """Log-probs of a text's bytes behind a prefix, from the engine's own method."""
    rollouts = Rollouts(
        prompt=["6*7="],
        tokens=Ragged.from_lists([engine.tokenizer.encode(prefix + text)], dtype=np.int32),
    )
    return engine.logprobs(rollouts).values[-len(engine.tokenizer.encode(text)) :].astype(float)


@pytest.mark.parametrize("reduce", ["sum", "mean", "prob", "mean_prob", "geometric"])
def test_likelihood_rewards_read_the_reference_behind_the_thought(engine, ctx, reduce):
    got = build("reward", {"use": "likelihood-rewards", "reduce": reduce})(thoughts("a", "bb"), ctx).values
    for value, thought in zip(got, ("a", "bb"), strict=True):
        logprobs = by_hand(engine, f"<think>{thought}</think><answer>", "42")
        assert value == pytest.approx(
            reduce_logprobs(logprobs, np.array([0, 2]), reduce)[0], rel=1e-3, abs=1e-6
        )


def test_likelihood_reducers_over_long_answers_and_leave_one_out():
    long, offsets = np.log(np.full(200, 0.95)), np.array([0, 200])
    assert reduce_logprobs(long, offsets, "prob")[0] == pytest.approx(3.5e-5, rel=0.02)
    assert reduce_logprobs(long, offsets, "sum")[0] == pytest.approx(-10.2587, abs=1e-4)
    assert reduce_logprobs(long, offsets, "mean")[0] == pytest.approx(-0.0513, abs=1e-4)
    from guerdon.credit import rloo

    rollouts = thoughts("a", "b", "c").replace(tokens=Ragged.from_lists([[1]] * 3, dtype=np.int32))
    values = rloo()(rollouts, {"outcome": Signal(np.array([-1.0, -2.0, -6.0]), "rollout", "outcome")}).values
    assert values.tolist() == [3.0, 1.5, -4.5]


def test_the_direct_loss_has_both_gradients(engine):
    clone = engine.clone(frozen=False)
    rollouts = clone.rollouts_from_text(["q", "q"], ["ab", "cd"])
    answer = np.array([0, 1, 0] * 2, bool)
    seen = {}

    def checked(stats, rows):
        stats.logprobs.retain_grad()
        seen["stats"], seen["rows"] = stats.logprobs, rows
        return direct_loss(rollouts.tokens, answer, np.array([2.0, -1.0]), "mean_prob")(stats, rows)

    clone.train_step(rollouts, checked, entropy=False)
    values, grad = seen["stats"].detach().numpy(), seen["stats"].grad.numpy()
    order = seen["rows"].tolist()
    for at, row in enumerate(order):
        advantage = (2.0, -1.0)[row]
        part = slice(3 * at, 3 * at + 3)
        expected = [-advantage / 2, -math.exp(values[part][1]) / 2, -advantage / 2]
        np.testing.assert_allclose(grad[part], expected, rtol=1e-4)
    with pytest.raises(DataError, match="row 0 has no answer"):
        direct_loss(rollouts.tokens, np.zeros(6, bool), np.zeros(2))


def test_rlpr_by_hand():
    offsets = np.array([0, 3])
    a, b = np.log([0.9, 0.8, 0.1]), np.log([0.5, 0.5, 0.5])
    assert reduce_logprobs(a, offsets, "mean_prob") > reduce_logprobs(b, offsets, "mean_prob")
    assert reduce_logprobs(a, offsets, "geometric") < reduce_logprobs(b, offsets, "geometric")
    ones = np.ones(2, bool)
    assert combine(np.array([0.6, 0.6]), np.array([0.4, 0.7]), ones).tolist() == pytest.approx([0.28, 0.1])
    assert combine(np.array([0.6, 0.6]), np.array([0.4, 0.4]), ~ones, -1).tolist() == [-1.0, -1.0]
    assert well_formed("<think>a</think><answer>b</answer> more")
    assert not well_formed(" <think>a</think><answer>b</answer>")
    assert repeats("a b c d e f g h i j " * 10) and not repeats("a b c d e f g h i j " * 9)


def test_rlpr_on_an_engine(engine, ctx):
    got = build("reward", {"use": "rlpr"})(thoughts("a", "bb"), ctx).values
    base = np.exp(by_hand(engine, "<think></think><answer>", "42")).mean()
    f = [np.exp(by_hand(engine, f"<think>{t}</think><answer>", "42")).mean() for t in ("a", "bb")]
    np.testing.assert_allclose(got, 0.9 * np.maximum(np.array(f) - base, 0) + 0.1, atol=1e-4)
    unopened = thoughts("a").replace(completion=["just text"])
    assert build("reward", {"use": "rlpr"})(unopened, ctx).values.tolist() == [0.0]


def test_rlpr_filter():
    keep = DeviationFilter(warm=3, start=3)

    def batch(*stds):
        pairs = [(s / math.sqrt(2), -s / math.sqrt(2)) for s in stds]
        values = np.array([v for pair in pairs for v in pair])
        rows = Rollouts(completion=["a"] * len(values), group=np.repeat(np.arange(len(stds)), 2))
        return rows.with_signal(Signal(values, "rollout", "outcome"))

    for std in (0.1, 0.2, 0.3):
        assert keep(batch(std)).all()
    assert keep.average.value == pytest.approx(0.2)
    other = DeviationFilter(warm=3, start=3)
    other.load_state_dict(keep.state_dict())
    assert keep(batch(0.05)).tolist() == [False, False]
    assert keep.average.value == pytest.approx(0.1985)
    assert other(batch(0.05, 0.3)).tolist() == [False, False, True, True]


def test_crew(engine, ctx):
    assert reduce_logprobs(np.log([0.98, 0.7, 0.9]), np.array([0, 3]), "mean_prob")[0] == pytest.approx(0.86)
    assert answer_characters("so \\boxed{42}.") == (10, 12)
    rollouts = Rollouts(prompt=["6*7="] * 2, completion=["so \\boxed{42}.", "no box"])
    got = build("reward", {"use": "crew"})(rollouts, ctx).values
    assert got[0] == pytest.approx(np.exp(by_hand(engine, "so \\boxed{", "42")).mean(), rel=1e-3)
    assert got[1] == 0.0
    confidence, correct = np.array([0.9, 0.4, 0.8, 0.1]), np.array([1, 1, 0, 0], bool)
    groups = np.zeros(4, np.int64)
    assert confidence_pairs(confidence, correct, groups, 2).tolist() == [[0, 3], [1, 3]]
    assert confidence_pairs(confidence, correct, groups).tolist() == [[0, 3], [1, 3], [0, 2], [1, 2]]
    assert len(confidence_pairs(confidence, correct, groups, positive_only=True)) == 3


def test_self_aligned_reward(engine, ctx):
    got = build("reward", {"use": "self-aligned-reward"})(thoughts("a"), ctx).values[0]
    own = engine.tokenizer.encode(thoughts("a").text(0))
    ppl = [
        math.exp(
            -engine.logprobs(
                Rollouts(prompt=[p], tokens=Ragged.from_lists([own], dtype=np.int32))
            ).values.mean()
        )
        for p in ("6*7=", "")
    ]
    assert got == pytest.approx(max((ppl[1] - ppl[0]) / ppl[1], -1), abs=1e-3)
    from guerdon.intrinsic.likelihoods import relative_perplexity_drop

    offsets = np.array([0, 3])
    q, alone = (
        reduce_logprobs(np.array(v), offsets, "perplexity") for v in ([-0.2, -0.1, -0.3], [-1, -0.8, -1.5])
    )
    assert (q[0], alone[0]) == pytest.approx((1.2214, 3.0042), abs=1e-4)
    assert 1 + 0.2 * relative_perplexity_drop(q, alone)[0] == pytest.approx(1.1187, abs=1e-4)


def test_dro_r3_by_hand():
    table = np.array([[-0.1, -2, -0.2], [-0.1, -0.2, -0.25], [-0.12, -1, -0.2]])
    sigma = dro_r3.deviations(table)
    np.testing.assert_allclose(sigma, [0.0094, 0.7364, 0.0236], atol=1e-4)
    np.testing.assert_allclose(dro_r3.weights(sigma), [0.0123, 0.9571, 0.0306], atol=1e-4)
    np.testing.assert_allclose(dro_r3.r3(table), [-1.9216, -0.2003, -0.9647], atol=1e-4)
    masked = np.array([-0.15, -1.5, -0.22])
    np.testing.assert_allclose(dro_r3.r3(table, masked), [-0.4773, 1.2439, 0.4795], atol=1e-4)
    np.testing.assert_allclose(table.mean(axis=1), [-0.7667, -0.1833, -0.4400], atol=1e-4)
    assert dro_r3.r3(np.full((3, 2), -0.1)).tolist() == [0, 0, 0]
    assert dro_r3.weights(sigma, top=0.3).tolist() == [0, 1, 0]
    p = np.exp(table)
    k = p[:, 1] + (1 - p[:, 1]) * (1 - math.exp(-0.5))
    expected = 0.5 * table[:, 1] + 0.5 * (table[:, 2] + np.log(k))
    np.testing.assert_allclose(dro_r3.propagated(table, 0.5, top=0.6), expected)
    gated = dro_r3.feasible(np.array([3.0, 1.0, 2.0, 5.0]), np.array([1, 0, 1, 0]), np.array([0, 0, 0, 1]))
    assert gated[:3].tolist() == [3.0, 0.0, 2.0] and np.isnan(gated[3])
    ranks = [np.array([[0, 500]]), np.array([[0, 5]]), np.array([[0, 900], [0, 1]])]
    assert dro_r3.keep_prompts(ranks, np.array([9.0, 0.1, 3.0]), drop=0.5).tolist() == [False, False, True]


def test_dro_r3_on_an_engine(engine, ctx):
    got = build("reward", {"use": "dro-r3"})(thoughts("a", "bb", "c"), ctx).values
    table = np.stack([by_hand(engine, f"<think>{t}</think><answer>", "42") for t in ("a", "bb", "c")])
    masked = by_hand(engine, "<think></think><answer>", "42")
    np.testing.assert_allclose(got, dro_r3.r3(table, masked), rtol=1e-2, atol=1e-3)
    alone = build("reward", {"use": "dro-r3"})(thoughts("a"), ctx)
    assert alone.causes == {0: dro_r3.ALONE}


@pytest.mark.parametrize("slug", LIKELIHOOD)
def test_what_cannot_be_scored_is_missing_with_its_cause(slug, ctx):
    score = build("reward", {"use": slug})
    rollouts = thoughts("a", "b", "c" * 200, "d").replace(reference=["42", None, "42", "42"])
    got = score(rollouts, ctx)
    assert np.isnan(got.values).tolist() == [False, True, True, False]
    assert dict(got.causes) == {1: NO_REFERENCE, 2: NO_ROOM}


@pytest.mark.parametrize("slug", [*LIKELIHOOD, "crew", "self-aligned-reward"])
def test_nobody_to_ask_and_engines_that_only_talk(slug):
    score = build("reward", {"use": slug})
    with pytest.raises(DataError, match="nobody to ask"):
        score(thoughts("a", "b"))
    with pytest.raises(EngineError, match="gives no log-probs"):
        score(thoughts("a", "b"), Context(engines={"policy": object()}))


def test_an_empty_completion_has_no_perplexity(ctx):
    rollouts = Rollouts(prompt=["q"], completion=[""])
    assert build("reward", {"use": "self-aligned-reward"})(rollouts, ctx).causes == {0: EMPTY}
