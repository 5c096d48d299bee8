"""A reference answer in the place of the model's own: its log-probs behind what was thought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon.data.rollouts import Rollouts
from guerdon.intrinsic.scoring import (
    NO_REFERENCE,
    Place,
    Scored,
    encoded,
    own_ids,
    prompt_ids,
    reference_texts,
    score_places,
    with_ids,
)

NO_OPENING = "the completion never opens its answer"


def thought_of(text: str, opening: str) -> str | None:
    """The completion up to and with the last mark that opens an answer; None where there is none."""
    at = text.rfind(opening)
    return None if at < 0 else text[: at + len(opening)]


def reference_scores(
    engine: Any,
    rollouts: Rollouts,
    opening: str = "<answer>",
    thoughts: Sequence[str | None] | None = None,
    statistics: Sequence[str] = ("logprob",),
) -> Scored:
    """Statistics of the reference's tokens behind prompt and thought, one ragged row per rollout.

    Args:
        opening: the mark after which the reference is put. "" puts it behind the whole completion.
        thoughts: texts to put in front instead of the rollouts' own (the same text for all: a baseline).
    """
    rollouts = with_ids(engine, rollouts)
    contexts, references = prompt_ids(engine, rollouts), reference_texts(rollouts)
    own = own_ids(engine, rollouts) if thoughts is None and not opening else None
    places: list[Place] = []
    causes: dict[int, str] = {}
    for i, reference in enumerate(references):
        thought = (
            thoughts[i] if thoughts is not None else "" if own else thought_of(rollouts.text(i), opening)
        )
        if reference is None or thought is None:
            causes[i] = NO_REFERENCE if reference is None else NO_OPENING
            places.append(Place(contexts[i], (), ()))
            continue
        given = own[i] if own else encoded(engine, thought)
        places.append(Place(contexts[i], given, encoded(engine, reference)))
    scored = score_places(engine, places, statistics)
    return Scored(scored.stats, {**scored.causes, **causes}, scored.forwards, scored.apart)
