"""Taking off what surrounds an answer: dollars, boxes, fonts, quotes, a final full stop, "Answer:"."""

from __future__ import annotations

import re

from guerdon.verify.maths.lexer import closing_brace

_WRAPPED = re.compile(
    r"^(?:\\(?:boxed|fbox|text(?:bf|it|rm|sf|normal|tt)?|math(?:rm|bf|it|sf|tt)|mbox|hbox|boldsymbol|bm|emph|"
    r"displaystyle|operatorname|ensuremath)\*?\s*\{)"
)
_LEAD = re.compile(
    r"^(?:\s|\\[,;:! ]|\\displaystyle(?![A-Za-z])|\\quad(?![A-Za-z])|=(?!=)|"
    r"(?:(?:the|final|correct)\s{1,3}){0,3}(?:answer|ans|result)(?:\s+is)?\s*[:=]|(?:the\s+)?(?:final\s+)?answer\s+is\s|&|"
    r"\\text\s*\{\s*(?:the\s+)?(?:final\s+)?answer\s+is\s*:?\s*\})+",
    re.IGNORECASE,
)
_COLOUR = re.compile(r"\\(?:text)?color\s*(?:\[[^\]]{0,9}\]\s*)?\{[^{}]{0,40}\}")
_APPROX = re.compile(
    r"^(?:\\(?:approx|simeq|thickapprox|sim|doteq)(?![A-Za-z])|~|(?:approximately|approx\.?|about|roughly|around)\s)\s*",
    re.IGNORECASE,
)
_APPROX_TAIL = re.compile(
    r"\s*\(?\s*(?:\\text\s*\{)?\s*\(?(?:approx\.?|approximately|rounded)\)?\s*\}?\s*\)?$", re.IGNORECASE
)


def clean(text: str) -> tuple[str, bool]:
    """Take off what surrounds an answer: dollars, boxes, fonts, quotes, a final full stop, "Answer:".

    Returns:
        (what is left, whether it was marked as approximate).
    """
    approx = False
    if "color" in text:
        text = _COLOUR.sub("", text)
    for _ in range(_MAX_LAYERS):
        previous = text
        text = _LEAD.sub("", text.strip())
        text = _unquoted(text)
        found = _WRAPPED.match(text)
        if found:
            close = closing_brace(text, found.end())
            if close == len(text) - 1:
                text = text[found.end() : close]
                continue
            if close > 0 and text[close + 1 :].strip() in (".", ",", ";", "!"):
                text = text[found.end() : close]
                continue
        marked = _APPROX.sub("", text)
        if marked != text:
            text, approx = marked, True
        text = _without_end(text)
        if text == previous:
            break
    tail = _APPROX_TAIL.sub("", text[-40:])
    return (text[:-40] + tail, True) if tail != text[-40:] else (text, approx)


_MAX_LAYERS = 12
_QUOTES = (
    ("$$", "$$"),
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("**", "**"),
    ("`", "`"),
    ('"', '"'),
    ("*", "*"),
)


def _unquoted(text: str) -> str:
    for opener, closer in _QUOTES:
        if len(text) >= len(opener) + len(closer) and text.startswith(opener) and text.endswith(closer):
            inside = text[len(opener) : len(text) - len(closer)]
            if opener in inside.replace("\\$", "") or (opener == "$" and text.endswith("\\$")):
                continue
            return inside
    return text


def _without_end(text: str) -> str:
    text = text.strip()
    if text.endswith("...") or text.endswith("\\left."):
        return text
    text = text.rstrip(".,; \t\n")
    while text.endswith("\\") and not text.endswith("\\\\"):  # what is left of a final "\ " or "\,"
        text = text[:-1].rstrip()
    return text
