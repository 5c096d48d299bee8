"""What is worth sending to a computer algebra system: a textual size guard before anything is evaluated."""

from __future__ import annotations

import re

MAX_CHARS = 600
MAX_DEPTH = 12
MAX_EXPONENT = 400
MAX_DIGITS = 60
MAX_TERMS = 400

_DIGITS = re.compile(r"\d+")
_EXPONENT = re.compile(r"(?:\^|\*\*)\s*[{(]?\s*[-+]?\s*(\d+)")
_TOWER = re.compile(r"(?:\^|\*\*)\s*(?:[{(][^{}()]*|[\w\\]+\s*)(?:\^|\*\*)")
_FACTORIAL = re.compile(r"(\d+|[)}\]!])\s*!")
_BOUNDS = re.compile(r"\\(?:sum|prod)\s*_\s*\{[^{}]*?=\s*(-?\d+)\s*\}\s*\^\s*\{?\s*(-?\d+|[^{}\s]+)")


def refusal(text: str) -> str | None:
    """Why a bare answer may not be evaluated; None where it may."""
    if len(text) > MAX_CHARS:
        return f"{len(text)} characters"
    if _depth(text) > MAX_DEPTH:
        return "nested too deep"
    if any(len(digits) > MAX_DIGITS for digits in _DIGITS.findall(text)):
        return "a number with too many digits"
    for low, high in _BOUNDS.findall(text):
        if _DIGITS.fullmatch(high.lstrip("-")) and int(high) - int(low) > MAX_TERMS:
            return "a long sum or product"
    text = _BOUNDS.sub(" ", text)
    if any(len(power) > 4 or int(power) > MAX_EXPONENT for power in _EXPONENT.findall(text)):
        return "a large exponent"
    if _TOWER.search(text):
        return "a tower of powers"
    for operand in _FACTORIAL.findall(text):
        if not operand.isdigit() or len(operand) > 4 or int(operand) > MAX_EXPONENT:
            return "a large factorial"
    return None


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "})]":
            depth -= 1
    return deepest
