"""Estimators as SkyRL calls them; SkyRL's own registry and trainer are in `test_skyrl_itself.py`."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra 'lab' is not installed")

import torch

import guerdon as gd
from guerdon.adapters import skyrl
from guerdon.adapters.skyrl import Estimator, rollouts_of
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError, TrainingError


def laid_out(rewards: list[list[float]]) -> tuple[Any, Any]:
    """Rewards and mask as SkyRL lays responses out: to the right."""
    width = max(map(len, rewards))
    padded = torch.zeros(len(rewards), width)
    mask = torch.zeros(len(rewards), width, dtype=torch.int64)
    for i, row in enumerate(rewards):
        if row:
            padded[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
    return padded, mask


def call(estimator: Any, rewards: Any, mask: Any, index: Any, **more: Any) -> Any:
    """As `compute_advantages_and_returns` of SkyRL 0.4 calls an estimator."""
    told = {"values": None, "grpo_norm_by_std": True, "gamma": 1.0, "lambd": 1.0, "config": None}
    return estimator(token_level_rewards=rewards, response_mask=mask, index=index, **(told | more))


def test_leave_one_out_by_hand() -> None:
    rewards, mask = laid_out([[0, 1.0], [0, 0, 0.0], [0.0, 0.5], [0.0]])
    advantages, returns = call(Estimator("rloo"), rewards, mask, ["a", "a", "b", "b"])
    expected = [[0, 1, 1], [-1, -1, -1], [0, 0.5, 0.5], [0, 0, -0.5]]
    assert advantages.tolist() == expected and returns.tolist() == expected
    assert advantages.dtype == rewards.dtype and advantages is not returns


REWARDS = st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 1.0, -0.5]), min_size=1, max_size=5), min_size=2, max_size=5
)


@settings(deadline=None, max_examples=40)
@given(REWARDS, st.sampled_from(["grpo", "rloo", "reinforce_pp", "pure", "opo", "outcome_and_steps"]))
def test_equal_to_the_native_call_bit_for_bit(rows: list[list[float]], method: str) -> None:
    padded, mask = laid_out(rows)
    index = ["p" if i % 2 else "q" for i in range(len(rows))]
    advantages, _ = call(Estimator(method), padded, mask, index)
    steps = [[k + 1 for k, r in enumerate(row) if r and k + 1 < len(row)] + [len(row)] for row in rows]
    paid = [row[end - 1] for row, ends in zip(rows, steps, strict=True) for end in ends]
    native = gd.Rollouts(
        tokens=gd.Ragged.from_lists([[0] * len(row) for row in rows], np.int32),
        group=[i % 2 for i in range(len(rows))],
        partitions={"step": gd.Ragged.from_lists(steps, np.int64)},
        signals={
            "outcome": Signal(np.array([sum(row) for row in rows]), "rollout"),
            "process": Signal(np.array(paid), "step"),
            "steps": Signal(np.array(paid), "step"),
            "reward": Signal(np.array([r for row in rows for r in row]), "token"),
        },
    )
    expected = getattr(gd.credit, method)()(native)
    assert advantages[mask.bool()].tolist() == np.float32(expected.values).tolist()
    assert not advantages[~mask.bool()].any()


def test_a_critic_gets_values_and_returns() -> None:
    rewards, mask = laid_out([[0.0, 0.0, 1.0], [1.0]])
    values = torch.tensor([[0.5, 0.25, 0.125], [9.0, 9.0, 0.5]])
    plain = Estimator("gae", {"lam": 1.0, "whiten": False})
    advantages, returns = call(plain, rewards, mask, ["a", "b"], values=values, gamma=0.5)
    assert advantages.tolist() == [[0.5, 0.75, 0.875], [0, 0, 0.5]]
    assert returns.tolist() == [[0.25, 0.5, 1.0], [0, 0, 1.0]]


def test_a_missing_reward_leaves_its_group_alone() -> None:
    rewards, mask = laid_out([[0, 1.0], [0, float("nan")], [0, 0.0]])
    advantages, _ = call(Estimator("rloo"), rewards, mask, ["a"] * 3)
    assert advantages.tolist() == [[1, 1], [0, 0], [-1, -1]]


class Batch(dict):  # type: ignore[type-arg]
    """SkyRL's TrainingInputBatch, as far as it is read: fields that may be None, and metadata."""

    metadata: dict[str, Any]


def turns_batch() -> Any:
    """Two rollouts of three turns, the second paid nothing in its first turn, and a row to fill the batch."""
    rewards, mask = laid_out([[0.5, 0, 0, 0, 1.0], [0.0, 0, 0, 0, 0.0], [0.5, 0, 0, 0, 1.0]])
    wrote = torch.tensor([[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]])
    batch = Batch(
        sequences=torch.tensor([[0, 1, 5, 9, 6, 9, 7], [2, 1, 5, 8, 6, 9, 7], [0, 1, 5, 9, 6, 9, 7]]),
        attention_mask=torch.tensor([[0, 1, 1, 1, 1, 1, 1], [1] * 7, [0, 1, 1, 1, 1, 1, 1]]),
        response_mask=mask,
        loss_mask=wrote.float(),
        rewards=rewards,
        values=None,
        rollout_logprobs=-torch.ones(3, 5),
        base_action_log_probs=None,
    )
    batch.metadata = {"uids": ["a", "a", "pad0"], "pad_size": 1}
    return batch


class Trainer:
    """Calls an estimator as SkyRL's trainer does."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def compute_advantages_and_returns(self, data: Any) -> Any:
        data["advantages"], data["returns"] = call(
            self.estimator,
            data["rewards"],
            data["response_mask"],
            data.metadata["uids"],
            values=data["values"],
        )
        return data


class Seeing(skyrl.SeesBatch, Trainer):
    pass


def recording(seen: list[Any]) -> Any:
    made = Estimator("rloo")
    credit = made._credit

    def kept(rollouts: Any) -> Any:
        seen.append(rollouts)
        return credit(rollouts)

    made._credit = kept
    return made


def test_with_the_batch_in_sight_steps_are_turns() -> None:
    seen: list[Any] = []
    data = Seeing(recording(seen)).compute_advantages_and_returns(turns_batch())
    (rollouts,) = seen
    assert rollouts.tokens.to_lists() == [[5, 9, 6, 9, 7], [5, 8, 6, 9, 7]]
    assert rollouts.acted.to_lists() == [[True, False, True, False, True]] * 2
    assert rollouts.partitions["step"].to_lists() == [[2, 4, 5]] * 2
    assert rollouts.signals["env"].values.tolist() == [0.5, 0, 1, 0, 0, 0]
    state = rollouts.state.reshape(2, 3)
    assert state[0, 0] != state[1, 0]  # prompts [1] and [2, 1]
    assert state[0, 1] != state[1, 1] and state[0, 1] == state[0, 2] == state[1, 2]  # 9, 8; 9, 9, 9
    assert (rollouts.logprobs.values == -1).all() and rollouts.ref_logprobs is None
    assert data["advantages"][:2].tolist() == [[1.5, 0, 1.5, 0, 1.5], [-1.5, 0, -1.5, 0, -1.5]]
    assert not data["advantages"][2].any()  # the row that fills the batch


def test_the_batch_is_out_of_sight_afterwards_and_for_other_rows() -> None:
    seen: list[Any] = []
    estimator = recording(seen)
    batch = turns_batch()
    Seeing(estimator).compute_advantages_and_returns(batch)
    call(estimator, batch["rewards"], batch["response_mask"], batch.metadata["uids"])
    assert len(seen[1]) == 3 and seen[1].state is None

    class LastSteps(Seeing):
        """Hands some of the rows over, as step-wise training does."""

    def part(data: Any) -> Any:
        return call(estimator, data["rewards"][:1], torch.ones(1, 5), ["a"])

    made = LastSteps(estimator)
    made.estimator = lambda **_: part(batch)
    made.compute_advantages_and_returns(batch)
    assert len(seen[2]) == 1 and seen[2].state is None


def test_gigpo_runs_on_turns_of_a_batch() -> None:
    batch = turns_batch()
    Seeing(Estimator("gigpo")).compute_advantages_and_returns(batch)
    wrote = batch["loss_mask"] > 0
    assert batch["advantages"][:2][wrote[:2]].ne(0).all() and not batch["advantages"][~wrote].any()


def test_every_method_is_registered_and_pickles() -> None:
    taken: dict[str, Any] = {}
    names = skyrl.register(taken.__setitem__)
    assert names == list(taken) and {"guerdon_grpo", "guerdon_pure", "guerdon_tp_grpo_thought"} <= set(names)
    rewards, mask = laid_out([[0, 1.0], [0.0]])
    again = pickle.loads(pickle.dumps(taken["guerdon_rloo"]))
    assert call(again, rewards, mask, ["a", "a"])[0].tolist() == [[1, 1], [0, -1]]


def test_what_cannot_be_registered_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def add(name: str, function: Any) -> None:
        if name == "guerdon_rloo":
            raise ValueError("already registered")

    assert "guerdon_rloo" not in skyrl.register(add)
    assert "guerdon_rloo was not registered: already registered" in caplog.text


def test_without_skyrl_or_with_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skyrl.backends", None)
    monkeypatch.setitem(sys.modules, "skyrl.backends.skyrl_train.utils.ppo_utils", None)
    with pytest.raises(TrainingError, match=r"needs skyrl >= 0\.4, and (none|skyrl [\d.]+) is installed"):
        skyrl.register()


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="row 1: a reward lies outside of the response"):
        rollouts_of(np.ones((2, 2)), np.array([[True, True], [False, True]]), ["a", "a"])
    with pytest.raises(DataError, match="3 uids"):
        rollouts_of(np.ones((2, 2)), np.ones((2, 2), bool), ["a", "a", "b"])
    with pytest.raises(RecipeError, match="did you mean 'rloo'"):
        Estimator("rlo")
