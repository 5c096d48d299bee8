"""The verdict on two bare answers: in order identical text, special spellings, meanings, other readings.

`decide` is symmetric (except that only a gold may be marked as rounded), deterministic, and bounded: it
ends with a verdict, or with a cause that says what to do about it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from guerdon.verify.maths.agreement import Undecided
from guerdon.verify.maths.answers import Answer, read, read_as
from guerdon.verify.maths.compare import same
from guerdon.verify.maths.exact import Undefined, facts
from guerdon.verify.maths.guard import MAX_REMEMBERED, TooLarge, allowance
from guerdon.verify.maths.kinds import Meaning, Named, Reals, Tuple, Values, Word
from guerdon.verify.maths.kinds import Number as Scalar
from guerdon.verify.maths.lexer import Foreign
from guerdon.verify.maths.regions import substitute
from guerdon.verify.maths.rounding import Rounded, rounds_to
from guerdon.verify.maths.units import conflicting

_PLAIN = re.compile(r"(-?)(\d{1,3}(?:,\d{3}){1,90}|\d{1,300})(?:\.(\d{1,300}))?")
_EULER = re.compile(r"\de[+-]\d(?!\d)")
_ARGUMENT = re.compile(
    r"[\^_]\s*\{|\\(?!text|math|mbox|hbox|currency|operatorname|emph|f?box|boxed|bm|boldsymbol)[A-Za-z]+\s*\{|"
    r"\d\s*[!']|[!']\s*\d"
)
_BLANK = re.compile(r"\s+|\\[,;:! ]|~")
_OR = re.compile(r"\bor\b")
_COMMAS = re.compile(r"\d,[1-9]\d{2},[1-9]\d{2}(?!\d)")


class Decision(NamedTuple):
    """A verdict on two answers.

    Attributes:
        equal: True, False, or None where the fast path has none.
        path: how it was reached ("integer", "rational", "modular", "numeric", "structure", "text" ...).
        cause: why there is no verdict, or what was wrong with an answer that is False by that.
    """

    equal: bool | None
    path: str
    cause: str = ""


def decide(gold: str, prediction: str) -> Decision:
    """Whether two bare answers are equal; never raises, never runs long."""
    a = _PLAIN.fullmatch(gold)
    b = _PLAIN.fullmatch(prediction) if a else None
    if a and b:
        return _plain(a, b)
    if len(gold) + len(prediction) <= MAX_REMEMBERED:
        return _remembered(gold, prediction)
    return _decide(gold, prediction)


_INTEGERS = (Decision(False, "integer"), Decision(True, "integer"))
_DECIMALS = (Decision(False, "decimal"), Decision(True, "decimal"))


def _plain(a: re.Match[str], b: re.Match[str]) -> Decision:
    """Plain numbers in integer arithmetic: |x - y| 10^6 <= max(|x|, |y|) where a decimal is involved."""
    x, y = (int(m[1] + m[2].replace(",", "") + (m[3] or "")) for m in (a, b))
    if a[3] is None and b[3] is None:
        return _INTEGERS[x == y]
    x, y = x * 10 ** len(b[3] or ""), y * 10 ** len(a[3] or "")
    return _DECIMALS[abs(x - y) * 10**6 <= max(abs(x), abs(y))]


def _decide(gold: str, prediction: str) -> Decision:
    try:
        return _readings(gold, prediction)
    except Exception as error:  # whatever a policy wrote must not stop a run; the cause is counted
        return Decision(None, "error", f"internal error: {type(error).__name__}: {error}"[:200])


_remembered = lru_cache(maxsize=16_384)(_decide)


def _readings(gold: str, prediction: str) -> Decision:
    a, b = read(gold), read(prediction)
    with allowance():
        return _compare_readings(gold, prediction, a, b)


def _compare_readings(gold: str, prediction: str, a: Answer, b: Answer) -> Decision:
    verdict = compare_answers(a, b)
    if verdict.equal or (verdict.equal is None and verdict.path != "foreign") or "digits" in (a.kind, b.kind):
        return verdict
    for x, y in _other_readings(gold, prediction, a, b):
        other = compare_answers(x, y)
        if other.equal:
            return Decision(True, f"{other.path} (other reading)")
    return verdict


def compare_answers(gold: Answer, prediction: Answer) -> Decision:
    """Compare two readings."""
    for side in (gold, prediction):
        if side.kind == "unsafe":
            return Decision(None, "unsafe", side.cause)
    if "empty" in (gold.kind, prediction.kind):
        return Decision(False, "empty", "no answer")
    if gold.source == prediction.source and gold.kind != "text":
        return Decision(True, "identical")
    special = _special(gold, prediction)
    if special is not None:
        return special
    for side in (gold, prediction):
        if side.kind == "large":
            return Decision(None, "guard", side.cause)
    if gold.kind == prediction.kind == "maths":
        return _meanings(gold, prediction)
    if gold.kind == "maths" and isinstance(gold.meaning, Word):
        return Decision(_same_text(gold, prediction), "text")
    if prediction.kind == "maths" and isinstance(prediction.meaning, Word):
        return Decision(_same_text(gold, prediction), "text")
    if "text" in (gold.kind, prediction.kind):
        if _same_text(gold, prediction):
            return Decision(True, "text")
        cause = f"reference: {gold.cause}" if gold.kind == "text" else f"prediction: {prediction.cause}"
        return Decision(False, "text", cause)
    return Decision(None, "foreign", gold.cause or prediction.cause)


def _same_text(gold: Answer, prediction: Answer) -> bool:
    """Equal as words; where braces hold arguments, or marks may be factorials, equal but for white space."""
    if gold.plain != prediction.plain:
        return False
    if _ARGUMENT.search(gold.source) or _ARGUMENT.search(prediction.source):
        return _BLANK.sub("", gold.source) == _BLANK.sub("", prediction.source)
    return True


def _special(gold: Answer, prediction: Answer) -> Decision | None:
    """Spellings that are no expressions: long digits, bases, times, choices."""
    if "digits" in (gold.kind, prediction.kind):
        return Decision(gold.source == prediction.source, "digits")
    if gold.based or prediction.based:
        return _bases(gold, prediction)
    if gold.clock and prediction.clock:
        return _clocks(gold, prediction)
    if (gold.clock and isinstance(prediction.meaning, Scalar)) or (
        prediction.clock and isinstance(gold.meaning, Scalar)
    ):
        return Decision(False, "time")
    if gold.letters and prediction.letters:
        return Decision(gold.letters == prediction.letters, "choice")
    for one, other in ((gold, prediction), (prediction, gold)):
        if one.letters and not other.letters and _OR.search(other.source):
            return Decision(False, "choice", "alternatives")
        if one.letter and one.letter == other.source:
            return Decision(True, "choice")
    return None


def _bases(gold: Answer, prediction: Answer) -> Decision:
    """Numbers with a base are equal by value; digits without their base are no such number."""
    if gold.based and prediction.based:
        return Decision(gold.based[0] == prediction.based[0], "base")
    (value, base), other = (gold.based, prediction) if gold.based else (prediction.based, gold)  # type: ignore[misc]
    if not isinstance(other.meaning, Scalar):
        return Decision(False, "base")
    verdict = _same(Scalar(("num", value, False)), other.meaning)
    return (
        verdict._replace(path="base", cause=f"base {base} on one side only")
        if verdict.equal is False
        else verdict
    )


def _clocks(gold: Answer, prediction: Answer) -> Decision:
    """Times of day; without am or pm, a time agrees with either half."""
    (x, x_seconds, x_half), (y, y_seconds, y_half) = gold.clock, prediction.clock  # type: ignore[misc]
    if bool(x_half) != bool(y_half):
        return Decision((x - y) % 720 == 0 and x_seconds == y_seconds, "time")
    return Decision(x == y and x_seconds == y_seconds, "time")


def _meanings(gold: Answer, prediction: Answer) -> Decision:
    if gold.rounded is not None:
        rounded = _rounded(gold.rounded, prediction)
        if rounded is not None:
            return rounded
    a, b = _with_period(gold), _with_period(prediction)
    ordered = (a, b) if gold.rounded or prediction.rounded or gold.source <= prediction.source else (b, a)
    verdict = _same(*ordered)
    if verdict.equal and conflicting(gold.unit, prediction.unit):
        return Decision(False, "units", "units conflict")
    return verdict


def _same(a: Meaning | None, b: Meaning | None) -> Decision:
    """The comparison of two meanings with what may go wrong as causes."""
    try:
        return Decision(*same(a, b))  # type: ignore[arg-type]
    except TooLarge as error:
        return Decision(None, "guard", str(error))
    except (Undecided, Undefined) as error:
        return Decision(None, "foreign", f"undecided: {error}")
    except (Foreign, RecursionError) as error:
        return Decision(None, "foreign", f"unsupported: {error}")


def _with_period(answer: Answer) -> Meaning | None:
    """What an answer says, a visible period before dots taken as exact."""
    if answer.rounded is None or answer.rounded.period is None or not isinstance(answer.meaning, Scalar):
        return answer.meaning
    return Scalar(("num", answer.rounded.period, False))


def _rounded(gold: Rounded, prediction: Answer) -> Decision | None:
    """A rounded gold accepts what rounds to it and is at least as precise; None: compare as usual."""
    other = prediction.meaning
    if isinstance(other, Named):
        other = other.value
    if not isinstance(other, Scalar) or gold.certain:
        return None
    if prediction.rounded is not None and prediction.rounded.step > gold.step:
        return Decision(False, "rounded", "less precise than the reference")
    try:
        return Decision(True, "rounded") if rounds_to(other.node, gold) else None
    except (TooLarge, Undecided, Undefined, Foreign):
        return None


def _other_readings(gold: str, prediction: str, a: Answer, b: Answer) -> list[tuple[Answer, Answer]]:
    """Pairs in which one side or both are read differently where their text is ambiguous."""
    found: list[tuple[Answer, Answer]] = []
    for flag, pattern in (("scientific", _EULER), ("lists", _COMMAS)):
        x = read_as(gold, **{flag: True}) if pattern.search(a.source) else a
        y = read_as(prediction, **{flag: True}) if pattern.search(b.source) else b
        if flag == "lists" and not (_several(a) or _several(b)):
            continue
        if x is not a or y is not b:
            found += [pair for pair in ((x, y), (x, b), (a, y)) if pair != (a, b)]
    if (other := _imaginary_j(a, b)) is not None:
        found.append((other, b))
    if (other := _imaginary_j(b, a)) is not None:
        found.append((a, other))
    if a.letter_unit or b.letter_unit:
        x = read_as(gold, letters=True) if _unit_reading(a, b) else a
        y = read_as(prediction, letters=True) if _unit_reading(b, a) else b
        if x is not a or y is not b:
            found.append((x, y))
    return found


def _imaginary_j(answer: Answer, other: Answer) -> Answer | None:
    """The reading of `3+4j` with j (or I) as the imaginary unit, where the other side is a complex number."""
    mine, theirs = answer.meaning, other.meaning
    if not isinstance(mine, Scalar) or not isinstance(theirs, Scalar):
        return None
    letters = facts(mine.node).symbols
    if letters not in ({"j"}, {"I"}):
        return None
    known = facts(theirs.node)
    if known.symbols or "i" not in known.kinds:
        return None
    return replace(answer, meaning=Scalar(substitute(mine.node, next(iter(letters)), ("const", "i"))))


def _several(answer: Answer) -> bool:
    return isinstance(answer.meaning, Values | Tuple | Reals)


def _unit_reading(answer: Answer, other: Answer) -> bool:
    """Whether a letter after a number may be a unit: after a space, or as the other side has it."""
    if not answer.letter_unit or (
        isinstance(other.meaning, Scalar) and facts(other.meaning.node).symbols and not other.letter_unit
    ):
        return False
    return answer.letter_unit == "spaced" or other.unit is not None
