"""Credit methods as verl calls them, without verl: its registries are stood in for.

The stand-in has the contract of `verl.trainer.ppo.core_algos.register_adv_est` 0.9: a decorator that keeps a
function under a name and refuses another one under the same. tests/verl_real runs against verl itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra 'lab' is not installed")

import torch

import guerdon as gd
from guerdon.adapters.verl import (
    around,
    check_version,
    compute_advantage,
    estimator,
    estimators,
    register,
    rollouts_of,
)
from guerdon.adapters.verl_batch import Columns
from guerdon.adapters.verl_settings import Settings
from guerdon.errors import DataError, RecipeError, TrainingError

MASK = torch.tensor([[1, 1, 0, 1, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
REWARDS = torch.tensor(
    [[0, 0.5, 0, 1.0, 0], [0, 0, 0.0, 0, 0], [2.0, 0, 0, 0, 0], [0, 0, 0, 0, 1.0]], dtype=torch.float32
)
UIDS = np.array(["a", "a", "b", "b"], dtype=object)
TOKENS = np.array([[1, 2, 50, 3, 0], [4, 5, 6, 0, 0], [7, 0, 0, 0, 0], [1, 2, 3, 4, 5]])


def arrays() -> tuple[np.ndarray, np.ndarray]:
    return REWARDS.double().numpy(), MASK.numpy() > 0


def test_what_a_method_sees() -> None:
    rollouts = rollouts_of(*arrays(), UIDS).rollouts
    assert rollouts.lengths.tolist() == [4, 3, 1, 5]
    assert rollouts.acted is not None
    assert rollouts.acted[0].tolist() == [True, True, False, True]
    assert rollouts.signals["outcome"].values.tolist() == [1.5, 0.0, 2.0, 1.0]
    assert rollouts.signals["reward"].values[:4].tolist() == [0, 0.5, 0, 1.0]
    assert rollouts.partitions["step"].to_lists() == [[3, 4], [3], [1], [5]]  # the tool's token ends a step
    assert rollouts.signals["env"].values.tolist() == [0.5, 1.0, 0.0, 2.0, 1.0]
    assert not {"process", "turn_reward"} & set(
        rollouts.signals
    )  # one number at the end of a row is no process reward


def test_dense_rewards_end_steps() -> None:
    rollouts = rollouts_of(*arrays(), UIDS, settings=Settings(dense=True)).rollouts
    assert rollouts.partitions["step"].to_lists() == [[2, 3, 4], [3], [1], [5]]
    assert rollouts.signals["process"].values.tolist() == [0.5, 0.0, 1.0, 0.0, 2.0, 1.0]
    assert rollouts.partitions["turn"].to_lists() == [[3, 4], [3], [1], [5]]
    assert rollouts.signals["turn_reward"].values.tolist() == [0.5, 1.0, 0.0, 2.0, 1.0]


def test_equals_the_native_call() -> None:
    for method in ("rloo", "grpo", "dr_grpo", "reinforce_pp", "reinforce_pp_baseline", "opo", "gpg"):
        found, returns = estimator(method)(
            token_level_rewards=REWARDS, response_mask=MASK, config=None, index=UIDS
        )
        own = getattr(gd.credit, method)()(rollouts_of(*arrays(), UIDS).rollouts)
        keep = torch.arange(5)[None, :] < torch.tensor([4, 3, 1, 5])[:, None]
        assert found[keep].tolist() == np.float32(own.values).tolist()
        assert not found[~keep].any() and torch.equal(found, returns)


@st.composite
def batches(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """Rewards, mask, prompts and token ids of a batch: turns of random lengths, some rewards missing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, width = draw(st.integers(1, 8)), draw(st.integers(1, 9))
    mask = rng.random((n, width)) < draw(st.sampled_from([0.2, 0.7, 1.0]))
    rewards = np.where(rng.random((n, width)) < 0.2, rng.normal(size=(n, width)), 0.0)
    rewards[rng.random(n) < 0.1, -1] = np.nan
    return rewards, mask, rng.integers(0, 3, n).astype(str), rng.integers(3, 6, (n, width))


@settings(deadline=None, max_examples=60)
@given(
    batches(),
    st.sampled_from(["rloo", "grpo", "gigpo", "reinforce_pp_baseline", "reinforce_pp"]),
    st.integers(0, 9),
)
def test_neither_the_order_of_rows_nor_padding_matters(
    batch: tuple[np.ndarray, ...], method: str, more: int
) -> None:
    rewards, mask, uids, tokens = batch

    def call(rows: np.ndarray, wider: int) -> np.ndarray:
        pad = ((0, 0), (0, wider))
        with around(Columns(responses=np.pad(tokens[rows], pad))):
            found, _ = estimator(method)(
                token_level_rewards=torch.as_tensor(np.pad(rewards[rows], pad)),
                response_mask=torch.as_tensor(np.pad(mask[rows], pad)),
                index=uids[rows],
            )
        return found.numpy()

    rows = np.arange(len(mask))
    plain, turned = call(rows, 0), call(rows[::-1], more)
    assert np.isfinite(plain).all() and not plain[~mask].any()
    np.testing.assert_allclose(turned[::-1, : mask.shape[1]], plain, rtol=1e-9, atol=1e-9)
    assert not turned[:, mask.shape[1] :].any()


def test_leave_one_out_by_hand() -> None:
    found, _ = estimator("rloo")(token_level_rewards=REWARDS, response_mask=MASK, index=UIDS)
    assert found.tolist() == [
        [1.5, 1.5, 0, 1.5, 0],
        [-1.5, -1.5, -1.5, 0, 0],
        [1, 0, 0, 0, 0],
        [-1, -1, -1, -1, -1],
    ]


def test_a_missing_reward_leaves_the_group() -> None:
    rewards = torch.tensor([[0, 1.0], [0, 3.0], [0, float("nan")], [0, 5.0]])
    found, _ = estimator("rloo")(
        token_level_rewards=rewards, response_mask=torch.ones(4, 2), index=np.array(["a", "a", "a", "b"])
    )
    assert found.tolist() == [[-2, -2], [2, 2], [0, 0], [5, 5]]
    alone, _ = estimator("rloo")(
        token_level_rewards=rewards[:2], response_mask=torch.ones(2, 2), index=np.array(["a", "a"])
    )
    assert torch.equal(found[:2], alone)


def test_a_reward_behind_the_last_token_of_the_policy_counts() -> None:
    rewards = torch.tensor([[0, 0, 1.0], [0, 0, 0.0]])  # verl puts it on the last token, a tool's
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    found, _ = estimator("rloo")(token_level_rewards=rewards, response_mask=mask, index=["a", "a"])
    assert found.tolist() == [[1, 1, 0], [-1, -1, -1]]


def test_rows_that_fill_up_a_batch_count_for_nothing() -> None:
    uids = np.array(["a", "a", "b", "b", "pad" + "0f" * 16], dtype=object)
    rewards, mask = torch.cat([REWARDS, torch.zeros(1, 5)]), torch.cat([MASK, torch.zeros(1, 5)])
    call = estimator("grpo", {"scale": "batch"})
    found, _ = call(token_level_rewards=rewards, response_mask=mask, index=uids)
    alone, _ = call(token_level_rewards=REWARDS, response_mask=MASK, index=UIDS)
    assert torch.equal(found[:4], alone) and not found[4].any()
    uids[4] = "a"  # a row whose tokens were all rejected stays in its group's baseline
    kept, _ = call(token_level_rewards=rewards, response_mask=mask, index=uids)
    assert not torch.equal(kept[:4], alone)


def test_outputs_of_one_session_are_one_rollout() -> None:
    rewards = torch.tensor([[0, 2.0], [0, 1.0], [0, 2.0], [0, 0.0]])  # verl copied the 2 to the first output
    mask = torch.tensor([[1, 1], [1, 1], [1, 0], [1, 1]])
    columns = Columns(
        scores=rewards.double().numpy(), sessions=[("a_0", 0), ("a_1", 0), ("a_0", 1), ("a_2", 0)]
    )
    with around(columns):
        found, _ = estimator("rloo")(token_level_rewards=rewards, response_mask=mask, index=["a"] * 4)
    assert found.tolist() == [[1.5, 1.5], [0, 0], [1.5, 0], [-1.5, -1.5]]
    with around(Columns(sessions=columns.sessions)), pytest.raises(DataError, match="rm_scores"):
        estimator("rloo")(token_level_rewards=rewards, response_mask=mask, index=["a"] * 4)


def test_states_are_what_the_environment_wrote() -> None:
    mask = np.array([[1, 0, 1, 0, 1], [1, 0, 1, 0, 0], [1, 0, 1, 0, 1]], bool)
    tokens = np.array([[1, 50, 2, 60, 3], [9, 50, 8, 70, 0], [1, 60, 4, 50, 5]])
    batch = rollouts_of(
        np.zeros((3, 5)), mask, ["a"] * 3, Columns(responses=tokens, lengths=np.array([5, 4, 5]))
    )
    state = batch.rollouts.state
    assert state is not None
    start, after_50, after_60 = state[:3].tolist()
    assert len({start, after_50, after_60}) == 3
    assert state.tolist() == [start, after_50, after_60, start, after_50, start, after_60, after_50]
    assert batch.rollouts.lengths.tolist() == [5, 4, 5]  # the last observation of row 1 counts
    silent = rollouts_of(np.zeros((3, 5)), mask, ["a"] * 3, Columns(responses=tokens), Settings(state="none"))
    assert silent.rollouts.state is None


def test_gigpo_by_hand() -> None:
    """Two rollouts of two turns; both see observation 50 before the second, which earns 1 and 0."""
    mask = torch.tensor([[1, 0, 1], [1, 0, 1]])
    rewards = torch.tensor([[0, 0, 1.0], [0, 0, 0.0]])
    tokens = np.array([[1, 50, 2], [3, 50, 4]])
    call = estimator("gigpo", {"gamma": 0.5})
    with around(Columns(responses=tokens)):
        found, _ = call(token_level_rewards=rewards, response_mask=mask, index=["a", "a"])
    # outcome: +-0.5; steps from the start: returns 0.5 and 0, +-0.25; after the observation: 1 and 0, +-0.5
    assert found.tolist() == [[0.75, 0, 1.0], [-0.75, 0, -1.0]]
    with pytest.raises(DataError, match="state"):
        call(token_level_rewards=rewards, response_mask=mask, index=["a", "a"])


def test_records_bring_steps_states_and_signals() -> None:
    records = [
        {"steps": [2, 4], "signals": {"process": {"level": "step", "values": [0.5, None]}}},
        {},
        {"steps": [1], "signals": {"process": {"level": "step", "values": [1.0]}, "outcome": {}}},
        {"steps": [3, 5], "signals": {"process": {"level": "step", "values": [0.0, 1.0]}}},
    ]
    rollouts = rollouts_of(*arrays(), UIDS, Columns(records=records, responses=TOKENS)).rollouts
    assert rollouts.partitions["step"].to_lists() == [[2, 4], [3], [1], [3, 5]]
    assert "turn" not in rollouts.partitions  # the second step of row 0 goes on after the tool's token
    np.testing.assert_array_equal(rollouts.signals["process"].values, [0.5, np.nan, np.nan, 1, 0, 1])
    assert rollouts.signals["outcome"].values.tolist() == [
        1.5,
        0,
        2,
        1,
    ]  # verl's
    told = [{"state": ["s", "t"]}, {"state": ["s"]}, {"state": ["t"]}, {"state": ["s"]}]
    state = rollouts_of(*arrays(), UIDS, Columns(records=told)).rollouts.state
    assert state is not None
    s, t = state[:2].tolist()
    assert state.tolist() == [s, t, s, t, s] and s != t


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"steps": [2, 5]}, "row 0: step ends must rise and end at the row's 4 tokens"),
        ({"steps": [3, 2, 4]}, "row 0: step ends must rise"),
        ({"state": ["a", "b", "c"]}, "row 0: `state` has 3 entries, expected one for each of 2 steps"),
        ({"signals": {"prm": {"level": "turn", "values": [1.0]}}}, "row 0: the signal 'prm' has 1 values"),
    ],
)
def test_records_that_do_not_fit(record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        rollouts_of(*arrays(), UIDS, Columns(records=[record, {}, {}, {}]))


def test_shapes_that_do_not_fit() -> None:
    rewards, mask = arrays()
    with pytest.raises(DataError, match="of one shape"):
        rollouts_of(rewards, mask[:, :4], UIDS)
    with pytest.raises(DataError, match="expected 4 prompts"):
        rollouts_of(rewards, mask, UIDS[:3])
    with pytest.raises(DataError, match="column 'responses'"):
        rollouts_of(rewards, mask, UIDS, Columns(responses=TOKENS[:, :3]))
    with pytest.raises(DataError, match="records: expected 4 entries"):
        rollouts_of(rewards, mask, UIDS, Columns(records=[{}]))


def test_settings_come_from_the_configuration() -> None:
    config = {"guerdon": {"credit": {"scale": "none"}, "dense": True}}
    found, _ = estimator("grpo")(token_level_rewards=REWARDS, response_mask=MASK, index=UIDS, config=config)
    own, _ = estimator("dr_grpo")(token_level_rewards=REWARDS, response_mask=MASK, index=UIDS)
    assert torch.equal(found, own)
    with pytest.raises(RecipeError, match=r"algorithm\.guerdon\.dens: unknown field; did you mean 'dense'"):
        Settings.of({"guerdon": {"dens": True}})
    with pytest.raises(RecipeError, match="expected a mapping"):
        Settings.of({"guerdon": "dense"})


class FakeData:
    """The part of a DataProto that is used."""

    def __init__(self, batch: dict[str, Any], others: dict[str, Any]) -> None:
        self.batch, self.non_tensor_batch = batch, others


def test_batches_of_ones_own() -> None:
    record = json.dumps({"steps": [2, 4], "signals": {"process": {"level": "step", "values": [1, 0]}}})
    data = FakeData(
        {"rm_scores": REWARDS, "response_mask": MASK, "responses": torch.as_tensor(TOKENS)},
        {"uid": UIDS, "guerdon": np.array([record, None, "", {}], dtype=object)},
    )
    out = compute_advantage(data, "pure").batch
    assert out["advantages"].shape == (4, 5) and torch.equal(out["advantages"], out["returns"])
    data.non_tensor_batch["guerdon"][1] = "[1]"
    with pytest.raises(DataError, match="row 1: `guerdon` must hold a JSON object"):
        compute_advantage(data, "pure")


def test_every_method_is_registered_once(caplog: pytest.LogCaptureFixture) -> None:
    kept: dict[str, Any] = {}

    def register_adv_est(name: str) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            if name in kept and kept[name] != function:
                raise ValueError(f"{name} is registered already")
            kept[name] = function
            return function

        return decorate

    names = register(register_adv_est)
    assert {"guerdon_rloo", "guerdon_gigpo", "guerdon_tp_grpo_thought"} <= set(names) == set(kept)
    assert not {"guerdon_levels", "guerdon_gae"} & set(names)
    assert register(register_adv_est) == names == list(estimators())
    kept["guerdon_rloo"] = print
    with caplog.at_level(logging.ERROR, "guerdon.verl"):
        assert set(names) - set(register(register_adv_est)) == {"guerdon_rloo"}
    assert "guerdon_rloo was not registered" in caplog.text


def test_what_is_missing_is_named() -> None:
    with pytest.raises(DataError, match="needs the signal 'prm'"):
        estimator("pure")(token_level_rewards=REWARDS, response_mask=MASK, index=UIDS)
    with pytest.raises(RecipeError, match="unknown field"):
        estimator("rloo", {"nope": 1})(token_level_rewards=REWARDS, response_mask=MASK, index=UIDS)
    with pytest.raises(DataError, match="guerdon_sync"):
        estimator("rloo", steps="newline")(token_level_rewards=REWARDS, response_mask=MASK, index=UIDS)


def test_versions(caplog: pytest.LogCaptureFixture) -> None:
    for version in ("0.9.0", "0.9.1", "0.9.2.dev0"):
        check_version(version)
    assert not caplog.records
    for version in ("0.8.3", "0.4", "main"):
        with pytest.raises(TrainingError, match=rf"verl >= 0\.9, < 0\.10, and {version} is installed"):
            check_version(version)
    check_version("0.10.0")
    assert "was made for verl >= 0.9, < 0.10, and 0.10.0 is installed" in caplog.text
