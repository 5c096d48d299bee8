"""What was asked for: rewards named on a command line or in a call, each with its settings.

A reward is named by

    NAME                 a registered reward (`verify.math`) or a system of the catalogue
    module:attribute     from an importable module; the working directory counts as one
    file.py:attribute    from a file

and may be given a label of its own, `LABEL=NAME`: the name of the signal in the output. Settings are the
reward's parameters. `on_error` is understood for every reward.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerdon.errors import RecipeError
from guerdon.registry import nearest

Policy = str | float
_LABELLED = re.compile(r"([A-Za-z_][\w.-]*)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class Spec:
    """One reward as asked for.

    Attributes:
        label: name of its signal in the output.
        use: registered name, `module:attribute` or `file.py:attribute`.
        settings: its parameters.
        on_error: what a record is worth that could not be scored: "nan", "raise", a number, or None for
            what the reward itself prefers.
    """

    label: str
    use: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    on_error: Policy | None = None

    @property
    def by_path(self) -> bool:
        """Whether the reward is a user's code rather than a registered name."""
        return ":" in self.use


def make_spec(label: str, use: str, settings: Mapping[str, Any]) -> Spec:
    """A spec whose settings may hold `on_error`.

    Raises:
        RecipeError: `on_error` is none of "nan", "raise" and a number.
    """
    rest = dict(settings)
    policy = rest.pop("on_error", None)
    if isinstance(policy, float) and math.isnan(policy):
        policy = "nan"
    number = isinstance(policy, int | float) and not isinstance(policy, bool) and math.isfinite(policy)
    if not number and policy not in (None, "nan", "raise"):
        raise RecipeError(f"{label}.on_error must be 'nan', 'raise' or a number, got {policy!r}")
    return Spec(label, use, rest, float(policy) if number else policy)


def parse_specs(rewards: Sequence[str], settings: Mapping[str, Any]) -> list[Spec]:
    """Specs of `--reward [LABEL=]NAME` and `--set KEY=VALUE`.

    Args:
        rewards: as on the command line.
        settings: key -> value. A key is LABEL.PARAMETER, or PARAMETER alone where there is one reward.

    Raises:
        RecipeError: no reward, two of one label, or a setting that belongs to none.
    """
    if not rewards:
        raise RecipeError("no reward was named; expected at least one --reward NAME")
    named = [_name(text) for text in rewards]
    labels = [label for label, _ in named]
    for label in labels:
        if labels.count(label) > 1:
            raise RecipeError(f"two rewards are called {label!r}; name one apart with --reward LABEL=NAME")
    own: dict[str, dict[str, Any]] = {label: {} for label in labels}
    for key, value in settings.items():
        label, parameter = _owner(key, labels)
        if parameter in own[label]:
            raise RecipeError(f"--set {key}: {parameter!r} of {label!r} is set twice")
        own[label][parameter] = value
    return [make_spec(label, use, own[label]) for label, use in named]


def _name(text: str) -> tuple[str, str]:
    """Label and name; the label is by default the name, or the attribute where it is a path."""
    labelled = _LABELLED.fullmatch(text)
    if labelled:
        return labelled[1], labelled[2]
    attribute = text.rpartition(":")[2]
    if not attribute:
        raise RecipeError(f"--reward {text}: expected a name, or file.py:function, or module:function")
    return attribute, text


def _owner(key: str, labels: Sequence[str]) -> tuple[str, str]:
    fitting = [label for label in labels if key.startswith(f"{label}.") and len(key) > len(label) + 1]
    if fitting:
        label = max(fitting, key=len)
        return label, key[len(label) + 1 :]
    if len(labels) == 1:
        return labels[0], key
    hint = nearest(key, [f"{label}.{key.rpartition('.')[2]}" for label in labels])
    raise RecipeError(
        f"--set {key}: there are several rewards; say which one is meant, LABEL.PARAMETER{hint}"
    )
