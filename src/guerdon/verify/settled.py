"""What a text commits to: answers that are denied, taken back or offered side by side are no answers.

For answers written in brackets (boxes, points, lists, JSON); `verify.maths` has rules of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

_TAKEN_BACK = re.compile(
    r"\b(?:wait|no|actually|hold on)\b[^\n]{0,40}\b(?:wrong|incorrect|not right|a mistake)\b", re.IGNORECASE
)
_DENIED = re.compile(
    r"\b(?:not|never|n't|whether (?:it|this|that|the answer) is)[ \t]{1,4}[\[{(][^\n]*", re.IGNORECASE
)
_SIDE_BY_SIDE = re.compile(
    r"[^\n]*(?:[\]})][ \t]{0,4},?[ \t]{0,4}\bor\b[ \t]{0,4}[\[{(]|</answer>[ \t]{0,4}<answer>)[^\n]*",
    re.IGNORECASE,
)


def settled(text: str, one: bool = True) -> str:
    """The text without the lines in which it does not commit itself.

    What stands before "wait, that is wrong" goes; so does what follows "not" or "whether it is" directly,
    to the end of its line, and (`one`) a line with several bracketed answers joined by "or", or several
    answer blocks.

    Args:
        text: of an answer.
        one: whether one answer is wanted, so that alternatives are none.
    """
    text = text[max((found.end() for found in _TAKEN_BACK.finditer(text)), default=0) :]
    text = _DENIED.sub("", text)
    return _SIDE_BY_SIDE.sub("", text) if one else text


def settling(find: Callable[[str], str | None], one: bool = True) -> Callable[[str], str | None]:
    """A finder of answers whose finds are settled; see `settled`."""
    return partial(_settled, find=find, one=one)


def _settled(text: str, find: Callable[[str], str | None], one: bool) -> str | None:
    answer = find(text)
    return None if answer is None else settled(answer, one)
