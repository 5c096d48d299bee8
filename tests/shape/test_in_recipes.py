"""Transforms as entries of a recipe's `shape`: order, parts, state."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.context import Context
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.errors import DataError, RecipeError
from guerdon.learn import signals
from guerdon.learn.recipe_names import check_name, check_parameters
from guerdon.registry import build


def rollouts(outcome, **more):
    n = len(outcome)
    carried = {"outcome": outcome, **more}
    return Rollouts(
        tokens=Ragged.from_lists([[0, 0]] * n, np.int32),
        group=np.zeros(n, int),
        signals={name: Signal(np.array(v, float), "rollout", name) for name, v in carried.items()},
    )


def run(section, batch, ctx=None):
    return signals.shape(batch, signals.build_shapes(section), ctx or Context())


def test_a_published_reward_shapes_the_outcome_and_shows_its_parts():
    batch = rollouts([1, 1, 0, 0], thinking=[0.9, 0.2, 0.95, 0.8], format=[1, 1, 1, 0])
    out = run({"outcome": [{"use": "posterior-grpo"}]}, batch).signals
    np.testing.assert_allclose(out["outcome"].values, [2.9, 2.2, 1, 0])
    assert out["outcome_raw"].values.tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(out["outcome_gain"].values, [0.9, 0.2, 0, 0])
    assert out["outcome_gate"].name == "outcome_gate"


def test_entries_apply_in_order():
    batch = rollouts([1, 0], thinking=[0.5, 0.5], format=[0, 0])
    chained = [{"use": "posterior-grpo"}, {"use": "shape.scale", "by": 2.0, "shift": -1.0}]
    assert run({"outcome": chained}, batch).signals["outcome"].values.tolist() == [2.0, -1.0]
    turned = run({"outcome": chained[::-1]}, batch).signals["outcome"].values
    assert turned.tolist() == [1.5, 0.0]  # 2 * 1 - 1 = 1 passes, 2 * 0 - 1 does not


def test_both_names_of_a_transform():
    assert build("shape", {"use": "clip_delta", "eta": 0.5}).name == "clip_delta"
    assert build("shape", {"use": "shape.clip_delta", "eta": 0.5}).name == "clip_delta"
    with pytest.raises(RecipeError, match="did you mean 'clip_delta'"):
        build("shape", {"use": "shape.clip_dleta"})
    with pytest.raises(RecipeError, match=r"shape\.etta: unknown field; did you mean 'eta'"):
        build("shape", {"use": "clip_delta", "etta": 0.5})


def test_a_part_never_overwrites_a_reward():
    batch = rollouts([1, 0], thinking=[0.5, 0.5], format=[0, 0], outcome_gain=[7, 7])
    out = run({"outcome": [{"use": "posterior-grpo"}]}, batch).signals
    assert out["outcome_gain"].values.tolist() == [7, 7]


def test_schedules_follow_the_run():
    batch = rollouts([1, 1])
    faded = run({"outcome": [{"use": "anneal"}]}, batch, Context(progress=0.25)).signals["outcome"]
    assert faded.values.tolist() == [0.75, 0.75]
    assert run({"outcome": [{"use": "anneal", "horizon": 10}]}, batch, Context(step=10)).signals[
        "outcome"
    ].values == pytest.approx([np.exp(-1)] * 2)


def test_states_are_saved_with_the_run(tmp_path):
    section = {"outcome": [{"use": "normalise"}, {"use": "clip", "high": 1.0}]}
    shapes, credit = signals.build_shapes(section), build("credit", {"use": "par", "variant": "meanstd"})
    first = rollouts([1, 2, 3, 6], rm=[1, 2, 3, 6])
    signals.shape(first, shapes, Context())
    credit(first)
    signals.save_states(signals.stateful({}, shapes, credit), tmp_path)

    again, credit2 = signals.build_shapes(section), build("credit", {"use": "par", "variant": "meanstd"})
    signals.load_states(signals.stateful({}, again, credit2), tmp_path)
    later = rollouts([4, 8], rm=[4, 8])
    expected = signals.shape(later, shapes, Context()).signals["outcome"].values
    assert signals.shape(later, again, Context()).signals["outcome"].values.tolist() == expected.tolist()
    assert credit2(later).values.tolist() == credit(later).values.tolist()


def test_a_level_it_cannot_shape_is_refused():
    batch = rollouts([1, 0], thinking=[0.5, 0.5], format=[0, 0])
    token = batch.with_signal(Signal(np.zeros(4), "token", "outcome"))
    with pytest.raises(DataError, match="shapes a signal at level rollout"):
        run({"outcome": [{"use": "posterior-grpo"}]}, token)
    with pytest.raises(DataError, match="along the spans"):
        run({"outcome": [{"use": "delta"}]}, batch)
    with pytest.raises(DataError, match="needs the signal 'thinking'"):
        run({"outcome": [{"use": "posterior-grpo"}]}, rollouts([1, 0], format=[0, 0]))


def test_names_and_parameters_are_checked_as_recipes_are():
    for kind in ("shape", "credit"):
        for spec in (
            {"use": "clip-delta", "clip": 0.9, "delta": "keep"},
            {"use": "conciseness-reward", "s": 0.5, "difficulty": 0.4},
            {"use": "efficiency-steering", "lambda": 0.4},
            {"use": "g-ra", "priority": ["a", "b"], "thresholds": [0.5]},
            {"use": "transform-combine", "weights": {"rm": 2.0}, "quantile": 0.9},
            {"use": "rlsp", "judge": False, "C": 20},
            {"use": "sophiavl-r1", "T": 12000, "step": 3},
        ):
            check_name(kind, kind, spec)
            check_parameters(kind, kind, spec)
    named = {"use": "shape.clip_delta", "eta": 0.5}
    check_name("shape", "shape", named)
    check_parameters("shape", "shape", named)
    with pytest.raises(RecipeError, match="lambada"):
        check_parameters("credit", "credit", {"use": "efficiency-steering", "lambada": 0.4})
    with pytest.raises(RecipeError, match=r"credit\.alpha"):
        check_parameters("credit", "credit", {"use": "pear", "alpha": "much"})
