"""verl's own `compute_advantage` on real batches, calling guerdon's estimators."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed; `make verl` tests in an environment that has it")

import torch
from verl import DataProto
from verl.trainer.config import AlgoConfig
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.ray_trainer import apply_kl_penalty, compute_advantage
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

from guerdon import registry
from guerdon.adapters import verl as adapter
from guerdon.adapters.verl_batch import columns_of, rollouts_of
from guerdon.adapters.verl_settings import Settings
from guerdon.errors import DataError

GROUPS, EACH, WIDTH = 6, 4, 24


def batch(seed: int = 0, dense: bool = False) -> DataProto:
    """Rollouts of one to three turns in groups of four, half of them right, as verl's trainer holds them."""
    rng = np.random.default_rng(seed)
    n = GROUPS * EACH
    mask, attention = np.zeros((n, WIDTH), int), np.zeros((n, WIDTH), int)
    rewards = np.zeros((n, WIDTH), np.float32)
    responses = rng.integers(3, 9, (n, WIDTH))
    for row in range(n):
        at = 0
        for turn in range(rng.integers(1, 4)):
            if turn:
                responses[row, at : at + 2] = rng.integers(3, 5)
                at += 2
            own = int(rng.integers(1, 6))
            mask[row, at : at + own] = 1
            at += own
            if dense:
                rewards[row, at - 1] = rng.choice([-0.5, 0.25, 1.0])
        attention[row, :at] = 1
        rewards[row, at - 1] += rng.integers(0, 2)
    prompts = np.full((n, 3), 7)
    logprobs = -rng.random((2, n, WIDTH)).astype(np.float32)
    return DataProto.from_dict(
        tensors={
            "prompts": torch.as_tensor(prompts),
            "responses": torch.as_tensor(responses * attention),
            "attention_mask": torch.as_tensor(np.concatenate([np.ones_like(prompts), attention], axis=1)),
            "response_mask": torch.as_tensor(mask),
            "rm_scores": torch.as_tensor(rewards),
            "token_level_scores": torch.as_tensor(rewards),
            "token_level_rewards": torch.as_tensor(rewards),
            "old_log_probs": torch.as_tensor(logprobs[0]),
            "ref_log_prob": torch.as_tensor(logprobs[1]),
        },
        non_tensors={"uid": np.repeat([f"prompt-{g}" for g in range(GROUPS)], EACH).astype(object)},
    )


def through_verl(data: DataProto, name: str, **guerdon: Any) -> torch.Tensor:
    config = AlgoConfig(adv_estimator=name)
    if guerdon:
        object.__setattr__(config, "guerdon", guerdon)
    return compute_advantage(data, adv_estimator=name, config=config).batch["advantages"]


def native(data: DataProto, method: str, columns: Any = None, **how: Any) -> torch.Tensor:
    """The same call by hand: rollouts, guerdon's method, float32, padded."""
    rollouts = rollouts_of(
        data.batch["token_level_rewards"].double().numpy(),
        data.batch["response_mask"].numpy() > 0,
        data.non_tensor_batch["uid"],
        columns,
        Settings.of({"guerdon": how}),
    ).rollouts
    values = registry.build("credit", {"use": method}, method)(rollouts, rollouts.signals).values
    out = torch.zeros(data.batch["token_level_rewards"].shape)
    lengths = torch.as_tensor(rollouts.lengths)
    out[torch.arange(out.shape[1])[None, :] < lengths[:, None]] = torch.as_tensor(np.float32(values))
    return out


CALLABLE = ["dr_grpo", "efficiency-steering", "gpg", "grpo", "opo", "pass_at_k", "reinforce_pp"]
CALLABLE += ["reinforce_pp_baseline", "rloo"]


@pytest.mark.parametrize("method", CALLABLE)
def test_fixed_fields_equal_the_native_call_bit_for_bit(method: str) -> None:
    found = through_verl(batch(), adapter.estimator_name(method))
    assert torch.equal(found, native(batch(), method)) and found.abs().sum() > 0


@pytest.mark.parametrize("method", ["clip-delta", "matchtir", "outcome_and_steps", "pure"])
def test_dense_rewards_equal_the_native_call_bit_for_bit(method: str) -> None:
    found = through_verl(batch(dense=True), adapter.estimator_name(method), dense=True)
    assert torch.equal(found, native(batch(dense=True), method, dense=True)) and found.abs().sum() > 0


def test_every_registered_method_works_or_says_what_is_missing() -> None:
    """None of them fails in another way, and none gives 0 where it could not compute."""
    worked = []
    for name, method in adapter.estimators().items():
        try:
            assert through_verl(batch(), name).abs().sum() > 0
            worked.append(method)
        except DataError as error:
            assert any(word in str(error) for word in ("need", "none is carried", "no rollout has")), error
    assert sorted(worked) == sorted(CALLABLE)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("rloo", "rloo"),
        ("grpo", "grpo"),
        ("grpo_vectorized", "grpo"),
        ("opo", "opo"),
        ("reinforce_plus_plus_baseline", "reinforce_pp_baseline"),
    ],
)
def test_methods_both_have_agree(theirs: str, ours: str) -> None:
    data = batch(1)
    keep = data.batch["response_mask"] > 0
    own = through_verl(batch(1), adapter.estimator_name(ours))
    torch.testing.assert_close(own[keep], through_verl(data, theirs)[keep], rtol=1e-4, atol=1e-5)


def test_remax_takes_verls_baselines() -> None:
    data = batch(2)
    data.batch["reward_baselines"] = torch.linspace(0, 1, GROUPS * EACH)
    own = through_verl(data, "guerdon_remax")
    gain = data.batch["token_level_rewards"].sum(1) - data.batch["reward_baselines"]
    keep = data.batch["response_mask"] > 0
    torch.testing.assert_close(own[keep], (gain[:, None] * keep)[keep])


def test_a_penalty_in_the_rewards_reaches_the_outcome() -> None:
    data = batch(3)
    data, _ = apply_kl_penalty(data, core_algos.FixedKLController(0.5), kl_penalty="kl")
    outcome = data.batch["token_level_rewards"].double().sum(1).numpy()
    seen = rollouts_of(
        data.batch["token_level_rewards"].double().numpy(),
        data.batch["response_mask"].numpy() > 0,
        data.non_tensor_batch["uid"],
    ).rollouts
    np.testing.assert_allclose(seen.signals["outcome"].values, outcome, rtol=0, atol=1e-12)
    assert torch.equal(through_verl(data, "guerdon_rloo"), native(data, "rloo"))


def test_states_from_token_ids_make_gigpo_work() -> None:
    data = batch(4)
    with pytest.raises(DataError, match="state"):
        through_verl(batch(4), "guerdon_gigpo")
    columns = columns_of(data.batch, data.non_tensor_batch)
    with adapter.around(columns):
        found = through_verl(batch(4), "guerdon_gigpo")
    assert torch.equal(found, native(batch(4), "gigpo", columns))
    alone = adapter.compute_advantage(batch(4), "gigpo").batch["advantages"]
    assert torch.equal(found, alone)
    assert not torch.equal(found, through_verl(batch(4), "guerdon_dr_grpo"))


def test_records_in_a_column_make_step_methods_work() -> None:
    data = batch(5)
    lengths = data.batch["attention_mask"][:, 3:].sum(1).tolist()
    rng = np.random.default_rng(5)
    records = []
    for length in lengths:
        ends = sorted({int(rng.integers(1, length + 1)), length})
        values = rng.normal(size=len(ends)).tolist()
        records.append(
            json.dumps({"steps": ends, "signals": {"process": {"level": "step", "values": values}}})
        )
    data.non_tensor_batch["guerdon"] = np.array(records, dtype=object)
    columns = columns_of(data.batch, data.non_tensor_batch)
    found = adapter.compute_advantage(data, "pure").batch["advantages"]
    assert torch.equal(found, native(batch(5), "pure", columns)) and found.abs().sum() > 0


def test_through_the_function_of_the_default_trainer() -> None:
    data = batch(6)
    keys = [f"{uid}_{i % EACH}_0" for i, uid in enumerate(data.non_tensor_batch["uid"])]
    out = compute_advantage_for_multi_trajectories(
        data, batch_keys=keys, adv_estimator="guerdon_grpo", config=AlgoConfig(adv_estimator="guerdon_grpo")
    )
    assert torch.equal(out.batch["advantages"], native(batch(6), "grpo"))


def test_settings_of_a_hydra_configuration() -> None:
    from omegaconf import OmegaConf

    config = OmegaConf.create({"guerdon": {"credit": {"scale": "none"}}})
    found = compute_advantage(batch(7), adv_estimator="guerdon_grpo", config=config).batch["advantages"]
    assert torch.equal(found, through_verl(batch(7), "guerdon_dr_grpo"))
