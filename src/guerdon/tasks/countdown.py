"""Countdown: join all given numbers by + - * / so that the result is the target.

    prompt      3 5 7 > 22
    completion  3 * 5 = 15 (left: 7 15)
                7 + 15 = 22 (left: 22)
                <answer>7+3*5</answer>

**Answer.** The content of the last `<answer>` tag. Right means: an expression of + - * / and brackets,
every given number exactly once and nothing else, exact value equal to the target. A sign may stand before
a number or bracket; typographic operators (− × ÷) count as their ASCII forms; `**`, `//`, unary plus,
decimals and leading zeros do not parse.

**Steps.** Every line is a step (blank lines belong to the step before). A line `a op b = c (left: ...)` is
valid when a and b can be taken out of a *known* set of numbers, a op b is c exactly, and `left` lists what
remains together with c, in any order. Known sets are the given numbers and every `left` of a valid line
before: a line may start over or return to an earlier set (backtracking), but may not build on a mistake.
A line that is nothing but an answer tag is valid when its answer is right. Fractions are written `5/2`. Any
other line is invalid.

Reference: Gandhi et al., Cognitive Behaviors that Enable Self-Improving Reasoners, arXiv 2503.01307 (reward
of the release); the task as in TinyZero.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from guerdon.errors import DataError
from guerdon.tasks.answers import last_tag, plain
from guerdon.tasks.base import SCORING_ONLY, Problem, Task, Unscorable, span_of
from guerdon.tasks.expressions import (
    Expression,
    ExpressionError,
    Number,
    Operation,
    apply,
    evaluate,
    leaves,
    parse,
    show,
)

_NUMBER = r"-?[0-9]{1,12}(?:/[0-9]{1,12})?"
_LINE = re.compile(rf"({_NUMBER}) ([-+*/]) ({_NUMBER}) = ({_NUMBER}) \(left: ({_NUMBER}(?: {_NUMBER})*)\)")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_ANSWER_LINE = re.compile(r"<answer>[^<]*</answer>")
_RELEASE_ANSWER = re.compile(r"<answer>(.*?)</answer>")
_RELEASE_CHARACTERS = re.compile(r"[0-9+\-*/().\s]+")
_WORDS = (
    "Using the numbers [{numbers}], create an expression that equals {target}. Use + - * / and brackets, and "
    "every number exactly once. Work one calculation per line, written as\na op b = c (left: numbers left)\n"
    "and give the final expression in <answer> </answer> tags, for example <answer>(1+2)/3</answer>.\n"
)


def combines(answer: str, numbers: Sequence[int], target: int) -> bool:
    """True where `answer` joins exactly these numbers to exactly this target (module text: **Answer**)."""
    try:
        expression = parse(plain(answer))
        used = sorted(leaves(expression))
        return used == sorted(map(Fraction, numbers)) and evaluate(expression) == target
    except ExpressionError:
        return False


def release_reward(completion: str, numbers: Sequence[int], target: int) -> float:
    """The published reward: 1.0 right, 0.1 an answer in the last line that is not, 0 no answer there.

    1. Only the text behind the first "Assistant:" (or chat marker) counts, if there is one, and of it only
       the last line; the answer is the last `<answer>...</answer>` in that line. None: 0.
    2. All digit groups must be the given numbers exactly, else 0.1.
    3. Characters must be digits, + - * / ( ) . or spaces; the value must be within 1e-5 of the target.
       Else 0.1.

    It evaluates exactly instead of by `eval`, and `**` and `//` are 0.1.
    """
    for marker in ("Assistant:", "<|im_start|>assistant"):
        if marker in completion:
            completion = completion.split(marker, 1)[1]
            break
    answers = _RELEASE_ANSWER.findall(completion.split("\n")[-1])
    if not answers:
        return 0.0
    answer = answers[-1].strip()
    if sorted(int(text) for text in re.findall(r"[0-9]{1,200}", answer)) != sorted(numbers):
        return 0.1
    if not _RELEASE_CHARACTERS.fullmatch(answer):
        return 0.1
    try:
        return 1.0 if abs(evaluate(parse(answer, decimals=True)) - target) < Fraction(1, 100_000) else 0.1
    except ExpressionError:
        return 0.1


@dataclass(frozen=True)
class Countdown(Task):
    """Countdown problems that have a solution by construction, in positive whole numbers throughout.

    Args:
        numbers: how many numbers are given, 2..8; or [from, to].
        max_number: numbers are drawn from 1..max_number.
        min_target, max_target: range of the target.
        operators: which of "+-*/" the construction uses (answers may use all four).
        style: "short" (`3 5 7 > 22`, for models from scratch) or "words" (instructions for language models).
        variant: "strict" or "release": the `outcome` signal. `check` is always strict.
    """

    numbers: int | tuple[int, int] = (3, 4)
    max_number: int = 99
    min_target: int = 10
    max_target: int = 99
    operators: str = "+-*/"
    style: str = "short"
    variant: str = field(default="strict", metadata=SCORING_ONLY)

    name = "countdown"
    has_steps = True

    def __post_init__(self) -> None:
        span_of(self.numbers, "numbers", 2, 8)
        if isinstance(self.numbers, list):
            object.__setattr__(self, "numbers", tuple(self.numbers))
        if not self.operators or not set(self.operators) <= set("+-*/"):
            raise ValueError(f"operators must be some of '+', '-', '*', '/', got {self.operators!r}")
        if not 1 <= self.max_number <= 10**6 or not 1 <= self.min_target <= self.max_target <= 10**9:
            raise ValueError("max_number must lie in 1..1e6 and 1 <= min_target <= max_target <= 1e9")
        for name, value, allowed in (
            ("style", self.style, ("short", "words")),
            ("variant", self.variant, ("strict", "release")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")

    # -- problems ------------------------------------------------------------------------------------

    def draw(self, rng: random.Random) -> Problem:
        """Random numbers joined at random until one is left; drawn again where it is no valid target."""
        for _ in range(20_000):
            count = rng.randint(*span_of(self.numbers, "numbers", 2, 8))
            given = [rng.randint(1, self.max_number) for _ in range(count)]
            work = self._join(rng, given)
            if work is not None and self.min_target <= evaluate(work[0]) <= self.max_target:
                return self._problem(given, *work)
        raise DataError(
            f"task {self.name!r}: no target within {self.min_target}..{self.max_target} found; widen it"
        )

    def _join(self, rng: random.Random, given: list[int]) -> tuple[Expression, list[str]] | None:
        """One expression over all numbers and its worked lines; None where an operation was not possible."""
        left: list[tuple[int, Expression]] = [(n, Number(Fraction(n))) for n in given]
        lines = []
        while len(left) > 1:
            a, b = (left.pop(rng.randrange(len(left))) for _ in range(2))
            symbol = rng.choice(self.operators)
            if (symbol == "-" and a[0] <= b[0]) or (symbol == "/" and a[0] % b[0]):
                return None
            value = int(apply(symbol, Fraction(a[0]), Fraction(b[0])))
            left.append((value, Operation(symbol, a[1], b[1])))
            remaining = " ".join(str(n) for n, _ in left)
            lines.append(f"{a[0]} {symbol} {b[0]} = {value} (left: {remaining})")
        return left[0][1], lines

    def _problem(self, given: list[int], expression: Expression, lines: list[str]) -> Problem:
        target = int(evaluate(expression))
        if self.style == "words":
            prompt = _WORDS.format(numbers=", ".join(map(str, given)), target=target)
        else:
            prompt = f"{' '.join(map(str, given))} > {target}\n"
        solution = "\n".join([*lines, f"<answer>{show(expression)}</answer>"])
        return Problem(prompt, {"numbers": given, "target": target}, {}, solution)

    def key(self, problem: Problem) -> str:
        """Numbers in ascending order and the target: the order given does not make another problem."""
        return f"countdown {sorted(problem.reference['numbers'])} {problem.reference['target']}"

    # -- checks --------------------------------------------------------------------------------------

    def grade(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        numbers, target = _puzzle(reference)
        answer = last_tag(completion)
        return float(answer is not None and combines(answer, numbers, target))

    def score(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        if self.variant == "release":
            return release_reward(completion, *_puzzle(reference))
        return self.grade(completion, reference, meta)

    def split_steps(self, completion: str) -> list[int]:
        """One step per line that is not blank."""
        ends: list[int] = []
        at, open_step = 0, False
        for line in _LINES.findall(completion):
            if line.strip() and open_step:
                ends.append(at)
            open_step = open_step or bool(line.strip())
            at += len(line)
        return [*ends, at] if at else []

    def grade_steps(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> list[float]:
        numbers, target = _puzzle(reference)
        known = {_multiset(map(Fraction, numbers))}
        values, start = [], 0
        for end in self.split_steps(completion):
            line = completion[start:end].strip()
            start = end
            if _ANSWER_LINE.fullmatch(line):
                values.append(float(combines(line[8:-9].strip(), numbers, target)))
                continue
            remaining = _after(plain(line), known)
            values.append(float(remaining is not None))
            if remaining is not None:
                known.add(remaining)
        return values


def _multiset(values: Any) -> tuple[Fraction, ...]:
    return tuple(sorted(values))


def _after(line: str, known: set[tuple[Fraction, ...]]) -> tuple[Fraction, ...] | None:
    """The numbers left after a valid calculation line, None for any other line."""
    match = _LINE.fullmatch(line)
    if not match:
        return None
    try:
        a, b, c = (Fraction(match[i]) for i in (1, 3, 4))
        stated = _multiset(Fraction(text) for text in match[5].split(" "))
        if apply(match[2], a, b) != c:
            return None
    except (ZeroDivisionError, ExpressionError):
        return None
    before = Counter(stated)
    if not before[c]:
        return None
    before[c] -= 1
    before.update([a, b])
    return stated if _multiset(before.elements()) in known else None


def _puzzle(reference: Any) -> tuple[list[int], int]:
    """Numbers and target of a reference."""
    if reference is None:
        raise Unscorable("reference missing")
    try:
        numbers, target = reference["numbers"], reference["target"]
    except (TypeError, KeyError, IndexError):
        raise Unscorable("reference has no numbers and target") from None
    if not all(isinstance(n, int) for n in (*numbers, target)):
        raise Unscorable("reference holds something that is not a whole number")
    return list(numbers), target
