"""A reward_func file as OpenRLHF loads it, and stages as Ray Data calls them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import guerdon as gd
from guerdon.adapters.openrlhf import make_reward_func
from guerdon.adapters.ray import Annotate, Assign, Score, rollouts_of
from guerdon.credit.compose import Credit, Level
from guerdon.data import spans
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build


def as_list(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def test_a_file_as_openrlhf_loads_it(tmp_path: Path) -> None:
    path = tmp_path / "reward.py"
    path.write_text(
        "from guerdon.adapters.openrlhf import make_reward_func\n"
        "reward_func = make_reward_func('verify.match', {'length': 'verify.length'})\n"
    )
    spec = importlib.util.spec_from_file_location("reward_func", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.reward_func(["<s>say 4: 4"], ["say 4: "], ["4"])
    assert as_list(found["rewards"]) == as_list(found["scores"]) == [1.0]
    assert found["extra_logs"].keys() == {"length", "missing"}
    assert as_list(found["extra_logs"]["missing"]) == [0.0]


def test_missing_is_none_for_openrlhf() -> None:
    reward_func = make_reward_func("verify.match")
    assert reward_func(["4"], [""], [None])["rewards"] is None
    assert reward_func(["4", "5"], ["", ""], ["4", None])["rewards"] == [1.0, None]
    with pytest.raises(DataError, match="1 queries, 2 prompts"):
        reward_func(["4"], ["", ""], ["4"])
    with pytest.raises(RecipeError, match=r"did you mean 'verify\.match'"):
        make_reward_func("verify.mach")


def test_a_sample_without_a_verdict_is_worth_what_the_user_says(caplog: pytest.LogCaptureFixture) -> None:
    broken = gd.reward(lambda completion: None, name="broken")
    found = make_reward_func("verify.match", {"broken": broken}, on_missing=-1.0)(["4"], [""], [None])
    assert as_list(found["rewards"]) == [-1.0] and as_list(found["extra_logs"]["missing"]) == [1.0]
    assert np.isnan(as_list(found["extra_logs"]["broken"])).all()
    assert "reward 'match' has no verdict: no reference" in caplog.text

    class Gone:
        name, version = "gone", "1"

        def __call__(self, rollouts: gd.Rollouts, ctx: Any = None) -> Any:
            raise ConnectionError("the judge is gone")

    assert as_list(make_reward_func(Gone(), on_missing=0.5)(["4"], [""], ["4"])["rewards"]) == [0.5]
    with pytest.raises(ConnectionError):
        make_reward_func(Gone())(["4"], [""], ["4"])
    assert caplog.text.count("reward 'gone' failed: ConnectionError: the judge is gone") == 2
    with pytest.raises(RecipeError, match="on_missing"):
        make_reward_func("verify.match", on_missing="zero")


def batch() -> dict[str, np.ndarray]:
    """As Ray Data hands it over."""
    return {
        "prompt": np.array(["p"] * 4, dtype=object),
        "completion": np.array(["4", "5", "4", "6"], dtype=object),
        "reference": np.array(["4", "4", "4", None], dtype=object),
        "group": np.array(["a", "a", "b", "b"], dtype=object),
        "weight": np.array([1, 2, 3, 4]),
    }


def test_scores_equal_the_native_call() -> None:
    out = Score({"correct": "verify.match", "maths": {"use": "verify.math"}})(batch())
    rollouts = gd.Rollouts(completion=["4", "5", "4", "6"], reference=["4", "4", "4", None])
    np.testing.assert_array_equal(out["correct"], gd.verify.match()(rollouts).values)
    np.testing.assert_array_equal(out["maths"], gd.verify.math()(rollouts).values)
    assert out["weight"].tolist() == [1, 2, 3, 4]


def test_credit_of_a_batch() -> None:
    given = {
        "group": np.array(["a", "a"], dtype=object),
        "tokens": np.array([np.array([1, 2]), np.array([3])], dtype=object),
        "signals": np.array(
            [{"outcome": {"level": "rollout", "values": np.array([v])}} for v in (1.0, 0.0)], dtype=object
        ),
    }
    out = Assign("rloo")(given)
    assert [row.tolist() for row in out["advantages"]] == [[1.0, 1.0], [-1.0]]


def test_labels_of_steps() -> None:
    given = {
        "prompt": np.array(["What is 2 + 3?"] * 2, dtype=object),
        "completion": np.array(["2 + 3 = 5.\nSo 5.", "2 + 3 = 6.\nSo 6."], dtype=object),
        "signals": np.array(
            [{"outcome": {"level": "rollout", "values": np.array([1.0])}}, None], dtype=object
        ),
    }
    out = Annotate({"checks": "verify.step_checks"}, steps="newline")(given)
    assert [row.tolist() for row in out["steps"]] == [[11, 16]] * 2
    rollouts = rollouts_of(out)
    native = spans.split(
        gd.Rollouts(prompt=list(given["prompt"]), completion=list(given["completion"])), "newline"
    )
    assert rollouts.signals["checks"].level == "step"
    expected = build("reward", {"use": "verify.step_checks"})(native).values
    assert rollouts.signals["checks"].values.tolist() == expected.tolist() == [1, 1, 0, 1]
    np.testing.assert_array_equal(rollouts.signals["outcome"].values, [1.0, np.nan])
    missing = gd.reward(lambda completion: None, name="broken")
    again = Annotate({"broken": missing})(out)
    assert again["signals"][0]["broken"] == {"level": "rollout", "values": [None]}
    assert again["signals"][0]["checks"]["values"] == [1.0, 1.0]


def test_a_bad_row_is_named() -> None:
    bad = batch() | {"completion": np.array(["4", 5, "4", "6"], dtype=object)}
    with pytest.raises(DataError, match="row 1 of the batch: completion"):
        Score({"correct": "verify.match"})(bad)


@pytest.mark.slow
def test_on_ray_data() -> None:
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    ours = not ray.is_initialized()
    if ours:
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        import ray.data

        rows = [{"prompt": "p", "completion": str(i % 3), "reference": "1"} for i in range(30)]
        scored = ray.data.from_items(rows).map_batches(
            Score,
            fn_constructor_kwargs={"rewards": {"correct": "verify.match"}},
            batch_size=8,
            compute=ray.data.ActorPoolStrategy(size=1),
        )
        labelled = scored.map_batches(
            Annotate,
            fn_constructor_kwargs={"labels": {"checks": "verify.step_checks"}, "steps": "newline"},
            batch_size=8,
            compute=ray.data.ActorPoolStrategy(size=1),
        )
        credited = labelled.groupby("prompt").map_groups(
            Assign,
            fn_constructor_kwargs={"method": Credit([Level("checks", span="step")])},
            compute=ray.data.ActorPoolStrategy(size=1),
        )
        rows = credited.take_all()
        found = sorted((row["completion"], row["correct"]) for row in rows)
        assert {tuple(row["advantages"]) for row in rows} == {(1.0,)}
        assert {tuple(row["signals"]["checks"]["values"]) for row in rows} == {(1.0,)}
    finally:
        if ours:
            ray.shutdown()
    assert found == sorted((str(i % 3), float(i % 3 == 1)) for i in range(30))
