"""KnowRL: does a model agree with itself on whether it can do a task?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guerdon.errors import RecipeError
from guerdon.intrinsic.feasibility import consensus, read_label
from guerdon.intrinsic.reward import Intrinsic
from guerdon.intrinsic.votes import agreement
from guerdon.intrinsic.voting import by_group
from guerdon.systems.catalogue import system

FORMS = ("label", "scaled", "share", "margin")


@system(
    "knowrl",
    title="KnowRL: Teaching Language Models to Know What They Know",
    arxiv="2510.11407",
    family="intrinsic",
    kind="reward",
)
def knowrl(form: str = "label") -> Intrinsic:
    """Agreement of k self-analyses of a task, one value per rollout; p = votes of the majority / k.

        label   1[label_i == majority]        share   p, for who wrote the task
        scaled  p 1[label_i == majority]      margin  2p - 1

    The label is the last "feasible" or "infeasible" of a completion; an unreadable one stays in k. A tie has
    no majority: all 0. A group of one is missing.

    Reference: Kale and Dhami, arXiv 2510.11407; the form of the reward per analysis is our reading.
    """
    if form not in FORMS:
        raise RecipeError(f"knowrl: form is one of {', '.join(FORMS)}, got {form!r}")

    def of_group(labels: Sequence[str | None], rows: np.ndarray) -> np.ndarray:
        said, p = consensus(labels)
        if said is None:
            return np.zeros(len(labels))
        if form in ("share", "margin"):
            return np.full(len(labels), p if form == "share" else 2 * p - 1)
        return agreement(labels, said) * (p if form == "scaled" else 1.0)

    return Intrinsic("knowrl", lambda rollouts, ctx: by_group(rollouts, read_label, of_group))
