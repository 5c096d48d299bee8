"""Learned pieces on any trainable engine: reward models, critics, and values read by sampling.

`load` restores whatever was saved: `process = guerdon.models.load("runs/prm")(rollouts)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "AnswerLogprob": "answer_logprob",
    "ForcedAnswers": "forced_answers",
    "GenerativeVerifier": "verifier",
    "ImplicitPRM": "implicit",
    "PrefixValues": "prefix_values",
    "ProgressEstimator": "progress",
    "StepClassifier": "step_classifier",
    "TokenCritic": "critic",
    "UtteranceCritic": "utterance_critic",
    "load": "folders",
    "save": "folders",
}

if TYPE_CHECKING:
    from guerdon.models.answer_logprob import AnswerLogprob
    from guerdon.models.critic import TokenCritic
    from guerdon.models.folders import load, save
    from guerdon.models.forced_answers import ForcedAnswers
    from guerdon.models.implicit import ImplicitPRM
    from guerdon.models.prefix_values import PrefixValues
    from guerdon.models.progress import ProgressEstimator
    from guerdon.models.step_classifier import StepClassifier
    from guerdon.models.utterance_critic import UtteranceCritic
    from guerdon.models.verifier import GenerativeVerifier

__all__ = [
    "AnswerLogprob",
    "ForcedAnswers",
    "GenerativeVerifier",
    "ImplicitPRM",
    "PrefixValues",
    "ProgressEstimator",
    "StepClassifier",
    "TokenCritic",
    "UtteranceCritic",
    "load",
    "save",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"guerdon.models.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'guerdon.models' has no attribute {name!r}")
