"""Errors a user can meet. Every message names the input, what was expected and what to do."""

from __future__ import annotations


class GuerdonError(Exception):
    """Root of all errors raised on purpose by guerdon."""


class DataError(GuerdonError, ValueError):
    """Rollouts, signals or files that do not have the promised shape."""


class RecipeError(GuerdonError, ValueError):
    """A recipe, registered name or parameter that does not exist or has the wrong type."""


class EngineError(GuerdonError, RuntimeError):
    """A policy engine cannot do what was asked (context too short, no log-probs ...)."""


class StoreError(GuerdonError, OSError):
    """A run folder cannot be read or written."""


class TrainingError(GuerdonError, RuntimeError):
    """Training cannot go on (NaN loss, nothing left to learn from ...)."""
