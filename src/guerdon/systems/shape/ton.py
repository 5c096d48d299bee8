"""TON: learn to leave thoughts empty, then let outcome and format decide when thinking pays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited

_FORMAT = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)
_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)
EMPTY = "\n\n"


def well_formed(text: str) -> bool:
    """The whole text is `<think>..</think><answer>..</answer>`; the thought may be empty."""
    return _FORMAT.fullmatch(text) is not None


def skipped(text: str) -> bool:
    """There is a thought and it is empty or blank; a text without think tags has skipped nothing."""
    found = _THOUGHT.search(text)
    return found is not None and not found.group(1).strip()


def thought_dropout(
    samples: Iterable[Mapping[str, Any]], p: float = 0.5, seed: int = 0, column: str = "completion"
) -> list[dict[str, Any]]:
    """Samples for supervised training in which each thought is emptied with probability p.

    `<think>...</think>` becomes `<think>\\n\\n</think>`; what follows stays as it is.

    Args:
        samples: mappings with a text under `column`.
        p: in [0, 1]. seed: of the choice, one draw per sample.

    Raises:
        RecipeError: p outside [0, 1].
    """
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0.0 <= p <= 1.0:
        raise RecipeError(f"p must be a number in [0, 1], got {p!r}")
    rng = np.random.default_rng(seed)
    out = []
    for sample in samples:
        drop = rng.random() < p
        text = sample[column]
        emptied = _THOUGHT.sub(f"<think>{EMPTY}</think>", text, count=1) if drop else text
        out.append({**sample, column: emptied})
    return out


@system(
    "ton",
    title="Think or Not? Selective Reasoning via Reinforcement Learning for Vision-Language Models",
    arxiv="2505.16854",
    family="shape",
    kind="shape",
    others={"credit": credited(baseline="mean_std", eps=1e-4)},
)
def ton() -> Shaping:
    """R_i = format_i + accuracy_i; that skipping pays is learned, not rewarded.

    Credit: (R - mean_g)/(std_g + 1e-4), ddof 1. Before it, `thought_dropout` makes empty thoughts known.

    Inputs: `accuracy` (rollout, 0 or 1; `outcome` where it is not carried); `format` (rollout, 0 or 1; read
    from the completion where it is not carried, see `well_formed`).
    Parts: `skipped` (where there is text; its mean is the skip ratio) and `reward`.

    Reference: arXiv 2505.16854; src/r1-v/src/open_r1/grpo.py of kokolerk/TON.
    """

    def parts(view: Reading) -> dict[str, np.ndarray | Signal]:
        accuracy = view.first("accuracy", "outcome")
        if "format" in view.signals:
            form = view.rollout("format")
        elif view.rollouts.completion is None:
            raise DataError(
                "ton needs the signal 'format' at level 'rollout', or `completion` to read it from"
            )
        else:
            form = np.array([well_formed(text) for text in view.texts()], np.float64)
        found: dict[str, np.ndarray | Signal] = {}
        if view.rollouts.completion is not None:
            found["skipped"] = np.array([skipped(text) for text in view.texts()], np.float64)
        return {**found, "reward": form + accuracy}

    return Shaping("ton", parts, ("format", "accuracy", "outcome"), {"rollout": "accuracy"})
