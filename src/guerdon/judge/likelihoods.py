"""Verdicts read from probabilities instead of text: P(yes), expected ratings.

Enters: the most likely tokens of a reply with their log-probs, or exact log-probs of labels. Leaves:
log-probs of labels, and their normalised expectation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from guerdon.errors import RecipeError

_AROUND = " \t\r\n*\"'`:.([{<#\u0120\u010a\u2581"  # white space, markup, and how tokenizers print a space
Position = Sequence[tuple[str, float]]


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels that can be told apart by how they begin.

    Raises:
        RecipeError: fewer than two, or one begins another ("1" and "10": use 0-9 or 1-5).
    """
    folded = [label.strip().casefold() for label in labels]
    clash = [(a, b) for i, a in enumerate(folded) for j, b in enumerate(folded) if i != j and b.startswith(a)]
    if len(folded) < 2 or clash:
        why = f"{clash[0][0]!r} begins {clash[0][1]!r}" if clash else f"there are {len(folded)}"
        raise RecipeError(
            f"log-prob verdicts need two or more labels none of which begins another, but {why}: use "
            "letters, yes and no, or ratings of one digit"
        )
    return tuple(labels)


def label_logprobs(positions: Iterable[Position], labels: Sequence[str]) -> dict[str, float]:
    """Log-probs of labels at the first position of a reply whose likely token is not blank.

    A token counts for a label it begins, whatever its case and surroundings ("Y", " yes" and "**Yes" for
    "Yes"), unless it begins several. Labels that are not among the given tokens are absent.

    Args:
        positions: per generated token the most likely tokens with log-probs, the chosen one among them.
        labels: see `check_labels`.

    Returns:
        label -> log of the summed probability of its tokens.
    """
    folded = {label: label.strip().casefold() for label in labels}
    for tokens in positions:
        if not tokens or not max(tokens, key=lambda item: item[1])[0].strip(_AROUND):
            continue
        mass: dict[str, float] = {}
        for token, logprob in tokens:
            start = token.strip(_AROUND).casefold()
            fitting = [label for label, text in folded.items() if start and text.startswith(start)]
            if len(fitting) == 1:
                mass[fitting[0]] = mass.get(fitting[0], 0.0) + math.exp(min(logprob, 0.0))
        return {label: math.log(p) for label, p in mass.items() if p > 0}
    return {}


def expected_value(
    logprobs: Mapping[str, float], values: Mapping[str, float], min_mass: float = 0.5
) -> tuple[float, float]:
    """Expectation over labels: sum_l p_l v_l / sum_l p_l.

    For values {yes: 1, no: 0} this is P(yes) / (P(yes) + P(no)); for digits the expected rating.

    Args:
        logprobs: label -> log-prob; absent labels have probability 0.
        values: label -> number.
        min_mass: least probability of all labels together; with less the model meant to say something else.

    Returns:
        (expectation, mass); the expectation is NaN where the mass is 0 or below `min_mass`.

    Reference: expected score over digit tokens as in LoRA judges, arXiv 2506.05748.
    """
    p = {label: math.exp(min(logprobs[label], 0.0)) for label in values if label in logprobs}
    mass = math.fsum(p.values())
    if mass <= 0.0 or mass < min_mass:
        return math.nan, mass
    return math.fsum(p[label] * values[label] for label in p) / mass, mass
