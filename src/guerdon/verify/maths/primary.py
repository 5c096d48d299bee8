"""The lowest levels of the answer grammar: numbers, letters, functions, brackets, matrices, units."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction
from typing import Any

from guerdon.verify.maths.guard import MAX_DEPTH, TooLarge
from guerdon.verify.maths.lexer import Foreign, Number, Token, Unreadable
from guerdon.verify.maths.units import LETTERS, MULTIPLIERS, PERCENT_WORDS, Unit, canonical_unit, is_unit

Node = tuple[Any, ...]

_CONSTANTS = {"pi": ("const", "pi"), "e": ("const", "e"), "i": ("const", "i")}
_CLOSERS = {"(": (")", "]"), "[": ("]", ")", "["), "]": ("[", "]", ")")}
_TRIG = frozenset("sin cos tan cot sec csc".split())
_INVERSE = {name: "arc" + name for name in _TRIG} | {"sinh": "arcsinh", "cosh": "arccosh", "tanh": "arctanh"}
_ALIAS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh"}
_ALIAS |= {"atanh": "arctanh", "lg": "log"}
_MANY = frozenset(("max", "min", "gcd", "lcm"))
_MATRICES = frozenset("pmatrix bmatrix matrix Bmatrix smallmatrix array".split())
_ENGLISH = frozenset(
    "no on in is yes odd even all none off up down red blue green one two six ten cat dog boy man men sun mon "
    "tue wed thu fri sat not the and any for few low max mid net new now old out own per she his her its "
    "day way top true false only both day won tie win lose am pm na nan dne inf it he we us me my by at as an "
    "be do go if of or so to left east west north south cow hen pig bat car bus pen box jar cup egg".split()
)
_DEGREE: Unit = (("deg", 1),)
_UNIT_ENDS = frozenset((".", ",", ";", "/", "or", "and", "=", ")", "}"))
_WORD_STOPS = frozenset(("if", "when", "where", "for", "then", "with", "but", "not", "is", "are", "maybe"))


class PrimaryParser:
    """A cursor over tokens, and everything below a term. `sum` and `items` are the upper levels'."""

    def __init__(self, tokens: list[Token], letters: bool = False) -> None:
        self.tokens, self.letters = [t for t in tokens if t[0] != "currency"], letters
        self.at = self.depth = self.bars = 0
        self.such_that = False
        self.tree: Node = ()
        self.units: list[Unit] = [((t[1], 1),) for t in tokens if t[0] == "currency"][:1]
        self.dots: Number | None = None
        self.letter_units = ""

    @abstractmethod
    def sum(self) -> Node: ...

    @abstractmethod
    def items(self, closers: frozenset[str] | None) -> Node: ...

    @abstractmethod
    def signed_factor(self) -> Node: ...

    def peek_op(self) -> str | None:
        """The next token's operator, or None."""
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "op":
            return self.tokens[self.at][1]
        return None

    def take(self, *operators: str) -> str:
        """Consume one of the operators."""
        value = self.peek_op()
        if value not in operators:
            raise Unreadable(f"expected {operators[0]!r}")
        self.at += 1
        return value  # type: ignore[return-value]

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
            return _spelled(self.tokens[self.at - 1 : self.at])
        start, depth = self.at + 1, 0
        while self.at < len(self.tokens):
            depth += {"{": 1, "}": -1}.get(self.peek_op() or "", 0)
            self.at += 1
            if not depth:
                return _spelled(self.tokens[start : self.at - 1])
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
        return all(t[0] == "op" and t[1] in (",", ";", "or", "and", "=", "\\{", "\\}", "{", "}") for t in around)

    def product_of_letters(self, run: str, alone: bool = False) -> bool:
        """Whether several letters in a row are variables (`xy`) rather than a word."""
        if len(run) > 4 or run.lower() in _ENGLISH or is_unit(run):
            return False
        return (run.islower() and len(run) < 4) or (len(run) == 2 and not run.isupper()) if alone else True

    def command(self, name: str) -> Node:
        """Fractions, roots, binomials, named angles."""
        if name == "frac":
            above, below = self.argument(), self.argument()
            if above == ("sym", "d") and is_differential(below):
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
            letters = _spelled([t for t in self.tokens[self.at : self.at + 3] if t[1] not in ("{", "}")][:1])
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

    def group(self) -> Node:
        """The inside of LaTeX braces."""
        self.take("{")
        bars, self.bars = self.bars, 0
        node = self.items(frozenset("}"))
        operator = self.peek_op()
        if operator in ("choose", "over"):
            self.at += 1
            below = self.items(frozenset("}"))
            node = ("fn", "binom", (node, below)) if operator == "choose" else ("div", node, below)
        self.take("}")
        self.bars = bars
        return node

    def bracket(self, opener: str) -> Node:
        """Everything that an operator token can begin."""
        if opener in _CLOSERS:
            return self.sequence(opener)
        if opener == "{":
            self.at -= 1
            node = self.group()
            return ("set", node[1]) if node[0] == "list" else node
        if opener == "\\{":
            return self.braces()
        if opener in ("|", "mid"):
            bars, self.bars = self.bars, self.bars + 1
            node = self.sum()
            self.take("|", "mid")
            self.bars = bars
            return ("abs", node)
        if opener == "langle":
            node = self.items(frozenset(("rangle",)))
            self.take("rangle")
            return ("seq", "(", ")", node[1] if node[0] == "list" else (node,))
        if opener in ("lfloor", "lceil"):
            node = self.sum()
            self.take("r" + opener[1:])
            return ("fn", "floor" if opener == "lfloor" else "ceil", (node,))
        if opener == "inf":
            return ("const", "inf")
        if opener == "empty":
            return ("set", ())
        if opener == "-":
            return ("neg", self.factor())
        raise Unreadable(f"unexpected {opener!r}")

    def sequence(self, opener: str) -> Node:
        """Round or square brackets: grouping, a tuple, or an interval."""
        bars, self.bars = self.bars, 0
        such, self.such_that = self.such_that, False
        node = self.items(frozenset(_CLOSERS[opener]))
        closer = self.take(*_CLOSERS[opener])
        self.bars, self.such_that = bars, such
        if node[0] == "list" and node[2] == ",":
            opened = "[" if opener == "[" else "("
            closed = "]" if closer == "]" else ")"
            return ("seq", opened, closed, node[1])
        if closer != {"(": ")", "[": "]"}.get(opener):
            raise Unreadable("brackets do not match")
        return node

    def braces(self) -> Node:
        """A set, listed or described."""
        if self.peek_op() == "\\}":
            self.at += 1
            return ("set", ())
        bars, self.bars = self.bars, 1
        such, self.such_that = self.such_that, True
        node = self.items(frozenset(("\\}", "|", "mid", ":")))
        self.bars, self.such_that = bars, False
        if self.peek_op() in ("|", "mid", ":"):
            self.at += 1
            node = ("such", node, self.items(frozenset(("\\}",))))
        self.take("\\}")
        self.such_that = such
        if node[0] == "such":
            return node
        return ("set", node[1] if node[0] == "list" else (node,))

    def matrix(self, piece: str) -> Node:
        """`\\begin{pmatrix} .. \\end{pmatrix}` and its kin as rows of cells."""
        name = piece[piece.index("{") + 1 : piece.index("}")]
        if not piece.startswith("\\begin") or name not in _MATRICES:
            raise Foreign(name)
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while True:
            if self.at >= len(self.tokens):
                raise Unreadable("the matrix does not end")
            if self.tokens[self.at][0] != "env":
                row.append(self.sum())
            ended = self.tokens[self.at : self.at + 1] and self.tokens[self.at][0] == "env"
            if not ended and self.take("&", "newrow") == "&":
                continue
            if row:
                rows.append(tuple(row))
            row = []
            if ended:
                self.at += 1
                return ("matrix", tuple(rows))

    def function(self, name: str) -> Node:
        """A function with its power, base and argument."""
        power: Node | None = None
        base: tuple[Node, ...] = ()
        while self.peek_op() in ("^", "_"):
            if self.take("^", "_") == "^":
                power = self.exponent()
            else:
                base = (self.exponent(),)
        name = _ALIAS.get(name, name)
        if power is not None and power[0] == "neg" and power[1][:2] == ("num", Fraction(1)) and name in _INVERSE:
            name, power = _INVERSE[name], None
        if name in ("det", "Re", "Im", "sgn") or (base and name != "log"):
            raise Foreign(name)
        if name == "log" and not base and self._base_in_digits():
            base = (self.primary(),)
        units = len(self.units)
        argument = self.function_argument(name)
        del self.units[units:]
        if name in _MANY:
            args = argument[3] if argument[0] == "seq" else argument[1] if argument[0] == "set" else (argument,)
        else:
            args = (argument, *base)
        node = ("abs", argument) if name == "abs" else ("fn", name, args)
        return node if power is None else ("pow", node, power)

    def _base_in_digits(self) -> bool:
        """`log2(8)` and `log10(1000)` as programming languages write them."""
        ahead = self.tokens[self.at : self.at + 2]
        return len(ahead) == 2 and ahead[0][0] == "num" and not ahead[0][2] and ahead[1][:2] == ("op", "(")

    def function_argument(self, name: str) -> Node:
        """In brackets, or the product that follows: `\\sin 2x`, `\\ln 2`, `\\cos \\pi/3`."""
        if self.peek_op() in ("(", "[", "{", "\\{"):
            return self.primary()
        if self.peek_op() == "-":
            self.at += 1
            return ("neg", self.function_argument(name))
        factors = [self.factor()]
        while self.at < len(self.tokens):
            kind, value, _ = self.tokens[self.at]
            if kind == "sym" or (kind == "run" and self.product_of_letters(value)):
                factors.append(self.factor())
            else:
                break
        node = factors[0] if len(factors) == 1 else ("mul", tuple(factors))
        if name in _TRIG and (self._next_word() or "").lower() in ("degrees", "degree", "deg"):
            self.at += 1
            return ("deg", node)
        if name in _TRIG and ("const", "pi") in factors and self.peek_op() == "/":
            self.at += 1
            node = ("div", node, self.factor())
        return node

    def unit_phrase(self, factors: list[Node]) -> bool:
        """Set a unit aside after a value; multiplier and percent words become factors.

        Returns whether something was set aside: nothing but an operator may follow then.
        """
        start, parts, sign = self.at, [], 1
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
            elif lower in PERCENT_WORDS or (lower == "per" and self._next_word() == "cent"):
                self.at += lower == "per"
                factors.append(("num", Fraction(1, 100), False))
            elif lower == "per":
                sign = -1
            else:
                parts.append((value, sign * self._unit_power()))
            if self.peek_op() == "/" and self._unit_after_slash():
                self.at += 1
                sign = -1
            elif self.peek_op() == "*" and parts and self._unit_after_slash():
                self.at += 1
            elif self.peek_op() == ".":
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
            return (spaced and len(value) > 2 or inside) and value.lower() not in _WORD_STOPS
        if kind == "sym" and value in LETTERS:
            if inside:
                return True
            if all(f[0] in ("num", "neg") or f == ("const", "pi") for f in factors):
                compound = self.peek_ahead(1) == "/" and self._unit_after_slash(2)
                self.letter_units = "spaced" if spaced or compound else self.letter_units or "tight"
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

    def _next_word(self) -> str | None:
        token = self.tokens[self.at] if self.at < len(self.tokens) else ("", "", False)
        return token[1] if token[0] in ("word", "run") else None

    def peek_ahead(self, steps: int) -> Any:
        """The value of a token further on, or None."""
        return self.tokens[self.at + steps][1] if self.at + steps < len(self.tokens) else None

    def _unit_after_slash(self, steps: int = 1) -> bool:
        token = self.tokens[self.at + steps] if self.at + steps < len(self.tokens) else ("", "", False)
        return token[0] in ("word", "run") or (token[0] == "sym" and token[1] in LETTERS)

    def _unit_power(self) -> int:
        if self.peek_op() != "^":
            return 1
        self.at += 1
        node = self.exponent()
        inner = node[1] if node[0] == "neg" else node
        if inner[0] != "num" or abs(inner[1]) > 9:
            raise Unreadable("the power of a unit is not a small number")
        return int(inner[1]) * (-1 if node[0] == "neg" else 1)


def is_differential(below: Node) -> bool:
    """Whether a denominator is dx: the fraction is a derivative then."""
    return below[0] == "mul" and below[1][0] == ("sym", "d")


def _spelled(tokens: list[Token]) -> str:
    return "".join(t[1].text if t[0] == "num" else str(t[1]) for t in tokens if t[1] not in ("{", "}"))
