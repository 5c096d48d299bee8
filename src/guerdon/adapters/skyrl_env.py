"""SkyRL's reward hook: a guerdon reward as a single-turn environment of skyrl-gym.

# my_envs.py
from guerdon.adapters.skyrl_env import text_env

MathEnv = text_env("verify.math")

# entry point
from skyrl_gym.envs import register

register(id="math", entry_point="my_envs:MathEnv")
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from guerdon.adapters.given import built, check_worth
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError


def text_env(reward: Any, on_missing: str | float = "raise") -> type:
    """An environment class: the model answers once and is paid what the reward says.

    Args:
        reward: a Reward, a registered name, or `{"use": name, parameter: value}`: one value per sample. The
            ground truth is `reward_spec.ground_truth` of the dataset's row, the row's other fields are
            `meta`.
        on_missing: what an answer without a verdict is paid: "raise", a number, or "nan", which guerdon's
            estimators leave out and SkyRL's own do not.

    Raises:
        RecipeError: an unknown reward, or a policy that is none.
    """
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

    check_worth(on_missing, ("raise", "nan"), "text_env.on_missing")
    reward = built("reward", reward, "text_env")

    class RewardEnv(BaseTextEnv):
        """One answer, one reward."""

        def __init__(self, env_config: Any = None, extras: Mapping[str, Any] | None = None) -> None:
            super().__init__()
            self.extras = dict(extras or {})
            self.prompt: Any = None

        def init(self, prompt: Any) -> tuple[Any, dict[str, Any]]:
            self.prompt = prompt
            return prompt, {}

        def step(self, action: str) -> Any:
            spec = self.extras.get("reward_spec") or {}
            row = Rollouts(
                prompt=[self.prompt],
                completion=[action],
                reference=[spec.get("ground_truth")],
                meta=[{name: value for name, value in self.extras.items() if name != "reward_spec"}],
            )
            signal = reward(row, None)
            if len(signal) != 1:
                raise DataError(
                    f"reward {reward.name!r} gave {len(signal)} values per {signal.level} for one answer; "
                    "skyrl-gym takes one"
                )
            value = float(signal.values[0])
            metadata = {}
            if math.isnan(value):
                metadata = {"missing": signal.causes.get(0, "no cause was given")}
                if on_missing == "raise":
                    raise DataError(f"reward {reward.name!r} has no verdict: {metadata['missing']}")
                value = float(on_missing)
            return BaseTextEnvStepOutput(observations=[], reward=value, done=True, metadata=metadata)

    return RewardEnv
