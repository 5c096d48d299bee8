"""Where the numbers of a step come from: the problem, an earlier step, or nowhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from guerdon.verify.steps.equations import Equation

_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+")
_WORD = re.compile(r"[A-Za-z]+")
_MAX_DIGITS = 18
_SPELLED = {
    word: Fraction(value)
    for value, words in {
        1: "a an one each once first single",
        2: "two twice double half halves both couple pair second",
        3: "three thrice triple third thirds",
        4: "four quadruple quarter quarters fourth fourths",
        5: "five fifth fifths",
        6: "six sixth sixths",
        7: "seven week weeks seventh weekly",
        8: "eight eighth eighths",
        9: "nine ninth ninths",
        10: "ten tenth tenths",
        11: "eleven",
        12: "twelve dozen dozens year years annual annually",
        13: "thirteen",
        14: "fourteen",
        15: "fifteen",
        16: "sixteen",
        17: "seventeen",
        18: "eighteen",
        19: "nineteen",
        20: "twenty",
        24: "day days daily",
        30: "thirty month months monthly",
        40: "forty",
        50: "fifty",
        60: "sixty hour hours minute minutes hourly",
        70: "seventy",
        80: "eighty",
        90: "ninety",
        100: "hundred percent cents percentage",
        1000: "thousand kilometers kilograms meters",
    }.items()
    for word in words.split()
}
_ALWAYS = frozenset(map(Fraction, (0, 1, 2, 4, 7, 10, 12, 24, 30, 31, 52, 60, 100, 365, 1000, 3600)))


def mentioned(text: str) -> set[Fraction]:
    """The numbers a text gives a reader: written, spelled, percentages as shares, and their reciprocals."""
    found = set()
    for match in _NUMBER.finditer(text):
        digits = match.group().replace(",", "")
        if len(digits) > _MAX_DIGITS:
            continue
        value = Fraction(digits)
        found.add(value)
        if value <= 100:
            found |= {value / 100, 1 - value / 100, 1 + value / 100, 100 - value, 100 + value}
    found |= {_SPELLED[word] for word in _WORD.findall(text.lower()) if word in _SPELLED}
    return found | {1 / value for value in found if value}


class Ledger:
    """What is known so far in a solution.

    Args:
        problem: the problem's text.
    """

    def __init__(self, problem: str) -> None:
        self.known = mentioned(problem) | _ALWAYS

    def unsupported(self, step: str, equations: Sequence[Equation]) -> Fraction | None:
        """The first operand of a step's equations that neither the problem nor an earlier step gave, nor this
        step's prose outside its equations; None where all have a source. The step is then known, too.

        Neighbours (n - 1, n + 1, 1 - p) of what is known count as known: counting makes them.
        """
        results = {
            v for e in equations for v in (*e.right.operands, e.left.value, e.left.face, e.right.value)
        }
        uses = Counter(operand for e in equations for operand in e.left.operands)
        written = Counter(
            Fraction(m.group().replace(",", ""))
            for m in _NUMBER.finditer(step)
            if len(m.group()) <= _MAX_DIGITS
        )
        orphan = None
        for operand, count in uses.items():
            near = (operand, operand - 1, operand + 1, 1 - operand)
            if (
                not any(v in self.known for v in near)
                and operand not in results
                and written[operand] <= count
            ):
                orphan = operand
                break
        self.known |= mentioned(step) | results
        return orphan
