"""verl: credit methods as advantage estimators, `algorithm.adv_estimator=guerdon_<name>`.

    python -m verl.trainer.main_ppo algorithm.adv_estimator=guerdon_rloo ...

Installed beside verl, guerdon registers itself (entry point `verl.plugins`). verl hands an estimator the
rewards per token, the mask of the policy's tokens and the prompt of each row. From them a method sees

    outcome       (rollout)  the sum of a row's rewards
    reward        (token)    the rewards themselves
    env           (step)     their sum per step; a step is a run of the policy's tokens and what the
                             environment wrote after it, which the mask tells
    baseline      (rollout)  where verl computed reward baselines

and with `dense`, where rewards stand at the end of steps, `process`, `prm` and `steps` per step (and
`turn_reward` per turn). What verl's own trainer does not carry (token ids, states, log-probabilities, step
scores of a reward) comes with `trainer.v1.trainer_mode=guerdon_sync`, see `verl_trainer`. A method that needs
more says what is missing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from guerdon import registry
from guerdon.adapters.verl_batch import around, around_now, rollouts_of, token_values
from guerdon.adapters.verl_settings import Settings
from guerdon.errors import RecipeError, TrainingError

__all__ = [
    "around",
    "check_version",
    "compute_advantage",
    "estimator",
    "estimator_name",
    "estimators",
    "register",
    "rollouts_of",
]

_log = logging.getLogger("guerdon.verl")
PREFIX = "guerdon_"
OLDEST, NEXT = (0, 9), (0, 10)
_NOT_NAMED = {
    "levels": "it is written out in recipes and has no name",
    "gae": "verl trains its critic on the returns of its own `gae`",
}


def check_version(version: str) -> None:
    """Refuse a verl older than what the adapter was made for; warn about one that is newer.

    Raises:
        TrainingError: names the range and the version that is installed.
    """
    supported = f"verl >= {_dotted(OLDEST)}, < {_dotted(NEXT)}"
    parts = version.split(".")[:2]
    numbers = tuple(map(int, parts)) if len(parts) == 2 and all(part.isdigit() for part in parts) else None
    if numbers is None or numbers < OLDEST:
        raise TrainingError(f"guerdon.adapters.verl needs {supported}, and {version} is installed")
    if numbers >= NEXT:
        _log.warning("guerdon.adapters.verl was made for %s, and %s is installed", supported, version)


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def estimator_name(method: str) -> str:
    """What a method is called in verl: `tp-grpo-thought` is `guerdon_tp_grpo_thought`."""
    return PREFIX + method.replace("-", "_")


def estimators() -> dict[str, str]:
    """Name in verl -> credit method, for every method that can be one of verl's estimators."""
    methods = [*registry.names("credit"), *registry.published("credit")]
    return {estimator_name(method): method for method in methods if method not in _NOT_NAMED}


def estimator(method: str, settings: Mapping[str, Any] | None = None, **how: Any) -> Callable[..., Any]:
    """A function as verl's registry takes it: keywords in, `(advantages, returns)` of shape (B, T) out.

    Args:
        method: a credit method's name.
        settings: its parameters; those in verl's `algorithm.guerdon.credit` are laid over them.
        how: `dense`, `steps`, `state` (see `verl_settings.Settings`); `algorithm.guerdon` comes first.

    Returns are the advantages: the methods here have no critic to be trained on them.

    Raises:
        RecipeError: an unknown method or parameter (when it is first called).
        DataError: something the method needs is not in the batch (when it is called).
    """
    made: dict[str, Any] = {}
    name = estimator_name(method)

    def compute(
        token_level_rewards: Any,
        response_mask: Any,
        index: Any = None,
        config: Any = None,
        reward_baselines: Any = None,
        **_: Any,
    ) -> tuple[Any, Any]:
        import torch

        given = Settings.of(config, how)
        parameters = {**(settings or {}), **given.credit}
        key = json.dumps(parameters, sort_keys=True, default=str)
        if key not in made:
            made[key] = registry.build("credit", {"use": method, **parameters}, name)
        rewards = token_level_rewards.detach().double().cpu().numpy()
        baselines = None if reward_baselines is None else reward_baselines.detach().double().cpu().numpy()
        mask = response_mask.detach().cpu().numpy() > 0
        batch = rollouts_of(rewards, mask, index, around_now(), given, baselines)
        advantage = made[key](batch.rollouts, batch.rollouts.signals, batch.ctx)
        rows = token_values(batch, advantage, rewards.shape, name)
        found = torch.as_tensor(rows, dtype=token_level_rewards.dtype, device=token_level_rewards.device)
        return found, found.clone()

    compute.__name__ = name
    return compute


def compute_advantage(
    data: Any, method: str, settings: Mapping[str, Any] | None = None, tokenizer: Any = None, **how: Any
) -> Any:
    """verl's batch with `advantages` and `returns`, for training loops of one's own.

    Args:
        data: a `DataProto` with `token_level_rewards` (or `rm_scores`) and `response_mask`; everything else
            it carries is used (`responses`, log-probabilities, `values`, and the non-tensor columns `uid`
            and `guerdon`).
        method, settings, how: see `estimator`.
        tokenizer: of the policy, where `steps` names a splitter.

    Returns:
        `data`, changed in place as verl's own function does.

    Raises:
        RecipeError, DataError: see `estimator`.
    """
    from guerdon.adapters.verl_batch import columns_of

    batch = data.batch
    if "response_mask" not in batch:
        raise RecipeError("compute_advantage: the batch has no `response_mask`")
    rewards = batch["token_level_rewards" if "token_level_rewards" in batch else "rm_scores"]
    with around(columns_of(batch, data.non_tensor_batch, tokenizer)):
        advantages, returns = estimator(method, settings, **how)(
            token_level_rewards=rewards,
            response_mask=batch["response_mask"],
            index=data.non_tensor_batch.get("uid"),
            reward_baselines=batch.get("reward_baselines"),
        )
    batch["advantages"], batch["returns"] = advantages, returns
    return data


_MADE: dict[str, Callable[..., Any]] = {}


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
    for name, method in estimators().items():
        try:  # the same function each time, so that registering twice changes nothing
            add(name)(_MADE.setdefault(name, estimator(method)))
            done.append(name)
        except Exception as error:
            _log.error("guerdon: the advantage estimator %s was not registered: %s", name, error)
    return done
