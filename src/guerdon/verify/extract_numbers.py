"""Numbers, formulas and choice letters in prose: the fall-back where no answer is marked."""

from __future__ import annotations

import re
from typing import NamedTuple


class Extracted(NamedTuple):
    """An answer and how it was found.

    Attributes:
        text: the answer's text; None where the text gives no answer.
        how: the extractor that found it.
        hedged: several guesses were given instead of an answer.
    """

    text: str | None
    how: str
    hedged: bool = False


_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>[-−–+](?=[\d.\\$€£]))?(?:\\?\$|€|£)?"
    r"(?P<value>\\[dt]?frac\s*\{[^{}]{1,40}\}\s*\{[^{}]{1,40}\}|(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?(?!\d|\.\d)"
    r"(?:\s?/\s?\d+(?!\d|\.\d))?)(?P<tail>\s?(?:\\?%|percent\b|(?:million|billion|trillion|thousand|dozen)\b))?"
)
_MATHS = re.compile(r"\$([^$\n]{1,300})\$|\\\(((?:(?!\\\)).){1,300})\\\)|\\\[((?:(?!\\\]).){1,300})\\\]")
_CUE = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|might|could|between|alternatively|one of|guess|unsure|"
    r"not sure)\b|\?",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:cannot|can't|can not|unable|don't know|do not know|no idea|not possible)\b", re.IGNORECASE
)
_DENIED = re.compile(r"(?:\bnot|n['’]t|\bnever)\s+(?:be\s+)?[$\\(*]*$", re.IGNORECASE)
_UNKNOWN = re.compile(
    r"\b(?:do not|don['’]t|cannot|can['’]t) (?:know|say|tell|decide)\b|"
    r"\bno idea\b|\bunable to\b|\bnot sure\b",
    re.IGNORECASE,
)
_WINDOW = 600
_FORMULA = 302


def numbers(text: str) -> list[str]:
    """The numbers of a text in order, with sign, fraction bar, percent sign or multiplier."""
    return [_number_text(match) for match in _NUMBER.finditer(text)]


def _number_text(match: re.Match[str]) -> str:
    value = match["value"].rstrip(",")
    sign = "" if match["sign"] in (None, "+") else "-"
    return f"{sign}{value}{match['tail'] or ''}"


def last_number(text: str) -> Extracted:
    """The last number, with the formula around it where it stands in one; hedged where its sentence offers
    several ("57 or 58"), no answer where it refuses."""
    window = text[-_WINDOW:]
    while not (found := list(_NUMBER.finditer(window))) and len(window) < len(text):
        window = text[-4 * len(window) :]
    if not found:
        return Extracted(None, "number")
    last = found[-1]
    sentence, before = _sentence(window, last.start())
    if _REFUSAL.search(sentence) or _DENIED.search(window, 0, last.start()):
        return Extracted(None, "number")
    here = numbers(sentence)
    cue = _CUE.search(sentence)
    if cue and (len(set(here)) > 1 or (cue.start() < 12 and numbers(before))):
        return Extracted(here[-1] if here else None, "number", hedged=True)
    near = max(0, last.start() - _FORMULA), last.end() + _FORMULA
    for formula in reversed(list(_MATHS.finditer(window, *near))):
        if formula.start() <= last.start() < formula.end():
            return Extracted(next(g for g in formula.groups() if g), "formula")
    return Extracted(_number_text(last), "number")


def first_number(text: str) -> str | None:
    """The first number of a text."""
    match = _NUMBER.search(text)
    return _number_text(match) if match else None


_BREAK = re.compile(r"[.!?](?=\s)|\n")


def _sentence(text: str, at: int) -> tuple[str, str]:
    """The sentence around a position, and the text before it."""
    start = 0
    for match in _BREAK.finditer(text, 0, at):
        start = match.end()
    stop = _BREAK.search(text, at)
    return text[start : stop.end() if stop else len(text)].strip(), text[:start]


_CHOICE_MARK = re.compile(
    r"(?:[Oo]ption|[Cc]hoice|[Aa]nswer)(?:\s{0,3}(?:is|:))?[*\s$]{0,9}(?:\\text(?:bf)?\{)?\(?([A-Z])\)?(?![A-Za-z])|"
    r"\b(?:is|choose|pick|select|be)\s{1,3}[*$]{0,4}(?:\\text(?:bf)?\{)?([A-Z])(?![A-Za-z])|"
    r"\(([A-Z])\)|(?:^|\n)[ \t]{0,9}[*]{0,4}([A-Z])[*]{0,4}[.)]?\s*$",
)


def last_choice(text: str) -> str | None:
    """The last choice letter: `(B)`, "option B", or a letter on a line of its own; None where it is denied
    ("not (B)") or its sentence says that the answer is unknown."""
    found, text = None, text[-4_000:]
    for found in _CHOICE_MARK.finditer(text):  # noqa: B007
        pass
    if found is None:
        return None
    letter = next(i for i, g in enumerate(found.groups(), 1) if g)
    at = found.start(letter)
    if _DENIED.search(text, max(0, at - 40), at) or _UNKNOWN.search(_sentence(text, at)[0]):
        return None
    return found[letter]


_ALTERNATIVES = re.compile(
    r"(?<![A-Za-z])\(?([A-J])\)?[*\s]{0,3}(?:or|/)[*\s]{0,3}(?:option )?\(?([A-J])(?![A-Za-z])"
)
_ALONE = re.compile(r"(?<![A-Za-z])[A-J](?![A-Za-z'])")


def alternatives(text: str) -> bool:
    """Whether the last choice letters are alternatives: `either (A) or (B)`."""
    text, end = text[-4_000:], -1
    for found in _ALTERNATIVES.finditer(text):
        end = found.end() if found[1] != found[2] else end
    return end >= 0 and _ALONE.search(text, end) is None
