"""Tokens to a tree. Answers are lists of relations of set expressions of sums of terms of factors.

Nodes are tuples led by their kind. Scalars: `("num", value, is_decimal)`, `("sym", name)`,
`("const", "pi" | "e" | "i" | "inf")`, `("add", terms)`, `("mul", factors)`, `("div", a, b)`, `("neg", a)`,
`("pow", a, b)`, `("root", n, a)`, `("abs", a)`, `("fact", a)`, `("deg", a)`, `("pm", a, sign)`,
`("fn", name, args)`. Structures: `("seq", open, close, items)` (a tuple or an interval), `("set", items)`,
`("such", what, conditions)`, `("list", items, joiner)`, `("rel", sides, operators)`, `("union", a, b)`,
`("meet", a, b)`, `("without", a, b)`, `("matrix", rows)`, `("ratio", items)`, `("named", name)`,
`("name", words)`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from guerdon.verify.maths.cursor import spelled
from guerdon.verify.maths.factors import FactorReader
from guerdon.verify.maths.guard import TooLarge
from guerdon.verify.maths.lexer import Foreign, Number, Token, Unreadable, tokenize

Node = tuple[Any, ...]

_RELATIONS = frozenset(("=", "<", ">", "<=", ">=", "!=", "approx", "in"))
_SET_OPERATORS = {"cup": "union", "cap": "meet", "without": "without"}
_JOINERS = {",": ",", "&": ",", "newrow": ",", ";": ",", "or": "or", "and": "and"}
_AFTER_OPEN_END = frozenset(("op", value) for value in ("cup", "cap", ",", ";", "or", "and", ")", "}"))
_OPENERS = frozenset(("(", "{", "\\{", "langle", "lfloor", "lceil", "inf"))


def parse(text: str, **readings: bool) -> Parser:
    """Parse a cleaned ASCII answer; the tree is `.tree`, what was set aside is `.units`, `.dots` and so on.

    Args:
        readings: `scientific` and `lists` of the tokenizer, and `letters` (a single letter after a number
            and a space may be a unit).

    Raises:
        Unreadable: prose or malformed input.
        Foreign: mathematics outside the fast path.
        TooLarge: beyond the size limits.
    """
    letters = readings.pop("letters", False)
    parser = Parser(tokenize(text, **readings), letters)
    parser.tree = parser.answer()
    return parser


class Parser(FactorReader):
    """The levels above a factor."""

    def answer(self) -> Node:
        """The whole answer: relations joined by commas, "or", "and"."""
        if not self.tokens:
            raise Unreadable("empty")
        node = self.above_and_below(None)
        if self.at < len(self.tokens):
            raise Unreadable(f"unexpected {spelled(self.tokens[self.at : self.at + 1])!r}")
        return node

    def items(self, closers: frozenset[str] | None) -> Node:
        """Joined relations up to a closer (which is left for the caller)."""
        found, joiner = [self.relation()], ""
        while (value := self.peek_op()) in _JOINERS:
            self.at += 1
            joiner = joiner if joiner in ("or", "and") else _JOINERS[value]
            if self.peek_op() in _JOINERS:  # "1, 2, and 3"
                joiner = _JOINERS[self.peek_op() or ","]
                self.at += 1
            if self.at >= len(self.tokens) or (closers and self.peek_op() in closers):
                raise Unreadable("an item is missing")
            found.append(self.relation())
        return found[0] if len(found) == 1 else ("list", tuple(found), joiner)

    def relation(self) -> Node:
        """Sides joined by relation signs: `0 <= x < 1`."""
        sides, operators = [self.ratio()], []
        while (value := self.peek_op()) in _RELATIONS:
            self.at += 1
            operators.append(value)
            sides.append(self.ratio())
        return ("rel", tuple(sides), tuple(operators)) if operators else sides[0]

    def ratio(self) -> Node:
        """`a:b:c`, also written `a to b`."""
        first = self.set_expression()
        if self.such_that or self.peek_op() not in (":", "to"):
            return first
        parts = [first]
        while self.peek_op() in (":", "to"):
            self.at += 1
            parts.append(self.set_expression())
        return ("ratio", tuple(parts))

    def set_expression(self) -> Node:
        """Unions, intersections and differences, from left to right."""
        left = self.sum()
        while (value := self.peek_op()) in _SET_OPERATORS:
            self.at += 1
            left = (_SET_OPERATORS[value], left, self.sum())
        return left

    def sum(self) -> Node:
        """Terms with signs; `a ± b` keeps its sign as a node."""
        terms: list[Node] = []
        while True:
            sign, plus_minus = self.signs()
            term = self.term()
            if sign < 0:
                term = ("neg", term)
            terms.append(("pm", term, plus_minus) if plus_minus else term)
            if self.peek_op() not in ("+", "-", "pm", "mp"):
                return terms[0] if len(terms) == 1 else ("add", tuple(terms))

    def signs(self) -> tuple[int, int]:
        """Any run of signs: (their product, +1 for ±, -1 for ∓, 0 for none)."""
        sign, plus_minus = 1, 0
        while (value := self.peek_op()) in ("+", "-", "pm", "mp"):
            self.at += 1
            if value == "-":
                sign = -sign
            elif value in ("pm", "mp"):
                plus_minus = 1 if value == "pm" else -1
        return sign, plus_minus

    def term(self) -> Node:
        """Factors joined by `*`, `/`, or standing side by side."""
        factors = [self.factor()]
        if factors[0][0] == "name":
            return factors[0]
        slashes = 0
        while self.at < len(self.tokens):
            value = self.peek_op()
            if value == "*":
                self.at += 1
                factors.append(self.signed_factor())
            elif value == "/":
                slashes += 1
                if slashes > 40:
                    raise TooLarge("too large: more than 40 divisions in a row")
                self.at += 1
                factors = [("div", _product(factors), self.signed_factor())]
            elif self.unit_phrase(factors):
                break
            elif self.starts_factor():
                self.side_by_side(factors)
            else:
                break
        return _product(factors)

    def signed_factor(self) -> Node:
        """A factor that may carry signs: `2 * -3`."""
        sign, plus_minus = self.signs()
        if plus_minus:
            raise Unreadable("± inside a product")
        return ("neg", self.factor()) if sign < 0 else self.factor()

    def starts_factor(self) -> bool:
        """Whether the next token can begin a factor."""
        kind, value, _ = self.tokens[self.at]
        if kind == "op":
            if value == "[" and self.at + 1 < len(self.tokens):  # not the end of ]0, 1[
                return self.tokens[self.at + 1][:2] not in _AFTER_OPEN_END
            return value in _OPENERS or (value == "|" and not self.bars)
        if kind == "env":
            return value.startswith("\\begin")
        return kind in ("num", "sym", "run", "fn", "cmd", "word", "named")

    def side_by_side(self, factors: list[Node]) -> None:
        """One more factor without an operator: a mixed number or a product."""
        kind, value, spaced = self.tokens[self.at]
        last = factors[-1]
        if kind == "named" or (kind == "word" and len(value) > 1):
            raise Unreadable(f"unexpected word {value!r}")
        if len(factors) == 1 and last[0] == "num" and not last[2] and last[1].denominator == 1:
            part = self.mixed_part(kind, value, spaced)
            if part is not None:
                factors[0] = self.postfix(("num", last[1] + part, False))
                return
        if kind == "num" and last[0] in ("num", "sym"):
            raise Unreadable("two numbers side by side")
        if kind == "run" and not self.product_of_letters(value):
            raise Unreadable(f"unexpected word {value!r}")
        factors.append(self.factor())

    def mixed_part(self, kind: str, value: Any, spaced: bool) -> Fraction | None:
        """The fraction of a mixed number: `3 1/2`, `3\\frac{1}{2}`; None where this is a product."""
        start = self.at
        if kind == "cmd" and value == "frac":
            node = self.primary()
            top, bottom = node[1:]
        elif kind == "num" and spaced and self._slash_follows():
            top, bottom = _number_node(value), _number_node(self.tokens[self.at + 2][1])
            self.at += 3
        else:
            return None
        if _whole(top) and _whole(bottom) and 0 < top[1] < bottom[1]:
            return Fraction(top[1] / bottom[1])
        self.at = start
        return None

    def _slash_follows(self) -> bool:
        ahead = self.tokens[self.at + 1 : self.at + 3]
        return len(ahead) == 2 and ahead[0][:2] == ("op", "/") and ahead[1][0] == "num"


def _number_node(number: Number) -> Node:
    return ("num", number.value, number.decimal)


def _whole(node: Node | None) -> bool:
    return node is not None and node[0] == "num" and not node[2] and node[1].denominator == 1


def _product(factors: list[Node]) -> Node:
    return factors[0] if len(factors) == 1 else ("mul", tuple(factors))


__all__ = ["Foreign", "Node", "Parser", "Token", "TooLarge", "Unreadable", "parse"]
