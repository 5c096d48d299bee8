"""The plugin: importing this makes guerdon known to verl (entry point `verl.plugins`, run by `import verl`).

Each part registers itself once verl imports the registry it belongs to, so that a process that never computes
an advantage pays nothing. verl swallows what a plugin raises; here it is logged as an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from guerdon.adapters.after_import import after_import
from guerdon.adapters.verl import check_version, register

_log = logging.getLogger("guerdon.verl")


def _estimators() -> None:
    register()


def _losses() -> None:
    from guerdon.adapters import verl_losses

    verl_losses.register()


def _reward_manager() -> None:
    from verl.experimental.reward_loop.reward_manager.registry import register as add

    from guerdon.adapters.verl_reward import RewardManager

    add("guerdon")(RewardManager)


def _trainers() -> None:
    import guerdon.adapters.verl_trainer  # noqa: F401  registers its classes


PARTS: dict[str, tuple[str, Callable[[], None]]] = {
    "advantage estimators": ("verl.trainer.ppo.core_algos", _estimators),
    "policy losses": ("verl.trainer.ppo.core_algos", _losses),
    "reward manager": ("verl.experimental.reward_loop.reward_manager", _reward_manager),
    "trainers": ("verl.trainer.ppo.v1", _trainers),
}


def _loud(part: str, then: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        try:
            then()
        except Exception:
            _log.exception("guerdon: the %s could not be registered with verl", part)

    return call


def plug_in(version: str) -> None:
    """Register everything, now or when verl gets to it.

    Args:
        version: of the installed verl.

    Raises:
        TrainingError: it is older than what the adapter was made for (logged as an error too).
    """
    try:
        check_version(version)
    except Exception as error:
        _log.error("guerdon is not available in verl: %s", error)
        raise
    for part, (module, then) in PARTS.items():
        after_import(module, _loud(part, then))


def _installed() -> str:
    import verl

    return str(verl.__version__)


plug_in(_installed())
