"""Chain of arithmetic: long sums worked out one operation at a time, every step verifiable exactly.

    prompt      7+5-3+8=
    completion  7+5=12;12-3=9;9+8=17;#17

Made for byte-level models of about a million parameters: short, no words, and a mistake in one step is
carried through the following ones, so that credit per step has something to find. Brackets in the prompt
always keep the order left to right (`(7+5)*3-2=`), and never occur in the completion.

**Steps.** Every `;` ends a step; what follows the last `;` is a step too. A *calculation* `a+b=c` is the
i-th step and takes the i-th operator of the prompt. It is valid when it is both
  faithful:   a is the running value (the result *stated* by the step before; for the first step the
              prompt's first number), and operator and b are the prompt's i-th; and
  arithmetic: a+b is c (modulo `modulus`, if set).
An error is therefore charged once, where it happens: a later step that carries the wrong value on and
calculates correctly is valid. After a step that states no result nothing can be carried, so the step behind
it is not faithful. The *answer* `#c` is valid when all operators have been worked off and c is the running
value. Anything else, and every step after an answer, is invalid.

**Outcome.** 1 when the last step is the only answer and equals the reference. Numbers are compared as
canonical decimal integers (`17`, not `017`, `+17`, `17.0` or `１７`).

The outcome does not look at the work. A right answer over wrong steps needs errors that cancel, or a final
guess that ignores the work: possible, but rare. One mistake carried on faithfully always makes the answer
wrong (without modulus); with one result in ten wrong, about 2 % of the completions that have an invalid step
still answer right at default settings, 3 % modulo 10.

The mean over steps pays for stopping early (`7+5=12` alone is all valid); the sum does not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from guerdon.errors import DataError
from guerdon.tasks.base import Problem, Task, Unscorable, span_of

_INTEGER = r"(0|-?[1-9][0-9]{0,17})"
_OPERAND = r"(0|[1-9][0-9]{0,17})"
_CALCULATION = re.compile(rf"{_INTEGER}([+*-]){_OPERAND}={_INTEGER}")
_ANSWER = re.compile(rf"#{_INTEGER}")
_LINK = re.compile(rf"([+*-]){_OPERAND}")
_SPACE = " \t\r\n"


class StepVerdict(NamedTuple):
    """What is right about one step; see the module's text."""

    kind: str
    """"calculation", "answer" or "other"."""
    faithful: bool
    arithmetic: bool

    @property
    def valid(self) -> bool:
        return self.faithful and self.arithmetic


@dataclass(frozen=True)
class Chain(Task):
    """Chains of `terms` numbers joined by operators, worked off from left to right.

    Args:
        terms: how many numbers a chain has, at least 2; or [from, to] for mixed lengths.
        max_operand: numbers are drawn from 1..max_operand.
        operators: any of "+", "-", "*", e.g. "+-*".
        low, high: every running value stays within this range (no modulus only); short numbers keep
            completions short.
        modulus: 0, or at least 2: every result is taken modulo it, `low` and `high` are ignored.
    """

    terms: int | tuple[int, int] = 4
    max_operand: int = 9
    operators: str = "+-"
    low: int = 0
    high: int = 99
    modulus: int = 0

    name = "chain"
    has_steps = True

    def __post_init__(self) -> None:
        span_of(self.terms, "terms", 2, 64)
        if isinstance(self.terms, list):
            object.__setattr__(self, "terms", tuple(self.terms))
        if not self.operators or not set(self.operators) <= set("+-*"):
            raise ValueError(f"operators must be some of '+', '-', '*', got {self.operators!r}")
        if not 1 <= self.max_operand <= 10**6:
            raise ValueError(f"max_operand must lie within 1..1000000, got {self.max_operand}")
        if self.modulus != 0 and not 2 <= self.modulus <= 10**9:
            raise ValueError(f"modulus must be 0 (none) or within 2..1000000000, got {self.modulus}")
        if not -(10**9) <= self.low < self.high <= 10**9:
            raise ValueError(
                f"low and high must satisfy -1e9 <= low < high <= 1e9, got {self.low}, {self.high}"
            )
        if not self.modulus and not (self.low <= self.max_operand and self.high >= 1):
            raise ValueError(
                f"no first number in 1..{self.max_operand} lies within low={self.low}, high={self.high}"
            )

    # -- problems ------------------------------------------------------------------------------------

    def draw(self, rng: random.Random) -> Problem:
        """A chain grown link by link; a link that leaves [low, high] is drawn again."""
        for _ in range(1000):
            start, links = self._grow(rng, rng.randint(*span_of(self.terms, "terms", 2, 64)))
            if links is not None:
                return self._problem(start, links)
        raise DataError(
            f"task {self.name!r}: no chain stays within low={self.low}, high={self.high}; widen them"
        )

    def _grow(self, rng: random.Random, terms: int) -> tuple[int, list[tuple[str, int]] | None]:
        """First number and links of a chain; None for the links where a chain got stuck."""
        least, most = 1, self.max_operand
        if not self.modulus:
            least, most = max(least, self.low), min(most, self.high)
        start = value = rng.randint(least, most)
        links: list[tuple[str, int]] = []
        for _ in range(50 * terms):
            link = rng.choice(self.operators), rng.randint(1, self.max_operand)
            after = self._result(value, *link)
            if self.modulus or self.low <= after <= self.high:
                links.append(link)
                value = after
            if len(links) == terms - 1:
                return start, links
        return start, None

    def _result(self, left: int, symbol: str, right: int) -> int:
        value = left + right if symbol == "+" else left - right if symbol == "-" else left * right
        return value % self.modulus if self.modulus else value

    def _problem(self, start: int, links: list[tuple[str, int]]) -> Problem:
        expression = _written(start, links)
        value, work = start, ""
        for symbol, operand in links:
            after = self._result(value, symbol, operand)
            work += f"{value}{symbol}{operand}={after};"
            value = after
        return Problem(f"{expression}=", str(value), {"expression": expression}, f"{work}#{value}")

    def key(self, problem: Problem) -> str:
        """The expression: the same chain under another modulus or difficulty is in the same split."""
        return f"chain {problem.meta['expression']}"

    # -- checks --------------------------------------------------------------------------------------

    def grade(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        expected = _reference(reference)
        *work, last = _segments(completion) or [""]
        if any(segment.startswith("#") for segment in work):
            return 0.0
        match = _ANSWER.fullmatch(last)
        return float(match is not None and match.group(1) == expected)

    def answer(self, completion: str) -> str | None:
        """The number of the last step, where that is an answer."""
        match = _ANSWER.fullmatch((_segments(completion) or [""])[-1])
        return match.group(1) if match else None

    def split_steps(self, completion: str) -> list[int]:
        """One step per `;` and one for what follows the last."""
        ends = [at + 1 for at, character in enumerate(completion) if character == ";"]
        if completion and (not ends or ends[-1] < len(completion)):
            ends.append(len(completion))
        return ends

    def diagnose(self, completion: str, meta: Mapping[str, Any]) -> list[StepVerdict]:
        """What is right about every step of `split_steps`.

        Raises:
            Unscorable: `meta` has no chain under "expression".
        """
        start, links = _chain(str(meta.get("expression")))
        running: int | None = start
        answered = False
        verdicts = []
        for at, segment in enumerate(_segments(completion)):
            if not answered and (match := _CALCULATION.fullmatch(segment)):
                left, symbol, right, stated = int(match[1]), match[2], int(match[3]), int(match[4])
                faithful = left == running and at < len(links) and links[at] == (symbol, right)
                verdicts.append(
                    StepVerdict("calculation", faithful, self._result(left, symbol, right) == stated)
                )
                running = stated
            elif not answered and (match := _ANSWER.fullmatch(segment)):
                answered = True
                carried = running is not None and int(match[1]) == running
                verdicts.append(StepVerdict("answer", at == len(links) and carried, carried))
            else:
                verdicts.append(StepVerdict("other", False, False))
                running = None
        return verdicts

    def grade_steps(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> list[float]:
        return [float(verdict.valid) for verdict in self.diagnose(completion, meta)]

    def identity(self, reference: Any, meta: Mapping[str, Any]) -> Hashable:
        return reference if isinstance(reference, str) else repr(reference), meta.get("expression")


def _segments(completion: str) -> list[str]:
    """Texts of the steps, without their `;` and surrounding spaces."""
    parts = completion.split(";")
    if parts[-1] == "":
        parts.pop()
    return [part.strip(_SPACE) for part in parts]


def _written(start: int, links: list[tuple[str, int]] | tuple[tuple[str, int], ...]) -> str:
    """The chain as an expression whose brackets keep the order left to right."""
    text, is_sum = str(start), False
    for symbol, operand in links:
        if symbol == "*" and is_sum:
            text = f"({text})"
        text += f"{symbol}{operand}"
        is_sum = symbol != "*"
    return text


@lru_cache(maxsize=65536)
def _chain(expression: str) -> tuple[int, tuple[tuple[str, int], ...]]:
    """First number and links of a chain's expression."""
    bare = expression.replace("(", "").replace(")", "")
    head = re.match(_OPERAND, bare)
    links = tuple((m[1], int(m[2])) for m in _LINK.finditer(bare, head.end())) if head else ()
    if not head or not links or _written(int(head[1]), links) != expression:
        raise Unscorable("meta has no chain under 'expression'")
    return int(head[1]), links


def _reference(reference: Any) -> str:
    if reference is None:
        raise Unscorable("reference missing")
    text = str(reference).strip()
    if not re.fullmatch(_INTEGER, text):
        raise Unscorable("reference is not a whole number")
    return text
