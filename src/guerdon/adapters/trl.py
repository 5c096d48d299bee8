"""guerdon in TRL: rewards as `reward_funcs`, a `GRPOTrainer` with token-level credit, the stepwise format.

from guerdon.adapters.trl import GRPOTrainer, reward_func

trainer = GRPOTrainer(model, reward_funcs=[reward_func("verify.math")], credit="rloo", ...)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guerdon.adapters.stepwise import from_stepwise, to_stepwise
from guerdon.adapters.trl_rewards import RewardFunction, reward_func

if TYPE_CHECKING:
    from guerdon.adapters.trl_trainer import GRPOTrainer

__all__ = ["GRPOTrainer", "RewardFunction", "from_stepwise", "reward_func", "to_stepwise"]


def __getattr__(name: str) -> Any:
    if name == "GRPOTrainer":  # imports TRL, which the rest does without
        from guerdon.adapters.trl_version import check_installed

        check_installed()
        from guerdon.adapters.trl_trainer import GRPOTrainer

        return GRPOTrainer
    raise AttributeError(f"module 'guerdon.adapters.trl' has no attribute {name!r}")
