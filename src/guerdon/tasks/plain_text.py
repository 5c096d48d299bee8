"""Plain text as problems: what is read so far, and what comes next.

    prompt      the last `window` characters before a place
    reference   the `ahead` characters behind it

Made for rewards that ask how likely a text is behind a thought (`rlp`). There is no answer to check: the
outcome is missing with a cause. Places are drawn at random; splits are made by a hash of what is shown, so
that places of different splits may overlap.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from guerdon.errors import DataError, RecipeError
from guerdon.tasks.base import Problem, Task, Unscorable

NO_CHECK = "plain text has no answer to check"


@dataclass(frozen=True)
class PlainText(Task):
    """Places in a text.

    Args:
        path: a UTF-8 text file. text: the text itself, in place of a file.
        ahead: characters that follow and are to be predicted, at least 1.
        window: most characters of the prompt, at least 1.
        least: fewest characters of the prompt.
    """

    path: str | None = None
    text: str | None = None
    ahead: int = 1
    window: int = 256
    least: int = 1

    name = "plain_text"

    def __post_init__(self) -> None:
        if (self.path is None) == (self.text is None):
            raise RecipeError("plain_text: give either path or text")
        if self.ahead < 1 or not 1 <= self.least <= self.window:
            raise RecipeError(
                f"plain_text: ahead >= 1 and 1 <= least <= window, got {self.ahead}, {self.least}, "
                f"{self.window}"
            )

    @property
    def whole(self) -> str:
        """The text.

        Raises:
            DataError: no such file, no UTF-8, or too short for one place.
        """
        found = self.text if self.text is not None else _read(str(self.path))
        if len(found) < self.least + self.ahead:
            raise DataError(
                f"plain_text: {self.path or 'the text'} has {len(found)} characters, expected at least "
                f"{self.least + self.ahead} (least + ahead)"
            )
        return found

    def draw(self, rng: random.Random) -> Problem:
        """A place, uniform over the text."""
        text = self.whole
        at = rng.randint(self.least, len(text) - self.ahead)
        return Problem(text[max(0, at - self.window) : at], text[at : at + self.ahead], {"at": at})

    def key(self, problem: Problem) -> str:
        """What is shown and what follows."""
        return f"{problem.prompt}\x1f{problem.reference}"

    def grade(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        """There is none."""
        raise Unscorable(NO_CHECK)


@lru_cache(maxsize=4)
def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"plain_text: {path} cannot be read as UTF-8 text: {error}") from error
