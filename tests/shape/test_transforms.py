"""Transforms that recipes name, on small rollouts."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon import shape
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build, names

NAN = float("nan")


def rollouts():
    """Two groups of two; 2, 1, 3 and 2 steps."""
    sizes = [2, 1, 3, 2]
    tokens = Ragged.from_lists([[0] * size for size in sizes], np.int32)
    return Rollouts(
        group=np.array([0, 0, 1, 1]),
        tokens=tokens,
        partitions={"step": Ragged.from_lists([np.arange(1, size + 1) for size in sizes], np.int64)},
        meta=[{"ref_rewards": [1.0, 3.0]}] * 4,
        signals={
            "outcome": Signal([1.0, 0.0, 1.0, NAN], "rollout", "outcome"),
            "format": Signal([0.5, 1.0, 0.25, 1.0], "rollout", "format"),
        },
    )


def per_rollout(*values):
    return Signal(list(values), "rollout", "x", {3: "timeout"} if values[-1] != values[-1] else {})


def per_step(*values):
    return Signal(list(values), "step", "x")


def apply(spec, signal):
    return build("shape", spec)(rollouts(), signal)


STEPS = per_step(0.2, 0.95, 0.5, 0.1, 0.2, 0.3, 1.0, 1.0)
ROWS = per_rollout(1, 2, 3, 6)


@pytest.mark.parametrize(
    ("spec", "signal", "expected"),
    [
        ({"use": "clip_above", "eta": 0.5}, STEPS, [-0.3, 0, 0, -0.4, -0.3, -0.2, 0, 0]),
        ({"use": "delta", "last": "keep"}, STEPS, [-0.75, 0.95, 0.5, -0.1, -0.1, 0.3, 0, 1]),
        ({"use": "clip_delta", "eta": 0.5}, STEPS, [-0.3, 0, 0, -0.1, -0.3, 0, 0, 0]),
        ({"use": "clip", "low": 0.3}, STEPS, [0.3, 0.95, 0.5, 0.3, 0.3, 0.3, 1, 1]),
        ({"use": "scale", "by": 2, "shift": 1}, ROWS, [3, 5, 7, 13]),
        ({"use": "sigmoid", "centre": 3, "slope": 2}, ROWS, [0.0179862, 0.1192029, 0.5, 0.9975274]),
        ({"use": "log_sigmoid", "centre": 3}, ROWS, [-2.126928, -1.3132617, -0.6931472, -0.0485874]),
        ({"use": "tanh", "centre": 3}, ROWS, [-0.9640276, -0.7615942, 0, 0.9950548]),
        ({"use": "hinge", "margin": 2}, ROWS, [0, 0, 1, 4]),
        ({"use": "versus_references"}, per_rollout(2, 5, 1, 3), [0.5, 0.9314054, 0.3096015, 0.6903985]),
        ({"use": "versus_references", "how": "centred"}, ROWS, [-1, 0, 1, 4]),
        ({"use": "normalise"}, ROWS, [-1.069045, -0.534522, 0, 1.603567]),
        ({"use": "normalise", "over": "batch", "how": "min_max"}, ROWS, [0, 0.2, 0.4, 1]),
        ({"use": "normalise", "how": "clip"}, ROWS, [1.129171, 2, 3, 4.870829]),
        ({"use": "normalise", "over": "group"}, ROWS, [-1, 1, -1, 1]),
        ({"use": "gate"}, ROWS, [1, 0, 3, NAN]),
        ({"use": "gate"}, STEPS, [0.2, 0.95, 0, 0.1, 0.2, 0.3, NAN, NAN]),
        ({"use": "gate", "by": "format", "hard": False}, ROWS, [0.5, 2, 0.75, 6]),
        ({"use": "gate", "positives_only": True}, per_rollout(1, -2, 3, 4), [1, -2, 3, NAN]),
        ({"use": "anneal", "schedule": 0.5}, ROWS, [0.5, 1, 1.5, 3]),
        ({"use": "mixed_groups_only"}, ROWS, [1, 2, 0, 0]),
        ({"use": "length_price", "coef": 6}, ROWS, [-2, -4, 1, 3]),
        ({"use": "over_limit", "limit": 2, "price": 0.5}, ROWS, [1, 2, 2.5, 6]),
        ({"use": "combine", "parts": ["format"], "weight": 2}, ROWS, [2.5, 5, 6.25, 13]),
        ({"use": "combine", "parts": {"format": 2}, "how": "multiply"}, ROWS, [0.25, 2, 0.1875, 6]),
        ({"use": "combine", "parts": ["format"], "how": "minimum"}, ROWS, [0.5, 1, 0.25, 1]),
        (
            {"use": "combine", "parts": ["format"], "how": "conjunction"},
            per_rollout(0.5, 0.5, 1, 0),
            np.log([0.25, 0.5, 0.25, 1e-6]),
        ),
        ({"use": "combine", "parts": ["format"]}, STEPS, [0.7, 1.45, 1.5, 0.35, 0.45, 0.55, 2, 2]),
        (
            {"use": "suffix_max_scale", "eps": 0},
            per_step(1, 2, 1, 1, 1, 1, -4, 1),
            np.array([1, 2, 1, 1, 1, 1, -4, 1]) / 3,
        ),
    ],
)
def test_literal(spec, signal, expected):
    got = apply(spec, signal)
    np.testing.assert_allclose(got.values, expected, atol=5e-7)
    assert (got.level, got.name) == (signal.level, "x")


@pytest.mark.parametrize("name", sorted(set(names("shape"))))
def test_every_transform_keeps_missing_values_and_their_cause(name):
    spec = {"use": name}
    if name == "clip":
        spec["low"] = 0.0
    if name == "combine":
        spec["parts"] = ["format"]
    if name in ("delta", "clip_delta", "suffix_max_scale"):
        got = apply(spec, per_step(0.2, 0.95, 0.5, 0.1, NAN, 0.3, 1.0, 1.0))
        assert np.isnan(got.values[4]) and not np.isnan(got.values[[0, 1, 2, 6, 7]]).any()
        return
    if name in ("gate", "mixed_groups_only"):
        spec["by"] = "format"  # open, and present, for the row that is missing
        spec |= {"low": -1.0, "high": 2.0} if name == "mixed_groups_only" else {}
    got = apply(spec, per_rollout(0.9, 0.4, 0.7, NAN))
    assert np.isnan(got.values).tolist() == [False, False, False, True]
    assert got.causes == {3: "timeout"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"use": "clip"}, "clip needs low <= high"),
        ({"use": "clip", "low": 2, "high": 1}, "clip needs low <= high"),
        ({"use": "clip_above", "eta": "high"}, "eta must be a finite number"),
        ({"use": "delta", "last": "first"}, "last must be one of drop, keep"),
        ({"use": "normalise", "over": "epoch"}, "over must be one of"),
        ({"use": "normalise", "over": "group", "how": "clip"}, "goes with how='mean_std'"),
        ({"use": "anneal", "schedule": 1.5}, r"schedule must be a number in \[0, 1\]"),
        ({"use": "anneal", "horizon": 0}, "horizon must be a number above 0"),
        ({"use": "combine", "parts": []}, "at least one other signal"),
        ({"use": "versus_references", "how": "best"}, "how must be one of"),
    ],
)
def test_refused(spec, message):
    with pytest.raises(RecipeError, match=message):
        build("shape", spec)


def test_inputs_are_named():
    with pytest.raises(DataError, match="needs the signal 'fluency'"):
        apply({"use": "combine", "parts": ["fluency"]}, ROWS)
    with pytest.raises(DataError, match="per rollout, not per step"):
        apply({"use": "length_price"}, STEPS)
    with pytest.raises(DataError, match="has 3 values"):
        apply({"use": "scale"}, per_rollout(1, 2, 3))


def test_chain_and_reexports():
    both = shape.chain(shape.clip_above(0.5), shape.delta("keep"))
    direct = shape.clip_delta(0.5, "keep")
    np.testing.assert_array_equal(both(rollouts(), STEPS).values, direct(rollouts(), STEPS).values)
    assert shape.posterior_grpo().name == "posterior-grpo"
    with pytest.raises(AttributeError, match="no attribute 'gigpo'"):
        shape.gigpo()
