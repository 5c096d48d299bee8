"""A factor of a term: numbers, letters, words, commands, with the marks that follow them."""

from __future__ import annotations

import re
from fractions import Fraction

from guerdon.verify.maths.cursor import Node, spelled
from guerdon.verify.maths.functions import FunctionReader
from guerdon.verify.maths.guard import MAX_DEPTH, TooLarge
from guerdon.verify.maths.lexer import Foreign, Unreadable
from guerdon.verify.maths.units import is_unit
from guerdon.verify.maths.vocabulary import ENGLISH

_MIXED = re.compile("[a-z][A-Z]")
_CONSTANTS = {"pi": ("const", "pi"), "e": ("const", "e"), "i": ("const", "i")}


class FactorReader(FunctionReader):
    """Factors."""

    def factor(self) -> Node:
        """A primary with its marks: powers, factorials, percent and degree signs."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f"too large: nested more than {MAX_DEPTH} deep")
        node = self.postfix(self.primary())
        self.depth -= 1
        return node

    def postfix(self, node: Node) -> Node:
        """A value with the marks that follow it."""
        while self.at < len(self.tokens):
            kind, value, _ = self.tokens[self.at]
            if kind != "op":
                break
            if value == "^":
                self.at += 1
                node = ("pow", node, self.exponent())
            elif value == "!":
                self.at += 1
                if self.peek_op() == "!":
                    raise Foreign("repeated factorial")
                node = ("fact", node)
            elif value in ("%", "permille"):
                self.at += 1
                node = ("mul", (node, ("num", Fraction(1, 100 if value == "%" else 1000), False)))
            elif value == "deg":
                self.at += 1
                node = self.degrees(node)
            elif value == "...":
                self.dotted(node)
            else:
                break
        return node

    def dotted(self, node: Node) -> None:
        """Dots after a decimal: remembered for the comparison; elsewhere they have no fixed meaning."""
        kind, number, _ = self.tokens[self.at - 1]
        if kind != "num" or not number.decimal or self.dots is not None:
            raise Foreign("dots")
        self.dots = number
        self.at += 1

    def degrees(self, node: Node) -> Node:
        """`60°`; a letter C or F after it makes it a temperature."""
        if self.at < len(self.tokens) and self.tokens[self.at][1] in ("C", "F"):
            self.units.append((("deg" + self.tokens[self.at][1], 1),))
            self.at += 1
            return node
        self.units.append((("deg", 1),))
        return ("deg", node)

    def exponent(self) -> Node:
        """What follows `^`: a group, or one factor with a sign."""
        if self.peek_op() == "{":
            node = self.group()
            if self.peek_op() == "^":
                self.at += 1
                return ("pow", node, self.exponent())
            return node
        if self.peek_op() == "*":
            raise Foreign("conjugate")
        if self.peek_op() == "-":
            self.at += 1
            return ("neg", self.exponent())
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f"too large: nested more than {MAX_DEPTH} deep")
        node = self.primary()
        if self.peek_op() == "^":
            self.at += 1
            node = ("pow", node, self.exponent())
        self.depth -= 1
        return node

    def primary(self) -> Node:
        """The smallest complete thing."""
        if self.at >= len(self.tokens):
            raise Unreadable("ends early")
        kind, value, _ = self.tokens[self.at]
        self.at += 1
        if kind == "num":
            return ("num", value.value, value.decimal)
        if kind == "sym":
            return self.symbol(value)
        if kind == "fn":
            return self.function(value)
        if kind == "cmd":
            return self.command(value)
        if kind == "op":
            return self.bracket(value)
        if kind == "named":
            return ("named", value)
        if kind == "env":
            return self.matrix(value)
        return self.words(kind, value)

    def symbol(self, name: str) -> Node:
        """A letter with its subscript and primes."""
        if self.peek_op() == "_":
            self.at += 1
            name = f"{name}_{self.subscript()}"
        while self.peek_op() == "'":
            self.at += 1
            name += "'"
        return _CONSTANTS.get(name) or ("sym", name)

    def subscript(self) -> str:
        """A subscript as part of a name."""
        if self.peek_op() != "{":
            self.at += 1
            return spelled(self.tokens[self.at - 1 : self.at])
        start, depth = self.at + 1, 0
        while self.at < len(self.tokens):
            depth += {"{": 1, "}": -1}.get(self.peek_op() or "", 0)
            self.at += 1
            if not depth:
                return spelled(self.tokens[start : self.at - 1])
        raise Unreadable("unbalanced braces")

    def words(self, kind: str, value: str) -> Node:
        """A word where a value is expected: a product of letters, or a name made of words."""
        if kind == "run" and self.product_of_letters(value, alone=self._stands_alone()):
            last = self.postfix(self.symbol(value[-1]))
            return ("mul", (*(_CONSTANTS.get(c) or ("sym", c) for c in value[:-1]), last))
        if kind == "word" and len(value) == 1:
            return _CONSTANTS.get(value) or ("sym", value)
        words = [value]
        while self.at < len(self.tokens) and self.tokens[self.at][0] in ("run", "word", "sym"):
            words.append(self.tokens[self.at][1])
            self.at += 1
        return ("name", " ".join(words))

    def _stands_alone(self) -> bool:
        around = []
        if self.at > 1:
            around.append(self.tokens[self.at - 2])
        if self.at < len(self.tokens):
            around.append(self.tokens[self.at])
        return all(
            t[0] == "op" and t[1] in (",", ";", "or", "and", "=", "\\{", "\\}", "{", "}") for t in around
        )

    def product_of_letters(self, run: str, alone: bool = False) -> bool:
        """Whether several letters in a row are variables (`xy`) rather than a word."""
        if len(run) > 4 or run.lower() in ENGLISH or is_unit(run):
            return False
        if _MIXED.search(run):  # no word is written so: nRT
            return True
        return (run.islower() and len(run) < 4) or (len(run) == 2 and not run.isupper()) if alone else True

    def command(self, name: str) -> Node:
        """Fractions, roots, binomials, named angles."""
        if name == "frac":
            above, below = self.argument(), self.argument()
            if above == ("sym", "d") and _is_differential(below):
                raise Foreign("derivative")
            return ("div", above, below)
        if name == "binom":
            return ("fn", "binom", (self.argument(), self.argument()))
        if name == "sqrt":
            index: Node = ("num", Fraction(2), False)
            if self.peek_op() == "[":
                self.at += 1
                index = self.sum()
                self.take("]")
            return ("root", index, self.argument())
        if name in ("surd", "cuberoot", "fourthroot"):
            degree = {"surd": 2, "cuberoot": 3, "fourthroot": 4}[name]
            return ("root", ("num", Fraction(degree), False), self.argument())
        if name in ("angle", "triangle", "overline"):
            letters = spelled([t for t in self.tokens[self.at : self.at + 3] if t[1] not in ("{", "}")][:1])
            self.at += 3 if self.peek_op() == "{" else 1
            if not letters.isalpha():
                raise Foreign(f"\\{name}")
            return ("name", f"{name} {letters}")
        raise Foreign(name)

    def argument(self) -> Node:
        """A command's argument: a group, a bracket, or one token."""
        if self.peek_op() == "{":
            return self.group()
        if self.at >= len(self.tokens):
            raise Unreadable("an argument is missing")
        kind, value, _ = self.tokens[self.at]
        if kind == "op" and value in ("-", "+"):
            raise Unreadable("a sign where an argument is expected")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f"too large: nested more than {MAX_DEPTH} deep")
        node = self.primary()
        self.depth -= 1
        return node


def _is_differential(below: Node) -> bool:
    """Whether a denominator is dx: the fraction is a derivative then."""
    return below[0] == "mul" and below[1][0] == ("sym", "d")
