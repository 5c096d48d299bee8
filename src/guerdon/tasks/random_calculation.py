r"""RandomCalculation: arithmetic that no model can have seen, evaluated exactly.

Elements are integers, fractions, squares and cubes; an expression joins them by 1..20 operations
(+ - * /) in a random tree: an expression of k operations joins one of j and one of k-1-j, j uniform. The
model gives its result in `\boxed{}`. Results are long decimals that are rarely hit exactly, hence the graded
reward; `check` is the exact comparison of rationals.

Differences from the published generator: the kind of an element is drawn before the element (there 73 % of
all elements are fractions); brackets keep the drawn tree (there a subtrahend that is a sum loses them, and
the expression as written counts); answers are rationals, not 15-digit decimals.

Reference: Wu et al., Reasoning or Memorization? Unreliable Results of Reinforcement Learning Due to Data
Contamination, arXiv 2507.10532, section 4.3 and equation 2.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from guerdon.errors import DataError
from guerdon.tasks.answers import last_boxed, parse_number
from guerdon.tasks.base import SCORING_ONLY, Problem, Task, Unscorable, span_of
from guerdon.tasks.expressions import (
    Expression,
    ExpressionError,
    Number,
    Operation,
    Power,
    calculations,
    evaluate,
    show,
)

PREFIX = "Evaluate this LaTeX numerical expression step-by-step and give the final value within \\boxed{}: "
_KINDS = ("integer", "fraction", "square", "cube")


def distance_reward(answer: Fraction | float, reference: Fraction | float, eps: float = 1e-6) -> float:
    """Closeness of two numbers, in [0, 1]; exactly 1 where they are equal.

    r = 1 - 0.5 min(|a - b|, 1) - 0.5 min(|a - b| / (|b| + eps), 1)

    Args:
        answer: a.
        reference: b.
        eps: keeps the relative distance finite at b = 0.
    """
    a, b = Fraction(answer), Fraction(reference)
    if a == b:
        return 1.0
    distance = abs(a - b)
    absolute = float(min(distance, Fraction(1)))
    relative = float(min(distance / (abs(b) + Fraction(eps)), Fraction(1)))
    return 1.0 - 0.5 * absolute - 0.5 * relative


@dataclass(frozen=True)
class RandomCalculation(Task):
    r"""Random arithmetic expressions with exact results.

    Args:
        operations: how many operations join the elements, 1..20; or [from, to].
        elements: kinds of elements: some of "integer", "fraction", "square", "cube".
        max_integer: integers are drawn from 0..max_integer, bases and numerators from 1..max_integer.
        max_denominator: denominators of fractions are drawn from 2..max_denominator.
        notation: "latex" or "plain".
        prefix: text before every expression.
        reward: "distance" (graded) or "exact" (0/1): the `outcome` signal. `check` is always exact.
        max_digits: results (and parts) whose numerator or denominator has more digits are drawn again.
    """

    operations: int | tuple[int, int] = 5
    elements: tuple[str, ...] = _KINDS
    max_integer: int = 100
    max_denominator: int = 9
    notation: str = "latex"
    prefix: str = PREFIX
    reward: str = field(default="distance", metadata=SCORING_ONLY)
    max_digits: int = 30

    name = "random_calculation"

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", tuple(self.elements))
        span_of(self.operations, "operations", 1, 20)
        if isinstance(self.operations, list):
            object.__setattr__(self, "operations", tuple(self.operations))
        if not self.elements or not set(self.elements) <= set(_KINDS):
            raise ValueError(f"elements must be some of {', '.join(_KINDS)}, got {self.elements!r}")
        for name, value, allowed in (
            ("notation", self.notation, ("latex", "plain")),
            ("reward", self.reward, ("distance", "exact")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        if self.max_integer < 1 or self.max_denominator < 2 or not 8 <= self.max_digits <= 200:
            raise ValueError("max_integer must be >= 1, max_denominator >= 2 and max_digits within 8..200")

    # -- problems ------------------------------------------------------------------------------------

    def draw(self, rng: random.Random) -> Problem:
        """A random tree; one that divides by zero or grows beyond `max_digits` is drawn again."""
        for _ in range(1000):
            expression = self._tree(rng, rng.randint(*span_of(self.operations, "operations", 1, 20)))
            try:
                value = evaluate(expression, self.max_digits)
            except ExpressionError:
                continue
            return self._problem(expression, value)
        raise DataError(
            f"task {self.name!r}: max_digits={self.max_digits} is too small for {self.operations} operations"
        )

    def _tree(self, rng: random.Random, operations: int) -> Expression:
        if operations == 0:
            return self._element(rng)
        left = rng.randrange(operations)
        symbol = rng.choice("+-*/")
        return Operation(symbol, self._tree(rng, left), self._tree(rng, operations - 1 - left))

    def _element(self, rng: random.Random) -> Expression:
        kind = rng.choice(self.elements)
        if kind == "integer":
            return Number(Fraction(rng.randint(0, self.max_integer)))
        base = rng.randint(1, self.max_integer)
        if kind == "fraction":
            return Number(Fraction(base, rng.randint(2, self.max_denominator)))
        return Power(Number(Fraction(base)), 2 if kind == "square" else 3)

    def _problem(self, expression: Expression, value: Fraction) -> Problem:
        lines = [f"{_side(a)} {symbol} {_side(b)} = {c}" for a, symbol, b, c in calculations(expression)]
        solution = "\n".join([*lines, f"\\boxed{{{value}}}"])
        meta = {"expression": show(expression)}
        return Problem(self.prefix + show(expression, self.notation), str(value), meta, solution)

    def key(self, problem: Problem) -> str:
        """The expression in plain notation."""
        return f"random_calculation {problem.meta['expression']}"

    # -- checks --------------------------------------------------------------------------------------

    def grade(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        expected = _rational(reference)
        return float(_answer(completion) == expected)

    def score(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        expected, answer = _rational(reference), _answer(completion)
        if answer is None:
            return 0.0
        return distance_reward(answer, expected) if self.reward == "distance" else float(answer == expected)


def _side(value: Fraction) -> str:
    """A number as one side of a worked line: brackets around what would not bind as one number."""
    return f"({value})" if value < 0 or value.denominator > 1 else str(value)


def _answer(completion: str) -> Fraction | None:
    boxed = last_boxed(completion)
    return None if boxed is None else parse_number(boxed)


def _rational(reference: Any) -> Fraction:
    if reference is None:
        raise Unscorable("reference missing")
    number = parse_number(str(reference))
    if number is None:
        raise Unscorable("reference is not a number")
    return number
