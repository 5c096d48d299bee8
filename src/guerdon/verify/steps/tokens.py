"""Prose with arithmetic in it, as tokens: numbers, operators, relations, words, breaks.

LaTeX commands become the signs they stand for, so that `\\frac{3}{5} \\times 30` and `3/5 x 30` read alike.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right|,|;|!|:|quad|qquad|displaystyle|ldots|dots)(?![A-Za-z])", " "),
        (r"\\ ", " "),
        (r"\\[dt]frac", r"\\frac"),
        (r"\\(?:text|textbf|mathrm|mathbf|textit|operatorname)\s*\{([^{}]*)\}", r" \1 "),
        (r"\\(?:boxed|fbox)\s*\{([^{}]*)\}", r" \1 "),
        (r"\\(?:times|cdot|ast)(?![A-Za-z])|[×·∗⋅]", " * "),
        (r"\\div(?![A-Za-z])|÷", " / "),
        (r"\\approx(?![A-Za-z])|\\sim(?![A-Za-z])|\\simeq(?![A-Za-z])|≅|∼", " ≈ "),
        (
            r"\\(?:leq?|geq?|lt|gt|neq|implies|Rightarrow|rightarrow|to)(?![A-Za-z])|=>|->|[≤≥≠→⇒]|<=|>=|!=",
            " ; ",
        ),
        (r"\\\(|\\\)|\\\[|\\\]|\\\\|\\begin\{[^}]*\}|\\end\{[^}]*\}", " ; "),
        (r"\\%", "%"),
        (r"\\?\$|[€£]|USD\b", " "),
        (r"[−–—]", "-"),
        (r"\*\*|[_&`]", " "),
        (r"\b\d{1,2}:\d{2}\b", " ; "),
        (r"\n\s*=", " = "),
        (r"\n", " ; "),
    )
)
_FRACTION = re.compile(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_TOKEN = re.compile(
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d])|\d+(?:\.\d+)?|\.\d+)|(?P<op>[-+*/^()])|"
    r"(?P<relation>[=≈])|(?P<percent>%)|(?P<word>[A-Za-z][A-Za-z'’]*)|(?P<other>\S)|(?P<space>\s+)"
)
_SPOKEN = {
    "plus": "+",
    "minus": "-",
    "times": "*",
    "equals": "=",
    "percent": "%",
}
_SCALES = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_MAX_DIGITS = 18


class Token(NamedTuple):
    """One token.

    Attributes:
        kind: "number", "op", "relation", "word" or "break".
        text: as written, after rewriting.
        value: of a number, exact.
        places: decimals a number is written with.
        glued: no space between it and the token before.
        percent: the number is followed by a percent sign.
    """

    kind: str
    text: str
    value: Fraction = Fraction(0)
    places: int = 0
    glued: bool = False
    percent: bool = False


def tokenize(text: str) -> list[Token]:
    """Tokens of a text; linear in its length."""
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    for _ in range(4):  # fractions within fractions
        text, found = _FRACTION.subn(r" ((\1)/(\2)) ", text)
        if not found:
            break
    out: list[Token] = []
    glued = False
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind == "space":
            glued = False
            continue
        _append(out, kind, match.group(), glued)
        glued = True
    return out


def _append(out: list[Token], kind: str, text: str, glued: bool) -> None:
    before = out[-1] if out else None
    if kind == "number":
        digits = text.replace(",", "")
        if len(digits) > _MAX_DIGITS:
            out.append(Token("word", text, glued=glued))
            return
        places = len(digits.partition(".")[2])
        out.append(Token("number", text, Fraction(digits), places, glued))
    elif kind == "percent" or text.lower() == "percent":
        if before is not None and before.kind == "number":
            out[-1] = before._replace(percent=True)
        else:
            out.append(Token("word", "%"))
    elif kind == "word" and text.lower() in _SPOKEN:
        sign = _SPOKEN[text.lower()]
        out.append(Token("relation" if sign == "=" else "op", sign))
    elif kind == "word" and text.lower() in _SCALES and before is not None and before.kind == "number":
        out[-1] = before._replace(value=before.value * _SCALES[text.lower()], places=0)
    elif (
        kind == "word" and text in ("x", "X") and before is not None and before.kind == "number" and not glued
    ):
        out.append(Token("op", "*"))  # 4 x 5; undone by the parser where no number follows
    elif kind == "word" and text.lower() == "of" and _share(out):
        out.append(Token("op", "*"))
    elif kind == "other":
        out.append(Token("break", text))
    else:
        out.append(Token(kind, text, glued=glued))


def _share(out: list[Token]) -> bool:
    """Whether the tokens end in a percentage or a fraction, of which "of" takes a share."""
    if not out:
        return False
    if out[-1].kind == "number":
        return out[-1].percent or (len(out) > 2 and out[-2].text == "/" and out[-3].kind == "number")
    return out[-1].text == ")" and any(token.text == "/" for token in out[-8:])
