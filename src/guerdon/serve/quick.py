"""Which work is done at once, in the desk's thread, rather than by a worker that can be killed.

A reward says of itself that it is `quick`: a verdict takes microseconds, and time linear in the texts. What
is left to check is that the texts are short and the rest is plain, so that nobody notices that others wait.
"""

from __future__ import annotations

from guerdon.data.rollouts import Rollouts

_MOST = 1 << 18  # characters in one piece of work: milliseconds
_PLAIN = {str, int, float, bool, type(None)}


def is_short(rollouts: Rollouts) -> bool:
    """Whether completions are texts, references plain values, metas empty, and all of it is short."""
    completions, references = rollouts.completion or (), rollouts.reference or ()
    if (
        set(map(type, completions)) != {str}
        or not set(map(type, references)) <= _PLAIN
        or any(rollouts.meta or ())
    ):
        return False
    return sum(map(len, completions)) + sum(len(r) for r in references if isinstance(r, str)) <= _MOST
