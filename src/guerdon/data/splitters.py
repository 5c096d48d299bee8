"""Splitters: where the steps of a text end.

A splitter is a function `text -> ends`: character offsets that rise strictly and end at `len(text)`, so
that the pieces between them join to the text again; empty text has none. What separates two steps belongs
to the step before it. A piece of white space alone is never a step of its own: it joins the step before it
(at the very start the step after it).

The functions below make splitters, with names for use in recipes (`{use: regex, pattern: ...}`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from guerdon.errors import DataError
from guerdon.registry import lookup, nearest
from guerdon.registry import names as registered

Splitter = Callable[[str], Sequence[int]]

_BLANK_LINE = r"\n(?:[^\S\n]*\n)+"
_SENTENCE = re.compile(
    rf"(?<![.!?…])(?P<stop>[.!?…]++)[\"'”’»)\]}}*_`$]*\s+|[。！？]+[”’」』）]*\s*|(?P<blank>{_BLANK_LINE})"
)
_WORD = re.compile(r"[^\W_](?:[\w.]*\w)?$")
_ENUMERATOR = re.compile(
    r"(?:^|\n)[\s#*>(\-]*(?:(?:step|case|part|example|question)\s+)?(?:\d{1,3}|[a-z]|[ivx]+)$", re.IGNORECASE
)
_BEFORE_NAMES = re.compile(r"mr|mrs|ms|dr|prof|rev|st|gen|col|sen|rep|vs|e\.g|i\.e|cf|viz|approx")
_BEFORE_NUMBERS = re.compile(r"nos?|figs?|eqs?|sec|ch|vol|pp?|art|thm|lem|prop|def|ex|ref")
_LOOK_BACK = 40


def blank_line() -> Splitter:
    """Steps end at blank lines (lines of white space alone): paragraphs."""
    return regex(_BLANK_LINE)


def newline() -> Splitter:
    """Steps end at line breaks; blank lines belong to the step before them."""
    return regex(r"\n")


def regex(pattern: str, flags: int = 0) -> Splitter:
    """Steps end where a match of `pattern` ends: the match is the separator and stays with its step.

    A pattern may match nothing but a place: `(?=Step \\d)` starts a step at every "Step 1".

    Raises:
        DataError: not a regular expression.
    """
    try:
        compiled = re.compile(pattern, flags)
    except (re.error, TypeError) as error:
        raise DataError(f"splitter pattern {pattern!r} is not a regular expression: {error}") from error
    return lambda text: _close(text, (match.end() for match in compiled.finditer(text)))


def tags(names: str | Sequence[str] = "step") -> Splitter:
    """Every outermost `<name> ... </name>` is a step; so is whatever stands between, before and after.

    Names match regardless of case, opening tags may have attributes, several names may be given. A tag
    that is never closed reaches to the end (a truncated rollout); a closing tag without an opening one
    still ends a step (templates that put `<think>` into the prompt).
    """
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted or not all(isinstance(name, str) and name for name in wanted):
        raise DataError(f"splitter tags: expected one tag name or more, got {names!r}")
    tag = re.compile(rf"<(/?)(?:{'|'.join(map(re.escape, wanted))})(?:\s[^<>]*)?>\s*", re.IGNORECASE)

    def cuts(text: str) -> Iterable[int]:
        depth = 0
        for match in tag.finditer(text):
            if match[1]:
                depth = max(depth - 1, 0)
                if depth == 0:
                    yield match.end()
            else:
                if depth == 0:
                    yield match.start()
                depth += 1

    return lambda text: _close(text, cuts(text))


def sentence() -> Splitter:
    """Steps are sentences: they end at `.`, `!`, `?`, `…` before white space, at `。！？`, at blank lines.

    Closing quotes and brackets stay with the sentence. A full stop does not end one
    - inside a number or word (no white space follows: 3.14, example.com),
    - before a lower-case letter,
    - after a title or such that a name follows (Mr., Dr., e.g., i.e., vs.),
    - after a reference word before a number (Fig. 3, No. 7, Eq. (2)),
    - after a list number at the start of a line (`1. `, `a. `, `Step 2. `).
    A single capital letter does end one ("The answer is B. Next ..."), so initials of names split.
    """
    return lambda text: _close(text, (m.end() for m in _SENTENCE.finditer(text) if _ends_sentence(m)))


def _ends_sentence(match: re.Match[str]) -> bool:
    stop, text = match["stop"], match.string
    if stop is None or match.end() == len(text):
        return True
    following = text[match.end()]
    if "\n" in match[0] and match[0].count("\n") > 1:
        return True
    if stop[-1] in "!?":
        closed = text[match.start() + len(stop)].isspace()
        return closed or not following.islower()
    if following.islower():
        return False
    if stop != ".":
        return True
    before = text[max(0, match.start() - _LOOK_BACK) : match.start()]
    word = _WORD.search(before)
    known = word[0].lower() if word else ""
    if _BEFORE_NAMES.fullmatch(known):
        return False
    if _BEFORE_NUMBERS.fullmatch(known) and (following.isdigit() or following == "("):
        return False
    at_start = match.start() <= _LOOK_BACK or "\n" in before
    return not (at_start and _ENUMERATOR.search(before))


def _close(text: str, cuts: Iterable[int]) -> list[int]:
    """Ends from candidate cuts in rising order: white space alone joins the piece before it."""
    ends: list[int] = []
    last, leading = 0, False
    for cut in (*cuts, len(text)):
        if cut <= last:
            continue
        visible = not text[last:cut].isspace()
        last = cut
        if visible or not ends:
            if ends and not leading:
                ends.append(cut)
            else:
                ends[:] = [cut]
            leading = not visible
        else:
            ends[-1] = cut
    return ends


SPLITTERS: dict[str, Callable[..., Splitter]] = {
    "blank_line": blank_line,
    "newline": newline,
    "regex": regex,
    "sentence": sentence,
    "tags": tags,
}


def splitter(by: str | Mapping[str, Any] | Splitter) -> Splitter:
    """The splitter meant by a name, a mapping `{"use": name, parameter: value}`, or a function.

    Raises:
        DataError: unknown name, or parameters it does not have.
    """
    if callable(by):
        return by
    spec = {"use": by} if isinstance(by, str) else dict(by)
    name = spec.pop("use", None)
    factory = SPLITTERS.get(name) if isinstance(name, str) else None
    if factory is None:
        known = {*SPLITTERS, *registered("splitter")}
        if name not in known:
            raise DataError(f"unknown splitter {name!r}{nearest(str(name), known)}")
        factory = lookup("splitter", str(name))
    try:
        return factory(**spec)
    except TypeError as error:
        raise DataError(f"splitter {name!r}: {error}") from error
