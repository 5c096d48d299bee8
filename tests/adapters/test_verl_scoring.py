"""Rewards on verl's samples without verl: parts, places, failures, and the hook the plugin hangs on."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guerdon.adapters.after_import import after_import
from guerdon.adapters.verl_scoring import DenseScore, RewardSettings, Sample, Scorer, extra_info
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError, TrainingError


class Letters:
    """One token per character."""

    def token_bytes(self, ids: list[int]) -> list[bytes]:
        return [bytes([i]) for i in ids]


def sample(text: str, reference: Any = None) -> Sample:
    return Sample("what?", text, np.frombuffer(text.encode(), np.uint8).astype(np.int32), reference)


def scorer(tokens: Any = None, **given: Any) -> Scorer:
    return Scorer(RewardSettings.of(given), tokens)


class Steps:
    """Values of steps as told, missing where None."""

    name, version = "steps", "1"

    def __init__(self, values: list[float | None], level: str = "step") -> None:
        self.values, self.level = values, level

    def __call__(self, rollouts: Any, ctx: Any = None) -> Signal:
        values = np.array([np.nan if v is None else v for v in self.values])
        return Signal(values, self.level, "steps", {i: "unsure" for i in np.flatnonzero(np.isnan(values))})


def test_one_reward_is_the_outcome() -> None:
    found = scorer(use="verify.math")([sample("12", "12"), sample("13", "12")])
    assert [float(one.score) for one in found] == [1.0, 0.0]
    info = extra_info(found[0])
    assert (info["outcome"], info["missing"]) == (1.0, 0.0)
    assert json.loads(info["guerdon"]) == {"signals": {"outcome": {"level": "rollout", "values": [1.0]}}}


def test_steps_are_placed_where_they_end() -> None:
    made = scorer(Letters(), rewards={"process": {"use": "verify.step_checks"}}, steps="newline")
    found = made([sample("1 + 1 = 2\n2 + 2 = 5\nso 4 or 5?")])[0]
    assert found.record["steps"] == [10, 20, 30]
    values = found.record["signals"]["process"]["values"]
    assert values[:2] == [1.0, 0.0]
    assert found.score.rewards == tuple(zip([10, 20, 30], values, strict=True))
    assert float(found.score) == sum(values) == found.parts["process"]


def test_weights_and_the_part_called_outcome() -> None:
    made = scorer(Letters(), rewards={"outcome": {"use": "verify.math"}}, steps="newline")
    made.rewards["process"], made.weights["process"] = Steps([0.5, None]), 0.0
    found = made([sample("1\n12", "12")])[0]
    assert float(found.score) == 1.0 and found.cause is None  # what has no weight may be missing
    assert found.record["signals"]["process"]["values"] == [0.5, None]
    assert math.isnan(found.parts["process"])
    made.weights["process"] = 2.0
    lost = made([sample("1\n12", "12")])[0]
    assert math.isnan(lost.score) and lost.cause == "process: unsure"


def test_a_failure_does_not_touch_its_neighbours() -> None:
    class Fragile(Steps):
        def __call__(self, rollouts: Any, ctx: Any = None) -> Signal:
            if "x" in "".join(rollouts.completion):
                raise OSError("the server is gone")
            return Signal(np.ones(len(rollouts)), "rollout")

    made = scorer(use="verify.math", on_error="drop")
    made.rewards = {"outcome": Fragile([])}
    found = made([sample("a"), sample("x"), sample("b")])
    assert [one.cause for one in found] == [None, "OSError: the server is gone", None]
    assert [float(made.settle(one)) for one in (found[0], found[2])] == [1.0, 1.0]
    assert math.isnan(made.settle(found[1])) and extra_info(found[1])["missing"] == 1.0
    made.settings = RewardSettings.of({"use": "verify.math"})
    with pytest.raises(TrainingError, match="the server is gone") as error:
        made.settle(found[1])
    assert isinstance(error.value.__cause__, OSError)
    made.settings = RewardSettings.of({"use": "verify.math", "on_error": 0.25})
    assert made.settle(found[1]) == 0.25


def test_rewards_of_groups_are_refused() -> None:
    made = scorer(use="verify.math")
    made.rewards = {"outcome": Steps([1.0], "group")}
    found = made([sample("a")])[0]
    assert found.cause is not None and "one at a time" in found.cause


def test_a_reward_of_ones_own_file(tmp_path: Path) -> None:
    at = tmp_path / "my_verl_rewards.py"
    at.write_text("def short(completion, limit=3):\n    return float(len(completion) <= limit)\n")
    made = scorer(rewards={"brief": {"use": f"{at}:short", "limit": 2}})
    assert [float(one.score) for one in made([sample("ab"), sample("abc")])] == [1.0, 0.0]
    with pytest.raises(RecipeError, match="long"):
        scorer(use=f"{at}:long")


def test_settings() -> None:
    with pytest.raises(RecipeError, match="a tokenizer is needed"):
        scorer(use="verify.math", steps="newline")
    with pytest.raises(RecipeError, match="name one reward"):
        RewardSettings.of(None)
    with pytest.raises(RecipeError, match="expected a mapping"):
        RewardSettings.of("verify.math")
    RewardSettings.of({"use": "verify.math", "on_error": "drop"}).check_estimator("guerdon_rloo")
    assert DenseScore.of([(1, 2.0)], 2.0) == 2.0


def test_something_happens_once_after_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guerdon_test_host").mkdir()
    (tmp_path / "guerdon_test_host" / "__init__.py").write_text("")
    (tmp_path / "guerdon_test_host" / "registry.py").write_text("NAMES = ['own']\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    called: list[str] = []

    def then(word: str) -> None:
        called.append(word + ",".join(sys.modules["guerdon_test_host.registry"].NAMES))

    before = list(sys.meta_path)
    after_import("guerdon_test_host.registry", lambda: then("first "))
    after_import("guerdon_test_host.registry", lambda: then("second "))
    after_import("guerdon_test_host.absent", lambda: called.append("never"))
    import guerdon_test_host

    assert called == []
    import guerdon_test_host.registry as host

    assert sorted(called) == ["first own", "second own"] and host.NAMES == ["own"]
    assert "SourceFileLoader" in type(host.__spec__.loader).__name__
    with pytest.raises(ModuleNotFoundError):
        __import__("guerdon_test_host.absent")
    sys.meta_path[:] = before
    for name in ("guerdon_test_host.registry", "guerdon_test_host"):
        del sys.modules[name]
    assert guerdon_test_host is not None
