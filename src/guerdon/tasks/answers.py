"""Finding the final answer in a completion: the last tag, the last box, plain operators.

Nothing here decides whether an answer is right.
"""

from __future__ import annotations

import re
from fractions import Fraction

_LOOKALIKES = str.maketrans({"−": "-", "×": "*", "⋅": "*", "·": "*", "÷": "/", "∕": "/"})
_PLAIN_NUMBER = re.compile(r"(-?)([0-9]{1,200}|[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]{1,200})?")
_QUOTIENT = re.compile(
    r"(-?)(?:\\[dt]?frac\{(-?[0-9]{1,200})\}\{([0-9]{1,200})\}|([0-9]{1,200})/([0-9]{1,200}))"
)


def plain(text: str) -> str:
    """Typographic operators as ASCII: − × ⋅ · ÷ ∕ become - * * * / /. Digits are left alone."""
    return text.translate(_LOOKALIKES)


def last_tag(text: str, tag: str = "answer") -> str | None:
    """Content of the last closed `<tag>...</tag>`, stripped; None where there is none."""
    end = text.rfind(f"</{tag}>")
    start = text.rfind(f"<{tag}>", 0, end) if end >= 0 else -1
    return text[start + len(tag) + 2 : end].strip() if start >= 0 else None


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{...}` with balanced braces, stripped; None where there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for at in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start + 7 : at].strip()
    return None


def parse_number(text: str) -> Fraction | None:
    r"""An integer, decimal, `a/b` or `\frac{a}{b}` as an exact fraction; None where it is none of these.

    Surrounding `$`, spaces and well-placed thousands commas are allowed, anything else is not.
    """
    text = plain(text).strip().strip("$").strip()
    if match := _PLAIN_NUMBER.fullmatch(text):
        sign, whole, decimals = match.groups()
        return Fraction(sign + whole.replace(",", "") + (decimals or ""))
    if match := _QUOTIENT.fullmatch(text):
        sign, a, b, c, d = match.groups()
        below = int(b or d)
        return Fraction(int(sign + "1") * int(a or c), below) if below else None
    return None
