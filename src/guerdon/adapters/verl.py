"""verl: credit methods as advantage estimators, `algorithm.adv_estimator=guerdon_<name>`.

    VERL_USE_EXTERNAL_MODULES=guerdon.adapters.verl_register python -m verl.trainer.main_ppo \\
        algorithm.adv_estimator=guerdon_rloo ...

verl hands an estimator the rewards per token, the mask of the policy's tokens and the prompt of each row, and
nothing else. So a method sees `outcome`, the sum of a row's rewards, and where a row has several rewards that
are not 0, each of them ends a step: `process`, `prm` and `steps` hold them per step. A step whose reward is
exactly 0 is joined to the next one. Methods that need more (states, trees, critics, other models) say which
signal is missing when they are called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from guerdon import registry
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError

_log = logging.getLogger("guerdon.verl")
PREFIX = "guerdon_"


def estimator_name(method: str) -> str:
    """What a method is called in verl: `tp-grpo-thought` is `guerdon_tp_grpo_thought`."""
    return PREFIX + method.replace("-", "_")


def rollouts_of(rewards: np.ndarray, mask: np.ndarray, index: Any) -> Rollouts:
    """Rollouts with signals from verl's arrays.

    Args:
        rewards: float (B, T), `token_level_rewards`.
        mask: bool (B, T), `response_mask`: True on the policy's tokens. A row ends at its last such token.
        index: (B,), equal for rows of one prompt; None: every row its own group.

    Raises:
        DataError: arrays of different shapes, or rewards behind a row's last token.
    """
    if rewards.shape != mask.shape or rewards.ndim != 2:
        raise DataError(
            f"expected rewards and mask of one shape (B, T), got {rewards.shape} and {mask.shape}"
        )
    places = np.arange(1, mask.shape[1] + 1)
    lengths = (mask * places).max(axis=1, initial=0)
    inside = places[None, :] <= lengths[:, None]
    if np.any(rewards[~inside] != 0):
        row = int(np.flatnonzero(((rewards != 0) & ~inside).any(axis=1))[0])
        raise DataError(f"row {row}: a reward lies behind its last token of the policy")
    tokens = Ragged.from_padded(np.zeros(mask.shape, np.int32), lengths)
    values = Ragged.from_padded(rewards, lengths)
    rows = [values[i] for i in range(len(values))]
    # A reward that is not 0 ends a step, and so does the end of a row.
    last = [np.append(np.flatnonzero(row) + 1, len(row)) for row in rows]
    ends = [np.unique(each[each > 0]) for each in last]
    steps = [row[end - 1] for row, end in zip(rows, ends, strict=True)]
    per_step = np.concatenate(steps) if steps else np.empty(0)
    groups = (
        np.arange(len(mask))
        if index is None
        else np.unique(np.asarray(index).astype(str), return_inverse=True)[1]
    )
    signals = {name: Signal(per_step, "step", name) for name in ("process", "prm", "steps")}
    signals["outcome"] = Signal(np.where(inside, rewards, 0.0).sum(axis=1), "rollout", "outcome")
    return Rollouts(
        tokens=tokens,
        acted=Ragged.from_padded(mask.astype(bool), lengths),
        group=np.asarray(groups, np.int64).reshape(-1),
        partitions={"step": Ragged.from_lists(ends, np.int64)},
        signals=signals,
    )


def estimator(method: str, settings: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """A function as verl's registry takes it: keywords in, `(advantages, returns)` of shape (B, T) out.

    Args:
        method: a credit method's name.
        settings: its parameters.

    Returns are the advantages: the methods here have no critic to be trained on them.

    Raises:
        RecipeError: an unknown method or parameter (when it is first called).
    """
    made: list[Any] = []

    def compute(token_level_rewards: Any, response_mask: Any, index: Any = None, **_: Any) -> tuple[Any, Any]:
        import torch

        if not made:
            made.append(registry.build("credit", {"use": method, **(settings or {})}, estimator_name(method)))
        rewards = token_level_rewards.detach().double().cpu().numpy()
        rollouts = rollouts_of(rewards, response_mask.detach().cpu().numpy() > 0, index)
        advantage = made[0](rollouts)
        assert rollouts.tokens is not None
        rows = Ragged(advantage.values, rollouts.tokens.offsets).to_padded(0.0, rewards.shape[1])
        found = torch.as_tensor(rows, dtype=token_level_rewards.dtype, device=token_level_rewards.device)
        return found, found.clone()

    compute.__name__ = estimator_name(method)
    return compute


def register(add: Callable[[str], Callable[[Any], Any]] | None = None) -> list[str]:
    """Register every credit method under its name; the names.

    Args:
        add: verl's `register_adv_est`, imported where None.

    What cannot be registered is logged as an error, since verl itself swallows what a plugin raises.
    """
    if add is None:
        from verl.trainer.ppo.core_algos import register_adv_est as add  # type: ignore[no-redef]
    assert add is not None
    done = []
    for method in [*registry.names("credit"), *registry.published("credit")]:
        if method == "levels":  # written out in recipes, not named
            continue
        try:
            add(estimator_name(method))(estimator(method))
            done.append(estimator_name(method))
        except Exception as error:
            _log.error(
                "guerdon: the advantage estimator %s was not registered: %s", estimator_name(method), error
            )
    return done
