"""Where the answer stands in a model's text: boxes, tags, fences, markers, numbers, choices.

Every extractor takes text and returns the answer's text or None; `extractor` tries several in an explicit
order. All of them are linear in the text and read a truncated text safely: what is cut off in the
middle of a box is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from guerdon.errors import RecipeError
from guerdon.verify.extract_numbers import (
    Extracted,
    alternatives,
    first_number,
    last_choice,
    last_number,
    numbers,
)
from guerdon.verify.fences import last_fence
from guerdon.verify.maths.lexer import closing_brace

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=[{\s\d\\-])|(?<![A-Za-z])boxed(?=\{)")
_TOKEN = re.compile(r"\\[A-Za-z]+|[^\s{}$\\.,;]+")
_FILLING = r"(?:\\(?:text|mathrm|mbox)\s*\{|[\s$\\()\[\].{}])*"
_CONNECTOR = re.compile(
    rf"{_FILLING}(?:(?:,|;|/|&|\b(?:or|and)\b){_FILLING}(?:[A-Za-z](?:_\{{?\d\}}?)?\s*=\s*)?)+"
)
_GUESSING = re.compile(r"\b(?:or|maybe|perhaps|possibly|alternatively|could|might|either)\b", re.IGNORECASE)
MAX_JOINED = 20
MAX_BOXES = 100
MAX_NESTED = 5


def boxes(text: str) -> list[tuple[int, int, str]]:
    """The last boxes that belong together, as (start, end, content): one, or several joined by "and", "or",
    or a comma. A box that never closes is ignored."""
    found: list[tuple[int, int, str]] = []
    nested = 0
    for box in _boxes_from_the_end(text):
        if found and box[1] > found[0][0]:  # the box around the last one
            found = [box, *(other for other in found if other[0] >= box[1])]
            nested += 1
        elif found and not _joined(text, box[1], found[0][0]):
            break
        else:
            found.insert(0, box)
        if len(found) == MAX_JOINED or nested == MAX_NESTED:
            break
    return found


def _boxes_from_the_end(text: str) -> Iterator[tuple[int, int, str]]:
    """All boxes that close, last first.

    A box closes before the next one begins, or around it; only the first few of the latter kind are looked
    for, so that the walk is linear.
    """
    following, around = len(text), 0
    for at in islice(_places(text), MAX_BOXES):
        match = _BOX.match(text, at)
        if match is None:
            continue
        inside = match.end() + 1
        if text[match.end() : inside] == "{":
            close = closing_brace(text, inside, following)
            if close < 0 and around < MAX_NESTED and following < len(text):
                close, around = closing_brace(text, inside), around + 1
            if close >= 0:
                yield at, close + 1, text[inside:close]
        elif token := _TOKEN.match(text, match.end()):
            yield at, token.end(), token.group()
        following = at


def _places(text: str) -> Iterator[int]:
    """Where "boxed" or "\\fbox" stands, last first."""
    boxed, fboxed = text.rfind("boxed"), text.rfind("\\fbox")
    while boxed >= 0 or fboxed >= 0:
        if boxed > fboxed:
            yield boxed - 1 if boxed and text[boxed - 1] == "\\" else boxed
            boxed = text.rfind("boxed", 0, boxed)
        else:
            yield fboxed
            fboxed = text.rfind("\\fbox", 0, fboxed)


def _joined(text: str, end: int, start: int) -> bool:
    if start - end > 40:
        return False
    return bool(_CONNECTOR.fullmatch(text, end, start) or _GUESSING.search(text, end, start))


def last_boxed(text: str) -> str | None:
    """The content of the last `\\boxed{..}` or `\\fbox{..}`; boxes joined by "and", "or" or a comma count
    as one answer with several parts."""
    if "box" not in text:
        return None
    found = boxes(text)
    if not found:
        return None
    parts = [content for _, _, content in found]
    if len(set(parts)) == 1:
        return parts[0]
    between = text[found[0][1] : found[-1][0]]
    return (" or " if _GUESSING.search(between) else ", ").join(f"{{{part}}}" for part in parts)


def first_boxed(text: str) -> str | None:
    """The content of the first box that closes."""
    found = first_box(text)
    return None if found is None else found[1]


def first_box(text: str) -> tuple[int, str] | None:
    """Where the first box that closes begins, and its content."""
    at = text.find("box")
    for match in islice(_BOX.finditer(text, max(at - 2, 0)) if at >= 0 else (), MAX_JOINED):
        inside = match.end() + 1
        close = closing_brace(text, inside) if text[match.end() : inside] == "{" else -1
        if close >= 0:
            return match.start(), text[inside:close]
    return None


def last_tag(text: str, name: str = "answer") -> str | None:
    """The content of the last `<name>..</name>`, in any case; without the closing tag, what follows the
    opening one (generation often stops at the closing tag)."""
    start = -1
    for opener in re.finditer(f"<{re.escape(name)}>", text, re.IGNORECASE):
        start = opener.end()
    if start < 0:
        return None
    closer = re.compile(f"</{re.escape(name)}>", re.IGNORECASE).search(text, start)
    return text[start : closer.start() if closer else len(text)].strip()


def strict_tag(text: str, name: str = "answer") -> str | None:
    """The content of the only `<name>..</name>`; None where the tag is missing, repeated or unclosed."""
    opener, closer = f"<{name}>", f"</{name}>"
    if text.count(opener) != 1 or text.count(closer) != 1:
        return None
    start, end = text.index(opener) + len(opener), text.index(closer)
    return text[start:end].strip() if start <= end else None


def after_thinking(text: str) -> str:
    """The text after the reasoning: what follows the last `</think>`; nothing while it is still open."""
    end = text.rfind("</think>")
    if end >= 0:
        return text[end + 8 :]
    return "" if text.lstrip().startswith("<think>") else text


_ANSWER = re.compile(
    r"answers?\b[*_\"'\s]{0,9}(?:\((?:in [^()\n]{1,30})\)|(?:to|for|of|in) [^.\n:=]{1,80}?)?[*_\"'\s]{0,9}"
    r"(?:(?::|=|\b(?:is|are|was|would be|should be|will be|must be|equals|comes to)\b)[*_\s]{0,9}"
    r"(?:therefore|thus|then|hence|simply|just)?\s{0,9}[:=]?|(?=\n))[*_]{0,9}",
    re.IGNORECASE,
)
_LETTER_MARK = re.compile(r"(?:^|(?<=[\s*]))A:", re.MULTILINE)
_LINE = re.compile(r"[ \t]*(?:\n[ \t*_#>-]*){0,4}([^\n]*)")
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z\"(\[*]|\s*$)")
_MAX_WALK = 30
MAX_PAYLOAD = 2_000


def last_marked(text: str) -> str | None:
    """What follows the last answer marker: `####`, `A:`, "Answer:", "the answer is"; up to the end of the
    line, or of the sentence in running text."""
    hashes = text.rfind("####")
    best, end, running = (hashes, hashes + 4, False) if hashes >= 0 else (-1, -1, False)
    lettered = text.rfind("A:")
    for _ in range(_MAX_WALK):
        if lettered <= best:
            break
        if lettered == 0 or text[lettered - 1] in " \n\t*":
            best, end = lettered, lettered + 2
            break
        lettered = text.rfind("A:", 0, lettered)
    at = len(text)
    for _ in range(_MAX_WALK):
        at = max(text.rfind("nswer", max(best, 0), at), text.rfind("NSWER", max(best, 0), at))
        if at < 1:
            break
        match = _ANSWER.match(text, at - 1)
        if match:
            best, end = at - 1, match.end()
            running = not match.group().rstrip("*_ \t").endswith((":", "=")) and "\n" not in text[at:end]
            break
    if best < 0:
        return None
    line = _LINE.match(text, end, end + MAX_PAYLOAD)
    payload = line[1] if line else ""
    payload = payload.lstrip("# \t")
    if running or len(payload) > 80:
        stop = _SENTENCE_END.search(payload)
        payload = payload[: stop.start()] if stop else payload
    return payload.strip()


Extractor = Callable[[str], "str | Extracted | None"]
EXTRACTORS: dict[str, Extractor] = {
    "boxed": last_boxed,
    "first_boxed": first_boxed,
    "tag": last_tag,
    "strict_tag": strict_tag,
    "fence": last_fence,
    "marked": last_marked,
    "number": last_number,
    "first_number": first_number,
    "choice": last_choice,
    "whole": lambda text: text.strip() or None,
}


def extractor(order: Sequence[str | Extractor]) -> Callable[[str], Extracted]:
    """The first of several extractors that finds something.

    Args:
        order: names of EXTRACTORS, or functions from text to text or None.

    Raises:
        RecipeError: an unknown name.
    """
    from guerdon.registry import nearest

    steps: list[tuple[str, Extractor]] = []
    for step in order:
        if callable(step):
            steps.append((getattr(step, "__name__", "function"), step))
        elif step in EXTRACTORS:
            steps.append((step, EXTRACTORS[step]))
        else:
            raise RecipeError(f"extract: unknown extractor {step!r}{nearest(str(step), EXTRACTORS)}")

    def extract(text: str) -> Extracted:
        for name, step in steps:
            found = step(text)
            if isinstance(found, Extracted):
                if found.text is not None:
                    return found
            elif found is not None:
                return Extracted(found, name)
        return Extracted(None, "none")

    return extract


__all__ = [
    "EXTRACTORS",
    "Extracted",
    "Extractor",
    "after_thinking",
    "alternatives",
    "boxes",
    "extractor",
    "first_boxed",
    "first_number",
    "last_boxed",
    "last_choice",
    "last_fence",
    "last_marked",
    "last_number",
    "last_tag",
    "numbers",
    "strict_tag",
]
