"""What follows a value: units set aside, percent and multiplier words."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from guerdon.verify.maths.cursor import Cursor, Node
from guerdon.verify.maths.lexer import Unreadable
from guerdon.verify.maths.units import LETTERS, MULTIPLIERS, PERCENT_WORDS, Unit, canonical_unit, is_unit

_DEGREE: Unit = (("deg", 1),)
_UNIT_ENDS = frozenset((".", ",", ";", "/", "or", "and", "=", ")", "}"))
_WORD_STOPS = frozenset(("if", "when", "where", "for", "then", "with", "but", "not", "is", "are", "maybe"))


class UnitReader(Cursor):
    """Unit phrases."""

    def unit_phrase(self, factors: list[Node]) -> bool:
        """Set a unit aside after a value; multiplier and percent words become factors.

        Returns whether something was set aside: nothing but an operator may follow then.
        """
        start, sign = self.at, 1
        parts: list[tuple[str, int]] = []
        while self.at < len(self.tokens):
            kind, value, spaced = self.tokens[self.at]
            if kind == "cmd" and value == "frac" and not parts and self._unit_fraction(parts):
                continue
            if not self._unit_word(kind, value, spaced, bool(parts), factors):
                break
            lower = value.lower()
            self.at += 1
            if lower in MULTIPLIERS and not parts:
                factors.append(("num", Fraction(MULTIPLIERS[lower]), False))
            elif lower in PERCENT_WORDS or (lower == "per" and self.next_word() == "cent"):
                self.at += lower == "per"
                factors.append(("num", Fraction(1, 100), False))
            elif lower == "per":
                sign = -1
            else:
                parts.append((value, sign * self._unit_power()))
            if self.peek_op() == "/" and self._unit_after_slash():
                self.at += 1
                sign = -1
            elif (self.peek_op() == "*" and parts and self._unit_after_slash()) or self.peek_op() == ".":
                self.at += 1
        if self.at == start:
            return False
        unit = canonical_unit(parts) if parts else None
        if unit is not None:
            self.units.append(unit)
        if unit == _DEGREE:
            factors[:] = [("deg", factors[0] if len(factors) == 1 else ("mul", tuple(factors)))]
        return True

    def _unit_word(self, kind: str, value: Any, spaced: bool, inside: bool, factors: list[Node]) -> bool:
        if kind == "word":
            return value in LETTERS if len(value) == 1 else value.lower() not in _WORD_STOPS
        if kind == "fn" and value in ("min", "sec"):
            return self.tokens[self.at + 1 : self.at + 2] == [] or self.tokens[self.at + 1][1] in _UNIT_ENDS
        if kind == "run":
            if value.lower() in MULTIPLIERS or value.lower() in PERCENT_WORDS or is_unit(value):
                return True
            return ((spaced and len(value) > 2) or inside) and value.lower() not in _WORD_STOPS
        if kind == "sym" and value in LETTERS:
            if inside:
                return True
            if all(f[0] in ("num", "neg") or f == ("const", "pi") for f in factors):
                compound = self.peek_ahead(1) == "/" and self._unit_after_slash(2)
                self.letter_units = (
                    "spaced" if spaced or compound or value in "mgL" else self.letter_units or "tight"
                )
                return self.letters
        return False

    def _unit_fraction(self, parts: list[tuple[str, int]]) -> bool:
        """`\\frac{\\text{m}}{\\text{s}^2}` after a value."""
        start = self.at
        self.at += 1
        for sign in (1, -1):
            if self.peek_op() != "{":
                break
            self.at += 1
            while self.at < len(self.tokens) and self.tokens[self.at][0] in ("word", "run"):
                self.at += 1
                parts.append((self.tokens[self.at - 1][1], sign * self._unit_power()))
            if self.peek_op() != "}":
                break
            self.at += 1
        else:
            return bool(parts)
        self.at = start
        parts.clear()
        return False

    def next_word(self) -> str | None:
        token = self.tokens[self.at] if self.at < len(self.tokens) else ("", "", False)
        return token[1] if token[0] in ("word", "run") else None

    def _unit_after_slash(self, steps: int = 1) -> bool:
        token = self.tokens[self.at + steps] if self.at + steps < len(self.tokens) else ("", "", False)
        return token[0] in ("word", "run") or (token[0] == "sym" and token[1] in LETTERS)

    def _unit_power(self) -> int:
        if self.peek_op() == "." and self.peek_ahead(1) == "^":
            self.at += 1
        if self.peek_op() != "^":
            return 1
        self.at += 1
        node = self.exponent()
        inner = node[1] if node[0] == "neg" else node
        if inner[0] != "num" or abs(inner[1]) > 9:
            raise Unreadable("the power of a unit is not a small number")
        return int(inner[1]) * (-1 if node[0] == "neg" else 1)
