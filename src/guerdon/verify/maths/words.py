"""Answers in words: what counts as the same text, words with a mathematical meaning, choice letters."""

from __future__ import annotations

import re

from guerdon.verify.maths.units import NAMES, is_unit

_FONT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|normal|tt)?|math(?:rm|bf|it|sf|cal)|operatorname|mbox|hbox|boldsymbol|bm|emph|boxed|"
    r"fbox)\*?\s*\{"
)
_SPACING = re.compile(r"\\(?:quad|qquad|left|right|displaystyle)(?![A-Za-z])|\\[,;:! ]|[~$\s]+")
_HYPHEN = re.compile(r"(?<=[A-Za-z]{2})-(?=[A-Za-z]{2})")
_EDGE = " \t\n.,;:!?*`\"'"
SYNONYMS = {
    **dict.fromkeys(
        (
            "dne",
            "d.n.e",
            "does not exist",
            "doesn't exist",
            "the limit does not exist",
            "limit does not exist",
            "limit dne",
            "the limit dne",
            "no limit",
        ),
        "dne",
    ),
    **dict.fromkeys(("undefined", "not defined", "is undefined"), "undefined"),
    **dict.fromkeys(
        ("infinity", "inf", "positive infinity", "plus infinity", "+inf", "+infinity"), "\\infty"
    ),
    **dict.fromkeys(("-infinity", "-inf", "negative infinity", "minus infinity"), "-\\infty"),
    **dict.fromkeys(
        ("all real numbers", "all reals", "the real numbers", "real numbers", "any real number", "reals"),
        "\\mathbb{R}",
    ),
    **dict.fromkeys(("all integers", "the integers", "integers", "any integer"), "\\mathbb{Z}"),
    **dict.fromkeys(
        (
            "no solution",
            "no solutions",
            "no real solution",
            "no real solutions",
            "empty set",
            "the empty set",
        ),
        "\\emptyset",
    ),
}
_COMPOUND = re.compile(
    r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)(?:\s*,\s*|\s+)(?:and\s+)?(\d+(?:\.\d+)?)\s*([A-Za-z]+)\.?\s*$"
)
_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMBERS = {name: n for n, name in enumerate(_SMALL)} | {name: 10 * n for n, name in enumerate(_TENS, 2)}
_PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    f"{name}{plural}": n
    for n, name in enumerate(["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], 3)
    for plural in ("", "s")
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_CHOICE = re.compile(
    r"^(?i:(?:the\s+)?(?:correct\s+)?(?:final\s+)?(?:answer|option|choice)(?:\s+is)?\s*[:=]?\s*)*"
    r"[(\[{]*([A-Z])[)\]}]*\s*[.:)]?\s*$"
)
_LETTERED = re.compile(
    r"^(?:(?i:option|choice)\s{0,3})?(?:\(([A-J])\)|\[([A-J])\]|([A-J])[.):])\s*(?=\S)(?!(?:or|and)\b|[,(/|&])"
)
_LETTERS = re.compile(
    r"^[(\[{\s]*[A-J][)\]}]?(?:(?:\s*(?:,|;|and|&|or)\s*|\s+)[(\[]?[A-J][)\]}]?)*\s*[)\]}]?$"
)


def plain_text(text: str) -> str:
    """Text as it counts: lower case, fonts, `\\text{}`, white space and the full stop gone."""
    if "\\" in text:
        text = _FONT.sub("{", text)
    text = _SPACING.sub(" ", text).replace("{", "").replace("}", "").replace("\\", "")
    if "-" in text:
        text = _HYPHEN.sub(" ", text)
    return " ".join(text.lower().split()).strip(_EDGE)


def number_in_words(text: str) -> str | None:
    """`twenty-one` as "21", `three quarters` as "3/4", `minus two` as "-2"; None where it is no number."""
    words = text.replace("-", " ").split()
    sign = ""
    if words and words[0] in ("minus", "negative"):
        sign, words = "-", words[1:]
    if words and words[-1] in _PARTS:
        end = len(words) - 1 - words[::-1].index("and") if "and" in words else -1
        counted_parts, below = words[end + 1 : -1], _PARTS[words[-1]]
        whole = _whole_number(words[:end]) if end > 0 else 0
        top = 1 if counted_parts in ([], ["a"]) else _whole_number(counted_parts)
        return f"{sign}{whole * below + top}/{below}" if top and whole is not None else None
    whole = _whole_number(words)
    return f"{sign}{whole}" if whole is not None else None


def _whole_number(words: list[str]) -> int | None:
    total = part = 0
    if not words or len(words) > 12 or words[0] in ("hundred", "thousand", "million", "billion", "and"):
        return None
    last = 10**12
    for word in words:
        if word in _NUMBERS:
            number = _NUMBERS[word]
            if last < 10 or (last < 100 and (number >= 10 or last < 20)):
                return None
            part, last = part + number, number
        elif word in _SCALES and part:
            scale = _SCALES[word]
            if scale == 100:
                part *= 100
            else:
                total, part = total + part * scale, 0
            last = 10**12
        elif word != "and":
            return None
    return total + part


def counted(text: str) -> str | None:
    """`five dollars` as `5 dollars`; None where the text does not begin with a number in words."""
    words = text.split()
    for end in range(min(len(words) - 1, 8), 0, -1):
        number = number_in_words(" ".join(words[:end]))
        if number is not None:
            return f"{number} {' '.join(words[end:])}" if len(words) - end <= 4 else None
    return None


def compound_quantity(text: str) -> str | None:
    """`3 hours and 20 minutes` in one spelling; None where the text is something else."""
    found = _COMPOUND.match(text) if len(text) < 60 else None
    if not found or not (is_unit(found[2]) and is_unit(found[4])):
        return None
    first, second = (NAMES.get(word.lower(), word) for word in (found[2], found[4]))
    return f"{found[1]} {first} {found[3]} {second}"


def choice_letter(text: str) -> str | None:
    """The letter of a choice alone: `(B)`, `Option B`, `B.`, `Answer: B`."""
    found = _CHOICE.match(_FONT.sub("{", text)) if len(text) < 60 else None
    return found[1] if found else None


def lettered(text: str) -> str | None:
    """The letter before a spelled-out choice: `B) 12`, `(C) the moon`."""
    found = _LETTERED.match(_FONT.sub("", text)[:30])
    return (found[1] or found[2] or found[3]) if found else None


def choice_letters(text: str) -> frozenset[str] | None:
    """Several choices: `A, C`, `A and C`, `AC`; None where the text is something else."""
    if len(text) > 200:
        return None
    body = (
        _SPACING.sub(" ", _FONT.sub("", text))
        .replace("{", "")
        .replace("}", "")
        .replace("\\", "")
        .strip(_EDGE)
    )
    if len(body) > 60:
        return None
    body = re.sub(r"^(?i:options?|choices?|answers?)\s*:?\s*", "", body)
    letters = re.findall(r"[A-J]", body)
    if len(letters) < 2 or len(set(letters)) < len(letters):
        return None
    if body == "".join(letters) or (_LETTERS.match(body) and " or " not in body):
        return frozenset(letters)
    return None
