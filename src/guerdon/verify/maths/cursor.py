"""A cursor over the tokens of an answer, and what the levels of the grammar share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from guerdon.verify.maths.lexer import Number, Token, Unreadable
from guerdon.verify.maths.units import Unit

Node = tuple[Any, ...]


class Cursor:
    """Position, nesting depth, and what is set aside while reading: units, dots, currency.

    Every level of the grammar is a subclass of the level below it; the abstract methods are those that a
    lower level needs of a higher one.
    """

    def __init__(self, tokens: list[Token], letters: bool = False) -> None:
        self.tokens, self.letters = [t for t in tokens if t[0] != "currency"], letters
        self.at = self.depth = self.bars = 0
        self.such_that = False
        self.tree: Node = ()
        currency: list[Unit] = [((str(t[1]), 1),) for t in tokens if t[0] == "currency"]
        self.units = currency[:1]
        self.dots: Number | None = None
        self.letter_units = ""

    @abstractmethod
    def sum(self) -> Node: ...

    @abstractmethod
    def items(self, closers: frozenset[str] | None) -> Node: ...

    @abstractmethod
    def factor(self) -> Node: ...

    @abstractmethod
    def primary(self) -> Node: ...

    @abstractmethod
    def exponent(self) -> Node: ...

    @abstractmethod
    def group(self) -> Node: ...

    @abstractmethod
    def product_of_letters(self, run: str, alone: bool = False) -> bool: ...

    def peek_op(self) -> str | None:
        """The next token's operator, or None."""
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "op":
            return self.tokens[self.at][1]
        return None

    def peek_ahead(self, steps: int) -> Any:
        """The value of a token further on, or None."""
        return self.tokens[self.at + steps][1] if self.at + steps < len(self.tokens) else None

    def take(self, *operators: str) -> str:
        """Consume one of the operators."""
        value = self.peek_op()
        if value not in operators:
            raise Unreadable(f"expected {operators[0]!r}")
        self.at += 1
        return value


def spelled(tokens: list[Token]) -> str:
    """Tokens as the text of a name."""
    return "".join(t[1].text if t[0] == "num" else str(t[1]) for t in tokens if t[1] not in ("{", "}"))
