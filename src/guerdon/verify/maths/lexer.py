"""Answer text to tokens: LaTeX commands, plain operators, numbers in all their spellings, words.

A token is `(kind, value, spaced)`; `spaced` tells whether white space stood before it. Kinds: "num"
(value: Number), "sym" (a letter or Greek name), "run" (several letters: a product or a word), "word"
(letters inside `\\text`), "fn" (a function's name), "cmd" (a structural command), "op".
"""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import islice
from typing import Any, NamedTuple

from guerdon.verify.maths.guard import MAX_BRACES, MAX_CHARS, MAX_DEPTH, MAX_DIGITS, MAX_TOKENS, TooLarge
from guerdon.verify.maths.vocabulary import (
    FOREIGN,
    FUNCTIONS,
    GREEK,
    OPERATORS,
    PAIRS,
    STRUCTURE,
    WORD_OPERATORS,
)


class Foreign(Exception):
    """Mathematics that the fast path does not read (integrals, sums, piecewise ...)."""


class Unreadable(Exception):
    """Not an expression: prose, or malformed input."""


class Number(NamedTuple):
    """A written number: its exact value, whether it is a decimal, and its decimal places."""

    value: Fraction
    decimal: bool
    places: int
    text: str


Token = tuple[str, Any, bool]

_SPACING = (
    r"(?:\s|~|\\[,;:!> ]|\\(?:left|right)\s*\.|\\(?:quad|qquad|left|right|middle|[bB]igg?[lrm]?|displaystyle|"
    r"textstyle|scriptstyle|limits|nolimits|thinspace|[lL]arge|LARGE|[hH]uge|small|tiny|normalsize|hspace\{[^{}]*\}|phantom\{[^{}]*\}|mathstrut|rm|bf|it)"
    r"(?![A-Za-z])|\$)+"
)
_MASTER = re.compile(
    rf"(?P<space>{_SPACING})"
    r"|(?P<repeat>\d*\.\d*(?:\\(?:overline|bar)\s*(?:\{\d+\}|\d)|\(\d+\)(?![\d(])|(?:\\dot\s*(?:\{\d\}|\d)\d*)+))"
    r"|(?P<euro>\d{1,3}(?:\.\d{3}){2,}(?:,\d{1,2})?(?![\d,.]))"
    r"|(?P<num>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE](?:[+-]?\d+)(?![\d.]))?)"
    r"|(?P<degree>\^\s*(?:(?:\\circ|o)(?![A-Za-z(])|\{\s*(?:\\circ|o|\\(?:text|mathrm)\{o\})\s*\})|\\degrees?(?![A-Za-z]))"
    r"|(?P<env>\\(?:begin|end)\s*\{[A-Za-z]+\*?\}(?:\{[lcr|\s]*\})?)"
    r"|(?P<text>\\(?:text(?:bf|it|rm|sf|normal|up|tt)?|math(?:rm|bf|it|sf|cal|bb|frak|tt|ord)|operatorname\*?|mbox|hbox|"
    r"boldsymbol|bm|emph|currency|vec|hat|bar|underline|boxed|fbox|displaylines|ensuremath)\s*\{)"
    r"|(?P<cmd>\\(?:[A-Za-z]+|.))"
    r"|(?P<run>[A-Za-z]+)"
    r"|(?P<pair>\+/-|<=|>=|!=|==|=<|<>|\*\*|\+-|->|:=|\.{3,})"
    r"|(?P<op>[^\s])",
    re.DOTALL,
)
_ROW_GAP = re.compile(r"\\\\\[[\d.]+\s*[a-z]{2}\]")
_BRACED_POINT = re.compile(r"(?<=\d)\{\.\}(?=\d)")
_BRACED_FRACTION = re.compile(r"(?<=\d)\{(\\[dt]?frac\{\d+\}\{\d+\})\}")
_BARE_FRACTION = re.compile(r"\\[dtc]?frac\s*(\d)(?:\s*(\d))?")
_GROUPS = re.compile(r"(,\\!|\\!,|\{,\}|\\[,;: ]|,| |'|_)(\d{3})(?!\d)")
_DECIMALS = re.compile(r"\.(\d+)")
_EULER = re.compile(r"\d+e[+-]\d$")
_REPEAT_DOTS = re.compile(r"\\dot\s*\{?(\d)\}?")


def tokenize(text: str, scientific: bool = False, lists: bool = False) -> list[Token]:
    """Tokens of a cleaned ASCII answer.

    Args:
        scientific: read `2e-3` as 0.002 instead of twice Euler's number less three.
        lists: read `100,200` as two numbers, never as one with a thousands separator.

    Raises:
        TooLarge: more characters or tokens than the limits of this module.
    """
    if len(text) > MAX_CHARS:
        raise TooLarge(f"too large: {len(text)} characters")
    if "{.}" in text:
        text = _BRACED_POINT.sub(".", text)
    if "\\\\[" in text:
        text = _ROW_GAP.sub(r"\\\\", text)
    if "frac" in text:
        text = _BRACED_FRACTION.sub(r"\1", text)
        text = _BARE_FRACTION.sub(lambda m: f"\\frac{{{m[1]}}}" + (f"{{{m[2]}}}" if m[2] else ""), text)
    tokens: list[Token] = []
    _Scan(text, scientific, lists, tokens).run(0, len(text))
    return tokens


class _Scan:
    """One pass over a text; `\\text{..}` arguments are scanned in text mode."""

    def __init__(self, text: str, scientific: bool, lists: bool, out: list[Token]) -> None:
        self.text, self.scientific, self.out = text, scientific, out
        self.depth = 0
        self.lists = lists
        self.wide_commas = ", " in text
        self.nested = 0
        self.pairs: dict[int, int] | None = None

    def run(self, at: int, end: int, words: bool = False) -> None:
        out, match, spaced = self.out, _MASTER.match, False
        while at < end:
            found = match(self.text, at, end)
            if found is None:
                return
            kind, piece, at = found.lastgroup, found.group(), found.end()
            if kind == "space":
                spaced = True
                continue
            if kind == "num":
                at = self._number(piece, at, end, spaced)
            elif kind == "text":
                at = self._argument(piece, at, end, spaced)
            elif kind == "run":
                self._letters(piece, spaced, words)
            elif kind == "op":
                out.append(("op", piece, spaced))
                if piece in "([":
                    self.depth += 1
                elif piece in ")]":
                    self.depth -= 1
            elif kind == "cmd":
                self._command(piece[1:], spaced)
            elif kind == "pair":
                out.append(("op", PAIRS.get(piece, "..."), spaced))
            elif kind == "degree":
                out.append(("op", "deg", spaced))
            elif kind == "euro":
                out.append(("num", written_number(piece.replace(".", "").replace(",", ".")), spaced))
            elif kind == "repeat":
                out.append(("num", _repeating(piece), spaced))
            else:
                out.append(("env", piece, spaced))
            spaced = False
            if len(out) > MAX_TOKENS:
                raise TooLarge(f"too large: more than {MAX_TOKENS} tokens")

    def _number(self, piece: str, at: int, end: int, spaced: bool) -> int:
        if not self.scientific and _EULER.match(piece):
            digits = piece[: piece.index("e")]
            self.out.append(("num", written_number(digits), spaced))
            return at - len(piece) + len(digits)
        index = bool(self.out) and self.out[-1][:2] == ("op", "_")
        if len(piece) <= 3 and piece.isdigit() and at < end and self.text[at] in ",\\{ '_" and not index:
            at, piece = self._thousands(piece, at, end)
        self.out.append(("num", written_number(piece), spaced))
        return at

    def _thousands(self, piece: str, at: int, end: int) -> tuple[int, str]:
        """Follow equal separators between groups of three digits; a decimal part may end the number."""
        found = _GROUPS.match(self.text, at, end)
        if found is None:
            return at, piece
        separator, digits, stop = found[1], [piece], at
        if separator == "," and (self.lists or (self.depth > 0 and not self.wide_commas)):
            return at, piece
        while found is not None and found[1] == separator:
            digits.append(found[2])
            stop = found.end()
            found = _GROUPS.match(self.text, stop, end)
        if separator == " " and self.text[stop : stop + 1] == "/":  # 3 125/1000 is a mixed number
            return at, piece
        rest = _DECIMALS.match(self.text, stop, end)
        whole = "".join(digits)
        return (rest.end(), f"{whole}.{rest[1]}") if rest else (stop, whole)

    def _letters(self, run: str, spaced: bool, words: bool) -> None:
        out = self.out
        if run in WORD_OPERATORS:
            out.append(("op", WORD_OPERATORS[run], spaced))
        elif words:
            lower = run.lower()
            kind = "fn" if run in FUNCTIONS else "word"
            out.append(
                ("op", WORD_OPERATORS[lower], spaced) if lower in WORD_OPERATORS else (kind, run, spaced)
            )
        elif len(run) == 1:
            out.append(("sym", run, spaced))
        elif run in FUNCTIONS:
            out.append(("fn", run, spaced))
        elif run in ("sqrt", "cbrt"):
            out.append(("cmd", "sqrt" if run == "sqrt" else "cuberoot", spaced))
        elif run == "pi" or run in GREEK:
            out.append(("sym", run, spaced))
        elif run.lower() in ("infinity", "or", "and"):
            out.append(("op", WORD_OPERATORS[run.lower()], spaced))
        elif run[-1] in "xyz" and run[:-1] in FUNCTIONS:
            out.append(("fn", run[:-1], spaced))
            out.append(("sym", run[-1], True))
        elif run.startswith("pi") and len(run) == 3:
            out.extend((("sym", "pi", spaced), ("sym", run[2], False)))
        else:
            out.append(("run", run, spaced))

    def _command(self, name: str, spaced: bool) -> None:
        out = self.out
        if name in OPERATORS:
            value = OPERATORS[name]
            self.depth += (value in ("\\{", "langle")) - (value in ("\\}", "rangle"))
            out.append(("op", value, spaced))
        elif name in STRUCTURE:
            out.append(("cmd", STRUCTURE[name], spaced))
        elif name in GREEK or name == "pi":
            out.append(("sym", GREEK.get(name, name), spaced))
        elif name in FUNCTIONS:
            out.append(("fn", name, spaced))
        elif name in ("imath", "jmath", "i"):
            out.append(("sym", "j" if name == "jmath" else "i", spaced))
        elif name in ("R", "N", "Z", "Q", "C", "reals"):
            out.append(("named", name[0].upper(), spaced))
        elif name in FOREIGN:
            raise Foreign(f"\\{name}")
        else:
            raise Unreadable(f"unknown command \\{name}")

    def _argument(self, piece: str, at: int, end: int, spaced: bool) -> int:
        """The braced argument of a text or font command."""
        if self.pairs is None:
            self.pairs = brace_pairs(self.text)
        close = self.pairs.get(at - 1, -1)
        if close < 0:
            raise Unreadable("unbalanced braces")
        self.nested += 1
        if self.nested > MAX_DEPTH:
            raise TooLarge(f"too large: nested more than {MAX_DEPTH} deep")
        self._inside(piece, at, close, spaced)
        self.nested -= 1
        return close + 1

    def _inside(self, piece: str, at: int, close: int, spaced: bool) -> None:
        name, body = piece[1:].rstrip("{ ").rstrip("*"), self.text[at:close].strip()
        out = self.out
        if name == "mathbb":
            out.append(("named", body, spaced))
        elif name == "currency":
            out.append(("currency", body, spaced))
        elif name in ("boxed", "fbox"):
            self.run(at, close)
        elif name.startswith("text") or name in ("mbox", "hbox", "emph"):
            self.run(at, close, words=True)
        elif name in ("boldsymbol", "bm", "vec", "hat", "bar", "mathbf", "mathit", "mathcal"):
            out.append(("op", "{", spaced))
            self.run(at, close)
            out.append(("op", "}", False))
        else:
            self.run(at, close, words=True)


def closing_brace(text: str, at: int, end: int | None = None) -> int:
    """Index of the brace that closes the group whose inside starts at `at`, or -1; `\\{` does not count.

    A group with more than MAX_BRACES braces is taken as one that does not close.
    """
    depth = 1
    found = _BRACES.finditer(text, at, len(text) if end is None else end)
    for brace in islice(found, MAX_BRACES):
        piece = brace.group()
        if piece == "{":
            depth += 1
        elif piece == "}":
            depth -= 1
            if not depth:
                return brace.start()
    return -1


def brace_pairs(text: str) -> dict[int, int]:
    """Opening brace -> closing brace, for all that match."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for found in _BRACES.finditer(text):
        if found.group() == "{":
            opened.append(found.start())
        elif found.group() == "}" and opened:
            pairs[opened.pop()] = found.start()
    return pairs


_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)


def written_number(piece: str) -> Number:
    """A number in digits, with an optional decimal part and an optional power of ten."""
    if piece.isdigit():
        if len(piece) > MAX_DIGITS:
            raise TooLarge(f"too large: a number of {len(piece)} digits")
        return Number(Fraction(int(piece)), False, 0, piece)
    mantissa, mark, exponent = piece.lower().partition("e")
    power = int(exponent) if mark and len(exponent) < 8 else 0
    if len(piece) > MAX_DIGITS or (mark and len(exponent) >= 8) or abs(power) > MAX_DIGITS:
        raise TooLarge(f"too large: {piece[:40]}")
    whole, point, part = mantissa.partition(".")
    value = Fraction(int(f"{whole or 0}{part}")) * Fraction(10) ** (power - len(part))
    return Number(value, bool(point), len(part) - power if point else max(-power, 0), piece)


def _repeating(piece: str) -> Number:
    """A decimal with a marked period: overline, bar, dots above, or brackets."""
    head, _, tail = piece.partition(".")
    dotted = [found for found in _REPEAT_DOTS.finditer(tail)]
    if dotted:
        fixed = tail[: dotted[0].start()]
        period = _REPEAT_DOTS.sub(r"\1", tail[dotted[0].start() :])
        if len(dotted) == 2:
            period = _REPEAT_DOTS.sub(r"\1", tail[dotted[0].start() : dotted[1].end()])
    else:
        fixed = re.match(r"\d*", tail)[0]  # type: ignore[index]
        period = "".join(re.findall(r"\d", tail[len(fixed) :]))
    if len(piece) > MAX_DIGITS:
        raise TooLarge(f"too large: a decimal of {len(piece)} characters")
    return Number(repeating_value(head, fixed, period), False, 0, piece)


def repeating_value(whole: str, fixed: str, period: str) -> Fraction:
    """`whole.fixed(period)` = (all digits - digits before the period) / (10^f (10^p - 1))."""
    lead = int((whole or "0") + fixed)
    return Fraction(int((whole or "0") + fixed + period) - lead, 10 ** len(fixed) * (10 ** len(period) - 1))
