"""Steps and states from who wrote the tokens: what a trainer knows of a rollout with tools or an environment.

Enters: which tokens the policy chose. Leaves: a `step` partition (what the policy wrote and whatever answered
it until it writes again), and keys of what was seen before every step.
"""

from __future__ import annotations

import numpy as np

from guerdon.data.keys import stable_key
from guerdon.data.ragged import Ragged


def turn_ends(acted: Ragged) -> Ragged:
    """End offsets of the turns of every rollout, int64.

    A turn begins where the policy takes up the word again; tokens before its first word belong to the first
    turn. A rollout without tokens has no turn.

    Args:
        acted: bool, True where the policy chose the token.
    """
    chosen = acted.values.astype(bool)
    resumes = chosen.copy()
    resumes[1:] &= ~chosen[:-1]
    earlier = np.concatenate([[0], np.cumsum(chosen)])
    resumes &= earlier[:-1] > earlier[acted.offsets[acted.row_ids()]]
    return ends_at(resumes, acted.offsets)


def ends_at(opens: np.ndarray, offsets: np.ndarray) -> Ragged:
    """End offsets of spans within every row, from the positions at which one opens.

    Args:
        opens: bool (total,); a row's first position opens one in any case.
        offsets: int64 (N+1,) of the rows.
    """
    filled = offsets[1:] > offsets[:-1]
    opens = opens.copy()
    opens[offsets[:-1][filled]] = False
    ends = np.sort(np.concatenate([np.flatnonzero(opens), offsets[1:][filled]]))
    owner = np.searchsorted(offsets, ends, side="left") - 1
    counts = np.bincount(owner, minlength=len(offsets) - 1).astype(np.int64)
    return Ragged.from_lengths(ends - offsets[owner], counts)


def seen_before(tokens: Ragged, acted: Ragged, ends: Ragged, prompts: list[np.ndarray]) -> np.ndarray:
    """Key of what the policy saw before every turn: the prompt, then the answer to the turn before.

    Args:
        tokens, acted: of the rollouts.
        ends: `turn_ends` of them.
        prompts: token ids of every rollout's prompt.

    Returns:
        int64, one per turn; equal where the policy saw equal tokens since it last wrote.
    """
    keys = []
    for row, prompt in enumerate(prompts):
        seen, start = np.asarray(prompt), 0
        for end in ends[row].tolist():
            keys.append(stable_key(seen.astype(np.int64)))
            own, chosen = tokens[row][start:end], acted[row][start:end].astype(bool)
            last = int(np.flatnonzero(chosen)[-1]) + 1 if chosen.any() else 0
            seen, start = own[last:], end
    return np.array(keys, np.int64)
