"""SkyRL: credit methods as advantage estimators, rewards as environments of skyrl-gym.

    from guerdon.adapters import skyrl

    skyrl.register()  # in the entry point, before SkyRL checks its configuration
    # ... trainer.algorithm.advantage_estimator=guerdon_rloo

SkyRL hands an estimator the rewards per token, which tokens are a response's (not which of them the policy
wrote), prompts by their uid, and a critic's values. A reward that is not 0 ends a step. With the trainer

    class Trainer(skyrl.SeesBatch, RayPPOTrainer): ...

an estimator sees the batch itself: token ids, who wrote them (steps are turns then, whatever they were paid,
and what an environment wrote enters no statistic), log-probabilities, and states: what the policy saw before
each turn. Rows that SkyRL adds to fill a batch are left out. SkyRL logs the advantages that the estimator
returns, so they are those that are used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np

from guerdon import registry
from guerdon.adapters.turns import ends_at, seen_before, turn_ends
from guerdon.data.kernels import segment_reduce, segment_scan
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, TrainingError

_log = logging.getLogger("guerdon.skyrl")
_BATCH: ContextVar[Any] = ContextVar("guerdon_skyrl_batch", default=None)
PREFIX = "guerdon_"
_LOGPROBS = {"logprobs": ("rollout_logprobs", "action_log_probs"), "ref_logprobs": ("base_action_log_probs",)}


def estimator_name(method: str) -> str:
    """What a method is called in SkyRL: `tp-grpo-thought` is `guerdon_tp_grpo_thought`."""
    return PREFIX + method.replace("-", "_")


class SeesBatch:
    """Put before SkyRL's trainer among the bases: estimators of guerdon see the whole batch."""

    def compute_advantages_and_returns(self, data: Any) -> Any:
        """SkyRL's own, while the batch is within an estimator's sight."""
        token = _BATCH.set(data)
        try:
            return super().compute_advantages_and_returns(data)  # type: ignore[misc]
        finally:
            _BATCH.reset(token)


class Estimator:
    """A credit method as SkyRL's registry takes it; it travels between processes by pickling.

    Args:
        method: a credit method's name.
        settings: its parameters; SkyRL's `gamma` and `lambd` do not reach it.

    Raises:
        RecipeError: an unknown method or parameter.
    """

    def __init__(self, method: str, settings: Mapping[str, Any] | None = None) -> None:
        self.__name__ = estimator_name(method)
        self._credit = registry.build("credit", {"use": method, **(settings or {})}, self.__name__)

    def __call__(
        self,
        token_level_rewards: Any,
        response_mask: Any,
        index: Any,
        values: Any = None,
        gamma: float = 1.0,
        **_: Any,
    ) -> tuple[Any, Any]:
        """Advantages and returns, each (B, T).

        Returns are the discounted rewards to go where there is a critic to be trained on them, else the
        advantages.
        """
        import torch

        rewards, mask = _array(token_level_rewards, np.float64), _array(response_mask, np.float64) > 0
        batch = _BATCH.get()
        if batch is not None and not np.array_equal(_array(batch["response_mask"], np.float64) > 0, mask):
            batch = None  # rows of a trajectory's last step only: the batch is another one
        rows = len(mask) - (0 if batch is None else int((batch.metadata or {}).get("pad_size", 0)))
        critic = None if values is None else _array(values, np.float32)[:rows]
        rollouts = rollouts_of(rewards[:rows], mask[:rows], list(index)[:rows], critic)
        if batch is not None:
            rollouts = with_batch(rollouts, batch, mask[:rows])
        found, back = np.zeros(mask.shape), np.zeros(mask.shape)
        found[:rows][mask[:rows]] = self._credit(rollouts).values
        assert rollouts.tokens is not None
        to_go = segment_scan(rewards[:rows][mask[:rows]], rollouts.tokens.offsets, decay=gamma)
        back[:rows][mask[:rows]] = to_go
        as_theirs = {"dtype": token_level_rewards.dtype, "device": token_level_rewards.device}
        advantages = torch.as_tensor(found, **as_theirs)
        return advantages, advantages.clone() if values is None else torch.as_tensor(back, **as_theirs)


def rollouts_of(
    rewards: np.ndarray, mask: np.ndarray, index: Any, values: np.ndarray | None = None
) -> Rollouts:
    """Rollouts with signals from what SkyRL gives an estimator.

    Args:
        rewards: float (B, T), right-aligned as SkyRL lays them out (any alignment will do).
        mask: bool (B, T), True on a response's tokens.
        index: uid per row; equal for responses to one prompt.
        values: float (B, T) of a critic.

    Returns:
        Rollouts with `reward` per token, `outcome` (their sum) per rollout, and per step `process`, `prm`,
        `steps` and `env`, one step per reward that is not 0.

    Raises:
        DataError: arrays of different shapes, or a reward outside of a response.
    """
    if rewards.shape != mask.shape or rewards.ndim != 2 or len(index) != len(mask):
        raise DataError(
            f"expected rewards and mask of one shape (B, T) and B uids, got {rewards.shape}, {mask.shape} "
            f"and {len(index)} uids"
        )
    stray = ((rewards != 0) & ~mask).any(axis=1)
    if stray.any():
        raise DataError(f"row {int(np.flatnonzero(stray)[0])}: a reward lies outside of the response")
    paid = Ragged.from_padded(rewards, mask)
    tokens = paid.with_values(np.zeros(paid.total, np.int32))
    rollouts = Rollouts(
        tokens=tokens,
        group=np.unique(np.array([str(uid) for uid in index]), return_inverse=True)[1].reshape(-1),
        values=None if values is None else Ragged.from_padded(values, mask),
    )
    # A reward ends a step, so the token behind it opens the next one.
    opens = np.concatenate([[False], paid.values != 0])[: paid.total]
    return _with_signals(rollouts, paid, ends_at(opens, paid.offsets))


def with_batch(rollouts: Rollouts, batch: Any, mask: np.ndarray) -> Rollouts:
    """The rollouts of an estimator with what its batch knows besides.

    Args:
        rollouts: of `rollouts_of`.
        batch: SkyRL's `TrainingInputBatch`.
        mask: bool (B, T) without rows that fill the batch up.
    """
    assert rollouts.tokens is not None
    rows, width = mask.shape
    sequences = _array(batch["sequences"], np.int64)[:rows]
    known = _array(batch["attention_mask"], np.float64)[:rows] > 0
    responses = sequences[:, sequences.shape[1] - width :]
    tokens = rollouts.tokens.with_values(responses[mask].astype(np.int32))
    wrote = Ragged.from_padded(_array(batch["loss_mask"], np.float64)[:rows] > 0, mask)
    given = {}
    for ours, theirs in _LOGPROBS.items():
        found = next((batch.get(name) for name in theirs if batch.get(name) is not None), None)
        if found is not None:
            given[ours] = Ragged.from_padded(_array(found, np.float32)[:rows], mask)
    ends = turn_ends(wrote)
    before = known.copy()
    before[:, sequences.shape[1] - width :] &= ~mask
    prompts = [row[keep] for row, keep in zip(sequences, before, strict=True)]
    paid = tokens.with_values(rollouts.signals["reward"].values)
    bare = rollouts.replace(tokens=tokens, acted=wrote, partitions={}, signals={}, **given)
    made = _with_signals(bare, paid, ends)
    return made.replace(state=seen_before(tokens, wrote, ends, prompts))


def _with_signals(rollouts: Rollouts, paid: Ragged, ends: Ragged) -> Rollouts:
    assert rollouts.tokens is not None
    starts = paid.offsets[ends.row_ids()]
    bounds = np.concatenate([[0], starts + ends.values]).astype(np.int64)
    per_step = segment_reduce(paid.values, bounds, "sum") if len(ends.values) else np.empty(0)
    total = segment_reduce(paid.values, paid.offsets, "sum")
    signals = {name: Signal(per_step, "step", name) for name in ("process", "prm", "steps", "env")}
    signals["reward"] = Signal(paid.values, "token", "reward")
    signals["outcome"] = Signal(np.where(paid.lengths > 0, total, np.nan), "rollout", "outcome")
    return rollouts.replace(partitions={"step": ends}, signals=signals)


def _array(values: Any, dtype: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # NumPy has no bfloat16
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    return np.asarray(values).astype(dtype)


def _registry() -> Any:
    try:
        from skyrl.backends.skyrl_train.utils.ppo_utils import AdvantageEstimatorRegistry
    except ModuleNotFoundError as error:
        from importlib.metadata import distributions

        known = {each.metadata["Name"]: each.version for each in distributions()}
        found = [f"{name} {known[name]}" for name in ("skyrl", "skyrl-train") if name in known]
        raise TrainingError(
            f"guerdon.adapters.skyrl needs skyrl >= 0.4, and {' and '.join(found) or 'none'} is installed "
            f"({error})"
        ) from error
    return AdvantageEstimatorRegistry


def register(add: Callable[[str, Callable[..., Any]], Any] | None = None) -> list[str]:
    """Register every credit method under its name; the names.

    Args:
        add: `AdvantageEstimatorRegistry.register` of SkyRL, imported where None.

    A method that cannot be registered is logged as an error and left out.

    Raises:
        TrainingError: SkyRL is not installed, or too old to have its registry there.
    """
    if add is None:
        add = _registry().register
    assert add is not None
    done = []
    for method in [*registry.names("credit"), *registry.published("credit")]:
        if method == "levels":  # written out in recipes, not named
            continue
        try:
            add(estimator_name(method), Estimator(method))
            done.append(estimator_name(method))
        except Exception as error:  # whatever a method or the host's registry objects to, the rest goes on
            name = estimator_name(method)
            _log.error("guerdon: the advantage estimator %s was not registered: %s", name, error)
    return done
