"""Worked solutions that can be worked out again: their calculations, and the text around them.

Enters: solutions whose calculations are marked (`48/2 = <<48/2=24>>24`, the form of GSM8K's calculator
traces). Leaves: a `Trace`, and its text again with other numbers in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from guerdon.errors import DataError
from guerdon.tasks.expressions import ExpressionError, evaluate, parse

_MARK = re.compile(r"<<([^<>=]{1,200})=([^<>]{1,40})>>")
_NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?![\d])")
_PART = re.compile(r"\d*\.\d+|\d+|[-+*/()]")
_STATED = re.compile(r"\s*\$?((?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d)))")
_SIGNS = str.maketrans({"x": "*", "X": "*", "×": "*", "−": "-", "–": "-", "÷": "/"})


@dataclass(frozen=True)
class Result:
    """The value of the i-th calculation, where a text or a calculation uses it."""

    calculation: int


Part = str | Result


@dataclass(frozen=True)
class Calculation:
    """One calculation of a solution.

    Attributes:
        parts: numbers, signs and earlier results, in order.
        stated: the value it is given.
        shown: whether its expression stands in the text.
        step: where.
    """

    parts: tuple[Part, ...]
    stated: Fraction
    shown: bool
    step: int


@dataclass(frozen=True)
class Expression:
    """The place in a text where a calculation's expression is written out."""

    calculation: int


Piece = str | Result | Expression


@dataclass(frozen=True)
class Trace:
    """A worked solution that can be worked out again.

    Attributes:
        problem: its text.
        steps: pieces of text, results and expressions.
        calculations: in order.
    """

    problem: str
    steps: tuple[tuple[Piece, ...], ...]
    calculations: tuple[Calculation, ...]


def read_trace(problem: str, answer: str) -> Trace:
    """A solution in the form of GSM8K: one step a line, calculations marked, `#### N` at the end.

    Raises:
        DataError: no step.
    """
    lines = [line.strip() for line in answer.split("\n")]
    lines = [line for line in lines if line and not line.startswith("####")]
    if not lines:
        raise DataError("a solution without steps; expected lines with calculations <<a*b=c>>")
    given = {m.group().replace(",", "") for m in _NUMBER.finditer(problem)}
    calculations: list[Calculation] = []
    steps = tuple(tuple(_pieces(line, k, calculations, given)) for k, line in enumerate(lines))
    return Trace(problem, steps, tuple(calculations))


def _pieces(line: str, step: int, calculations: list[Calculation], given: set[str]) -> Iterator[Piece]:
    at = 0
    for mark in _MARK.finditer(line):
        if mark.start() < at:
            continue
        before = line[at : mark.start()]
        try:
            stated = Fraction(mark[2].replace(",", ""))
        except (ValueError, ZeroDivisionError):
            yield from _prose(before, calculations, given)
            at = mark.end()
            continue
        cut = _written_at(before, mark[1])
        yield from _prose(before if cut is None else before[: cut[0]], calculations, given)
        parts = _parts(mark[1], calculations)
        calculations.append(Calculation(parts, stated, cut is not None, step))
        if cut is not None:
            yield Expression(len(calculations) - 1)
            yield before[cut[1] :]
        at = mark.end()
        if said := _STATED.match(line, at):
            yield line[at : said.start(1)]
            yield Result(len(calculations) - 1)
            at = said.end()
    yield from _prose(line[at:], calculations, given)


def _prose(text: str, calculations: Sequence[Calculation], given: set[str]) -> Iterator[Piece]:
    """Text whose numbers that only an earlier calculation gave follow that calculation."""
    at = 0
    for match in _NUMBER.finditer(text):
        digits = match.group().replace(",", "")
        if digits in given:
            continue
        source = _source(Fraction(digits), calculations)
        if source is not None:
            yield text[at : match.start()]
            yield Result(source)
            at = match.end()
    yield text[at:]


def _parts(text: str, calculations: Sequence[Calculation]) -> tuple[Part, ...]:
    found: list[Part] = []
    for part in _PART.findall(text):
        source = _source(Fraction(part), calculations) if part[-1].isdigit() else None
        found.append(part if source is None else Result(source))
    return tuple(found)


def _source(value: Fraction, calculations: Sequence[Calculation]) -> int | None:
    """The latest calculation with that result."""
    return next((i for i in range(len(calculations) - 1, -1, -1) if calculations[i].stated == value), None)


def _written_at(before: str, expression: str) -> tuple[int, int] | None:
    """Start and end of the expression at the end of the text before its mark (`48 / 2` of `48 / 2 = $`)."""
    end = before.rstrip(" $")
    if not end.endswith("="):
        return None
    end = end[:-1].rstrip()
    wanted, at, left = expression.replace(" ", ""), len(end), len(expression.replace(" ", ""))
    while left and at:
        sign = end[at - 1]
        if sign.translate(_SIGNS) == wanted[left - 1]:
            left -= 1
        elif sign not in " $,":
            return None
        at -= 1
    if left or (at and (end[at - 1].isdigit() or end[at - 1] in ".+-*/")):
        return None
    return at, len(end)


# -- working out ---------------------------------------------------------------------------------------


def values_of(trace: Trace, forced: Mapping[int, Fraction] | None = None) -> list[Fraction]:
    """Results of all calculations; one is worked out anew only where something before it has changed.

    Raises:
        ExpressionError: a changed calculation has no value (division by zero), or one below zero.
    """
    forced = forced or {}
    values: list[Fraction] = []
    for i, calculation in enumerate(trace.calculations):
        changed = any(
            isinstance(p, Result) and values[p.calculation] != trace.calculations[p.calculation].stated
            for p in calculation.parts
        )
        if i in forced:
            values.append(forced[i])
        elif changed:
            values.append(worked_out(calculation, values))
        else:
            values.append(calculation.stated)
    return values


def worked_out(calculation: Calculation, values: Sequence[Fraction]) -> Fraction:
    """The value of a calculation, rounded as it would be written.

    Raises:
        ExpressionError: division by zero, or a value below zero.
    """
    text = "".join(shown(values[p.calculation]) if isinstance(p, Result) else p for p in calculation.parts)
    text = re.sub(r"(?<![\d.])\.(?=\d)", "0.", text)
    value = evaluate(parse(re.sub(r"(?<![\d.])0+(?=\d)", "", text), decimals=True))
    if value < 0:
        raise ExpressionError("a value below zero")
    return Fraction(shown(value))


def shown(value: Fraction) -> str:
    """A number as a solution writes it: at most two decimals unless four are exact."""
    if value.denominator == 1:
        return str(value.numerator)
    places = next((d for d in range(1, 5) if (value * 10**d).denominator == 1), 2)
    return f"{float(value):.{places}f}"


def write(trace: Trace, values: Sequence[Fraction] | None = None) -> list[str]:
    """The steps as text."""
    known = values_of(trace) if values is None else values

    def text(piece: Piece) -> str:
        if isinstance(piece, str):
            return piece
        if isinstance(piece, Result):
            return shown(known[piece.calculation])
        parts = trace.calculations[piece.calculation].parts
        words = [shown(known[p.calculation]) if isinstance(p, Result) else p for p in parts]
        return " ".join(words).replace("( ", "(").replace(" )", ")")

    return ["".join(map(text, pieces)) for pieces in trace.steps]
