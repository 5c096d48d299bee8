"""SkyRL's own registry, batches, trainer method and environments; `make skyrl` gets the package for it."""

from __future__ import annotations

import sys
import typing
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("skyrl_gym", reason="SkyRL is not installed (make skyrl)")
pytest.importorskip("torch", reason="the extra 'lab' is not installed")

import numpy as np
import torch
import typing_extensions

if sys.version_info < (3, 12):  # SkyRL asks for 3.12; what is used of it wants only pydantic's TypedDict
    typing.TypedDict = typing_extensions.TypedDict  # type: ignore[misc,assignment]

from skyrl.backends.skyrl_train.training_batch import TrainingInputBatch, pad_training_input_batch
from skyrl.backends.skyrl_train.utils import ppo_utils
from skyrl.train.config import AlgorithmConfig
from skyrl.train.dataset.preprocess import convert_prompts_responses_to_batch_tensors
from skyrl.train.trainer import RayPPOTrainer

import guerdon as gd
from guerdon.adapters import skyrl
from guerdon.adapters.skyrl_env import text_env
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError

REGISTRY = ppo_utils.AdvantageEstimatorRegistry


@pytest.fixture(scope="module")
def names() -> Any:
    done = skyrl.register()
    yield done
    for name in done:
        REGISTRY.unregister(name)


PROMPTS = [[1, 2], [1, 2], [3], [3]]
RESPONSES = [[5, 9, 6], [5, 7], [6, 9, 9, 7], [7]]
WROTE = [[1, 0, 1], [1, 1], [1, 0, 0, 1], [1]]
REWARDS = [[0.25, 0, 1.0], [0, 0.0], [0.0, 0, 0, 1.0], [0.0]]


def batch(pad: int = 0) -> Any:
    sequences, attention, response, rewards, loss, logprobs, *_ = convert_prompts_responses_to_batch_tensors(
        0, PROMPTS, RESPONSES, REWARDS, WROTE, [[-0.5] * len(row) for row in RESPONSES]
    )
    made = TrainingInputBatch(
        {
            "sequences": sequences,
            "attention_mask": attention,
            "response_mask": response,
            "rewards": rewards,
            "loss_mask": loss,
            "rollout_logprobs": logprobs,
            "values": None,
        }
    )
    made.metadata = {"uids": ["a", "a", "b", "b"], "avg_response_length": 2.5}
    return pad_training_input_batch(made, pad)


def trainer(kind: type, name: str) -> Any:
    """SkyRL's trainer with no more of it than its advantages need."""
    made = kind.__new__(kind)
    made.cfg = SimpleNamespace(
        generator=SimpleNamespace(step_wise_trajectories=False),
        trainer=SimpleNamespace(algorithm=AlgorithmConfig(advantage_estimator=name)),
    )
    made.all_metrics = {}
    return made


class Seeing(skyrl.SeesBatch, RayPPOTrainer):
    pass


def test_the_registry_has_every_method(names: list[str]) -> None:
    assert set(names) <= set(REGISTRY.list_available())
    assert {"guerdon_rloo", "guerdon_pure", "guerdon_gigpo"} <= set(names)


def test_rloo_equals_skyrls_own(names: list[str]) -> None:
    data = batch()
    args = {
        "response_mask": data["response_mask"],
        "index": data.metadata["uids"],
        "config": AlgorithmConfig(),
    }
    ours, _ = ppo_utils.compute_advantages_and_returns(data["rewards"], adv_estimator="guerdon_rloo", **args)
    theirs, _ = ppo_utils.compute_advantages_and_returns(data["rewards"], adv_estimator="rloo", **args)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_their_trainer_uses_and_logs_the_native_advantages(names: list[str]) -> None:
    data = batch(pad=2)
    made = trainer(Seeing, "guerdon_pure")
    out = made.compute_advantages_and_returns(data)
    native = gd.Rollouts(
        tokens=gd.Ragged.from_lists(RESPONSES, np.int32),
        acted=gd.Ragged.from_lists([[bool(each) for each in row] for row in WROTE], bool),
        logprobs=gd.Ragged.from_lists([[-0.5] * len(row) for row in RESPONSES], np.float32),
        group=[0, 0, 1, 1],
        partitions={"step": gd.Ragged.from_lists([[2, 3], [2], [3, 4], [1]], np.int64)},
        signals={
            "outcome": Signal(np.array([1.25, 0, 1, 0]), "rollout"),
            "process": Signal(np.array([0.25, 1, 0, 0, 1, 0]), "step"),
        },
    )
    expected = gd.credit.pure()(native)
    mask = data["response_mask"][:4].bool()
    assert out["advantages"][:4][mask].tolist() == np.float32(expected.values).tolist()
    assert not out["advantages"][4:].any()
    logged = made.all_metrics["loss/avg_raw_advantages"]
    assert logged == pytest.approx(float(out["advantages"][:4][mask].mean()))


def test_their_trainer_without_the_batch_in_sight(names: list[str]) -> None:
    out = trainer(RayPPOTrainer, "guerdon_rloo").compute_advantages_and_returns(batch())
    assert [row[row != 0].unique().tolist() for row in out["advantages"]] == [[1.25], [-1.25], [1], [-1]]


def asked_elsewhere() -> Any:
    """What another process of a Ray cluster finds in the registry."""
    import typing

    import typing_extensions

    typing.TypedDict = typing_extensions.TypedDict  # type: ignore[misc,assignment]
    from skyrl.backends.skyrl_train.utils import ppo_utils

    found = ppo_utils.AdvantageEstimatorRegistry.get("guerdon_rloo")
    told = {"values": None, "gamma": 1.0, "lambd": 1.0, "config": None, "index": ["a", "a"]}
    rewards = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    return found(token_level_rewards=rewards, response_mask=torch.ones(2, 2), **told)[0].tolist()


@pytest.mark.slow
def test_other_processes_find_the_estimators(names: list[str]) -> None:
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        ppo_utils.sync_registries()
        asked_elsewhere.__module__ = "__main__"  # sent along: the worker cannot import this file
        assert ray.get(ray.remote(asked_elsewhere).remote()) == [[1, 1], [-1, -1]]
    finally:
        REGISTRY._ray_actor = None
        ray.shutdown()


def test_an_environment_of_skyrl_gym() -> None:
    import skyrl_gym

    skyrl_gym.register(id="guerdon-match", entry_point=text_env("verify.match"))
    made = skyrl_gym.make("guerdon-match", env_config=None, extras={"reward_spec": {"ground_truth": "4"}})
    prompt, _ = made.init([{"role": "user", "content": "2 + 2?"}])
    assert prompt[0]["content"] == "2 + 2?"
    step = made.step("4")
    assert (step["reward"], step["done"], step["observations"]) == (1.0, True, [])
    assert made.step("5")["reward"] == 0.0


def test_an_answer_without_a_verdict() -> None:
    with pytest.raises(DataError, match="'match' has no verdict"):
        text_env("verify.match")(extras={}).step("4")
    step = text_env("verify.match", on_missing="nan")(extras={}).step("4")
    assert np.isnan(step["reward"]) and step["metadata"]["missing"]
    assert text_env("verify.match", on_missing=-1)(extras={}).step("4")["reward"] == -1
    with pytest.raises(RecipeError, match="on_missing"):
        text_env("verify.match", on_missing="zero")
