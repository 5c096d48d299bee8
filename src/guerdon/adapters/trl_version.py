"""Which TRL `guerdon.adapters.trl.GRPOTrainer` works with; nothing of it is imported here."""

from __future__ import annotations

from typing import Any

from guerdon.errors import TrainingError

OLDEST, TRIED = (1, 16), "1.16.0"
NEEDED = ("_calculate_rewards", "_generate_and_score_completions", "_compute_loss")
"""Methods of TRL's GRPOTrainer that token-level credit builds upon."""


def check_version(version: str) -> None:
    """Raise TrainingError where this TRL is older than what the trainer was made for."""
    parts = version.split(".")[:2]
    if not all(part.isdigit() for part in parts) or tuple(map(int, parts)) < OLDEST:
        raise TrainingError(
            f"guerdon.adapters.trl needs trl >= {'.'.join(map(str, OLDEST))}, and {version} is installed; "
            "pip install --upgrade trl"
        )


def check_installed() -> None:
    """Raise TrainingError where there is no TRL, or one that is too old to be imported from."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("trl")
    except PackageNotFoundError as error:
        raise TrainingError(
            f"guerdon.adapters.trl needs trl >= {'.'.join(map(str, OLDEST))}, and none is installed; "
            "pip install 'guerdon[trl]'"
        ) from error
    check_version(found)


def check_methods(trainer: type[Any], version: str) -> None:
    """Raise TrainingError where a newer TRL no longer has a method that is needed."""
    gone = [name for name in NEEDED if not hasattr(trainer, name)]
    if gone:
        raise TrainingError(
            f"trl {version} has no {', '.join(gone)} in its GRPOTrainer, which guerdon.adapters.trl builds "
            f"upon; it was made for trl >= {'.'.join(map(str, OLDEST))} and last tried with {TRIED}"
        )
