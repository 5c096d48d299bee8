"""Credit methods as verl calls them. verl itself is not installed: its registry is stood in for.

The stand-in has the contract of `verl.trainer.ppo.core_algos.register_adv_est` 0.9: a decorator that keeps a
function under a name and refuses another function under the same one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'lab' is not installed")

import torch

import guerdon as gd
from guerdon.adapters.verl import estimator, register, rollouts_of
from guerdon.errors import DataError, RecipeError

MASK = torch.tensor([[1, 1, 0, 1, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
REWARDS = torch.tensor(
    [[0, 0.5, 0, 1.0, 0], [0, 0, 0.0, 0, 0], [2.0, 0, 0, 0, 0], [0, 0, 0, 0, 1.0]], dtype=torch.float32
)
UIDS = np.array(["a", "a", "b", "b"], dtype=object)


def test_what_a_method_sees() -> None:
    rollouts = rollouts_of(REWARDS.double().numpy(), MASK.numpy() > 0, UIDS)
    assert rollouts.lengths.tolist() == [4, 3, 1, 5]
    assert rollouts.signals["outcome"].values.tolist() == [1.5, 0.0, 2.0, 1.0]
    assert rollouts.partitions["step"].to_lists() == [[2, 4], [3], [1], [5]]
    assert rollouts.signals["process"].values.tolist() == [0.5, 1.0, 0.0, 2.0, 1.0]
    assert rollouts.acted is not None
    assert rollouts.acted[0].tolist() == [True, True, False, True]


def test_equals_the_native_call() -> None:
    for method in ("rloo", "grpo", "dr_grpo", "reinforce_pp_baseline"):
        found, returns = estimator(method)(
            token_level_rewards=REWARDS, response_mask=MASK, config=None, index=UIDS
        )
        rollouts = rollouts_of(REWARDS.double().numpy(), MASK.numpy() > 0, UIDS)
        own = getattr(gd.credit, method)()(rollouts)
        keep = torch.arange(5)[None, :] < torch.tensor([4, 3, 1, 5])[:, None]
        assert found[keep].tolist() == np.float32(own.values).tolist()
        assert not found[~keep].any() and torch.equal(found, returns)


def test_leave_one_out_by_hand() -> None:
    found, _ = estimator("rloo")(token_level_rewards=REWARDS, response_mask=MASK, index=UIDS)
    assert found.tolist() == [
        [1.5, 1.5, 0, 1.5, 0],
        [-1.5, -1.5, -1.5, 0, 0],
        [1, 0, 0, 0, 0],
        [-1, -1, -1, -1, -1],
    ]


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
    with caplog.at_level(logging.ERROR, "guerdon.verl"):
        assert register(register_adv_est) == []
    assert "guerdon_rloo was not registered" in caplog.text


def test_what_is_missing_is_named() -> None:
    with pytest.raises(DataError, match="needs the signal"):
        estimator("gae")(token_level_rewards=REWARDS, response_mask=MASK, index=UIDS)
    with pytest.raises(RecipeError, match="unknown field"):
        estimator("rloo", {"nope": 1})(token_level_rewards=REWARDS, response_mask=MASK, index=UIDS)
    with pytest.raises(DataError, match="row 2: a reward lies behind"):
        late = REWARDS.clone()
        late[2, 3] = 1.0
        estimator("rloo")(token_level_rewards=late, response_mask=MASK, index=UIDS)
