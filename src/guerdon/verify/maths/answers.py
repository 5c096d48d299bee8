"""A bare answer as read: decorations off, special spellings recognised, the rest parsed.

What enters is the text of an answer (not a solution), what leaves is an `Answer` that says which kind of
reading worked. Reading never evaluates anything large.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from guerdon.verify.maths.chars import to_ascii
from guerdon.verify.maths.cleaning import clean
from guerdon.verify.maths.exact import Node, Undefined, facts
from guerdon.verify.maths.guard import MAX_CHARS, MAX_DIGITS, MAX_REMEMBERED, TooLarge, allowance
from guerdon.verify.maths.kinds import Meaning
from guerdon.verify.maths.lexer import Foreign, Unreadable
from guerdon.verify.maths.meaning import meaning
from guerdon.verify.maths.parser import parse
from guerdon.verify.maths.rounding import Rounded, rounded_number
from guerdon.verify.maths.units import Unit
from guerdon.verify.maths.words import (
    SYNONYMS,
    choice_letter,
    choice_letters,
    compound_quantity,
    counted,
    lettered,
    number_in_words,
    plain_text,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a text reads.

    Attributes:
        kind: "maths" (there is a meaning), "text" (words), "empty", "foreign" (mathematics for a computer
            algebra system), "digits" (a number too long to compute with), "large" or "unsafe".
        source: the cleaned ASCII text.
        plain: the text as text (case and white space gone).
        meaning: what it says, where kind is "maths".
        unit: the unit set aside.
        rounded: the written decimal, where the answer is marked as rounded.
        cause: why there is no meaning.
        letter, letters: the choice letter(s), where it can be read so.
        clock: (minutes, seconds, half of the day) where it can be read as a time.
        based: (value, base) of `1011_2`.
        letter_unit: "spaced" or "tight" where a single letter after a number could be a unit.
    """

    kind: str
    source: str
    plain: str
    meaning: Meaning | None = None
    unit: Unit | None = None
    rounded: Rounded | None = None
    cause: str = ""
    letter: str | None = None
    letters: frozenset[str] | None = None
    clock: tuple[int, int, str] | None = None
    based: tuple[Fraction, int] | None = None
    letter_unit: str = ""


_BASED = re.compile(
    r"^\(?\s*(-?[0-9A-Fa-f]*[0-9][0-9A-Fa-f]*|-?[A-Fa-f]{2,})\s*\)?(?:\s*_\s*\{?\s*\(?\s*(?:base)?\s*|\s+\(?(?:in\s+)?base[\s-]*)"
    r"(\d{1,2}|hex|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen)\)?\s*\}?$"
)
_PREFIXED = re.compile(r"0(?:x([0-9A-Fa-f]+)|b([01]+))")
_BASES = {"hex": 16} | dict(
    zip(
        ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "sixteen"],
        [*range(2, 11), 12, 16],
        strict=True,
    )
)
_CLOCK = re.compile(
    r"^(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?\s*(?:([ap])\.?\s?m\.?)?(?:\s*o'?clock)?$", re.IGNORECASE
)
_TEXT_COMMAND = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|math(?:rm|bf|it)|mbox)\s*\{([^{}]*)\}")
_LONG_INTEGER = re.compile(r"[+-]?\d+")
_LONG_DECIMAL = re.compile(r"[+-]?\d{0,300}\.\d+")
_TIMES = re.compile(r"(?<=\d)(?<!\b0)\s*[xX]\s*(?=\d)")
_EXCEPT = re.compile(
    r"^(?:\\text\s*\{)?\s*all\s+(?:real numbers|reals|x)\s+except\s*(?:x\s*=)?\s*\}?\s*([^{}]+)$", re.I
)
_HALF_LINE = re.compile(r"\\mathbb\{R\}\s*[\^_]\s*\{?\s*([+-])\s*\}?")
_UNION = re.compile(r"(?<=[)\]}])\s*U\s*(?=[(\[]|\\[{l])")
_QUAD = re.compile(r"(?<![\s,;])[\s,;]*\\q?quad(?:\s|\\q?quad)*")
_TAIL = re.compile(r"(?<![<>!])=([^=<>]+)$")
_RUPEES = re.compile(r"^(?:Rs\.?|INR)\s*(?=\d)")
_ANGLED = re.compile(r"^<([^<>=]{1,200},[^<>=]{1,200})>$")
_MINUS = re.compile(r"^(?:negative|minus)\s+(?=[\d\\$.])")
_REMARK = re.compile(
    r"(?<=[\d}\])%])\s*(?:\s|\\text\s*\{\s*)\((?:\\text\s*\{)?\s*[A-Za-z]{3}[A-Za-z\s,-]{0,40}\}?\)\s*\}?$"
)
_AND_FRACTION = re.compile(r"^(-?\d+)\s+and\s+(\d+/\d+)$")
_REPEATS_WORD = re.compile(r"^(\d*\.\d+)\s*\(?(?:\\text\s*\{)?\s*\(?(?:repeating|recurring)\)?\}?\)?$")
_MONEY = re.compile(r"(?<![A-Za-z])USD?\s{0,3}(?:\\?\$)?(?=\s{0,3}\d)|\\\$|\$(?=\s*[\d.])")
_CONTENT = re.compile(r"[0-9A-Za-z\u0080-\U0010ffff]|\\[{}]")
_EMPTY_COMMAND = re.compile(
    r"\\(?:boxed|fbox|text|mathrm|quad|left|right|displaystyle|dots|ldots)(?![A-Za-z])"
)


def read(text: str) -> Answer:
    """The plain reading of an answer."""
    return _remembered(text) if len(text) <= MAX_REMEMBERED else read_as(text)


def read_as(text: str, scientific: bool = False, lists: bool = False, letters: bool = False) -> Answer:
    """A reading of an answer; the flags choose among readings of what is ambiguous (see `parser.parse`)."""
    if len(text) > MAX_CHARS:
        return _long(text.strip(" \t\n$."))
    ascii_text = to_ascii(text if text.isascii() else unicodedata.normalize("NFC", text))
    if ascii_text is None:
        return Answer("unsafe", "", "", cause="unparsable: control characters")
    source, approx = clean(ascii_text)
    if not _CONTENT.search(_EMPTY_COMMAND.sub("", source)):
        return Answer("empty", source, "")
    if len(source) > MAX_DIGITS and (_LONG_INTEGER.fullmatch(source) or _LONG_DECIMAL.fullmatch(source)):
        return _long(source)
    return _Reader(source, approx).answer(scientific=scientific, lists=lists, letters=letters)


_remembered = lru_cache(maxsize=16_384)(read_as)


def _long(text: str) -> Answer:
    """A text beyond the limits: white space, a plain number, or too large to read."""
    if not text:
        return Answer("empty", "", "")
    if _LONG_INTEGER.fullmatch(text):
        return Answer("digits", canonical_digits(text), text)
    if _LONG_DECIMAL.fullmatch(text):  # the rest is beyond any tolerance
        return read_as(text[:MAX_DIGITS])
    return Answer("large", "", "", cause=f"too large: {len(text)} characters")


def canonical_digits(text: str) -> str:
    """A whole number without leading zeros, so that equal numbers are equal strings."""
    digits = text.lstrip("+-").lstrip("0") or "0"
    return f"-{digits}" if text.startswith("-") and digits != "0" else digits


class _Reader:
    """The special spellings in order, then the parser."""

    def __init__(self, source: str, approx: bool) -> None:
        self.source, self.approx = source, approx
        self.plain = plain_text(source)

    def answer(self, **flags: bool) -> Answer:
        text = self.source
        synonym = SYNONYMS.get(self.plain)
        if synonym is not None and len(text) > 1:
            text = synonym
        bare = _TEXT_COMMAND.sub(r"\1", text).replace("$", "").replace("\\ ", " ").replace("\\,", " ").strip()
        based = _based(bare) if len(bare) < 80 else None
        if based is not None:
            return Answer("based", text, self.plain, based=based)
        compound = compound_quantity(bare)
        if compound is not None:
            return Answer("text", text, compound, cause="unparsable: a compound quantity")
        letter = choice_letter(text)
        if letter is not None:
            text = letter
        if self.plain.replace("-", "").replace(" ", "").isalpha():
            words = number_in_words(self.plain)
            text = words or counted(self.plain) or text
        text = _EXCEPT.sub(r"\\mathbb{R}\\setminus\\{\1\\}", text)
        text = _HALF_LINE.sub(lambda m: "(0,\\infty)" if m[1] == "+" else "(-\\infty,0)", text)
        text = _TIMES.sub("*", text)
        text = _RUPEES.sub(r"\\currency{rupee}", _MINUS.sub("-", text))
        text = _ANGLED.sub(r"\\langle \1\\rangle", text)
        text = _UNION.sub(r"\\cup", text)
        text = _REMARK.sub("", text).replace("\\textdollar", "\\$").replace("\\mathdollar", "\\$")
        text = _AND_FRACTION.sub(r"\1 \2", text)
        repeats = _REPEATS_WORD.match(text)
        if repeats:
            text = repeats[1] + "..."
        if "$" in text or "US" in text:
            text = _with_currency(text)
        return self._parsed(text, letter, bare, flags)

    def _parsed(self, text: str, letter: str | None, bare: str, flags: dict[str, bool]) -> Answer:
        marks: dict[str, Any] = {"letter": letter or lettered(self.source), "clock": _clock(bare)}
        marks["letters"] = choice_letters(self.source)
        if "quad" in text:
            text = _QUAD.sub(_separator, text)
        tree: Node = ()
        try:
            with allowance():
                parser = parse(text, **flags)
                tree = parser.tree
                what = meaning(tree)
        except (Unreadable, Foreign, Undefined) as error:
            if isinstance(error, Unreadable) or (tree and "name" in facts(tree).kinds):
                return Answer("text", text, self.plain, cause=f"unparsable: {error}", **marks)
            tail = _last_side(text)
            if tail and isinstance(error, Foreign):
                return self._parsed(tail, letter, bare, flags)
            return Answer("foreign", text, self.plain, cause=f"unsupported: {error}", **marks)
        except (TooLarge, RecursionError) as error:
            cause = str(error) if isinstance(error, TooLarge) else "too large: nested too deep"
            return Answer("large", text, self.plain, cause=cause)
        unit = parser.units[0] if len(set(parser.units)) == 1 else None
        rounded = rounded_number(parser, what, self.approx)
        return Answer(
            "maths",
            text,
            self.plain,
            meaning=what,
            unit=unit,
            rounded=rounded,
            letter_unit=parser.letter_units,
            **marks,
        )


def _last_side(text: str) -> str:
    """What follows the last `=` outside of all brackets: `55` of `\\sum_{n=1}^{10} n = 55`."""
    found = _TAIL.search(text)
    if not found or any(found[1].count(a) != found[1].count(b) for a, b in ("{}", "()", "[]")):
        return ""
    return found[1].strip()


def _separator(found: re.Match[str]) -> str:
    """A wide space separates statements, unless a word or a unit follows it."""
    rest = found.string[found.end() :]
    before = found.string[: found.start()]
    if not before or not rest or before.endswith("}") or rest.startswith(("\\text", "\\mathrm", "\\mbox")):
        return " "
    return ", "


def _with_currency(text: str) -> str:
    """Escaped dollars, and dollars that open nothing, are the currency."""
    if text.replace("\\$", "").count("$") % 2 == 0 and "\\$" not in text and "US" not in text:
        return text
    return _MONEY.sub(r"\\currency{dollar}", text)


def _based(text: str) -> tuple[Fraction, int] | None:
    """`1011_2`, `1011 base 2`, `0x2A`"""
    if found := _BASED.match(text.replace(",", "")):
        return _based_value(found[1], found[2])
    if found := _PREFIXED.fullmatch(text):
        return _based_value(found[1], "16") if found[1] else _based_value(found[2], "2")
    return None


def _based_value(digits: str, base_name: str) -> tuple[Fraction, int] | None:
    base = _BASES.get(base_name) or int(base_name)
    if not 2 <= base <= 36:
        return None
    try:
        return Fraction(int(digits, base)), base
    except ValueError:
        return None


def _clock(text: str) -> tuple[int, int, str] | None:
    """(minutes after twelve or midnight, seconds, "am", "pm" or "")"""
    found = _CLOCK.match(text) if len(text) < 30 else None
    if not found or not (found[2] or found[4]):
        return None
    hours, minutes, seconds = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    if hours > 24 or minutes > 59 or seconds > 59:
        return None
    half = found[4].lower() + "m" if found[4] else ""
    if half and hours > 12:
        return None
    if half:
        hours = hours % 12 + (12 if half == "pm" else 0)
    return hours * 60 + minutes, seconds, half
