"""Functions with their powers, bases and arguments, however these are written."""

from __future__ import annotations

from fractions import Fraction

from guerdon.verify.maths.brackets import BracketReader
from guerdon.verify.maths.cursor import Node
from guerdon.verify.maths.lexer import Foreign

_TRIG = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])
_INVERSE = {name: "arc" + name for name in _TRIG} | {"sinh": "arcsinh", "cosh": "arccosh", "tanh": "arctanh"}
_ALIAS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh"}
_ALIAS |= {"atanh": "arctanh", "lg": "log"}
_MANY = frozenset(("max", "min", "gcd", "lcm"))


class FunctionReader(BracketReader):
    """Function applications."""

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
        if (
            power is not None
            and power[0] == "neg"
            and power[1][:2] == ("num", Fraction(1))
            and name in _INVERSE
        ):
            name, power = _INVERSE[name], None
        if name in ("det", "Re", "Im", "sgn") or (base and name != "log"):
            raise Foreign(name)
        if name == "log" and not base and self._base_in_digits():
            base = (self.primary(),)
        units = len(self.units)
        argument = self.function_argument(name)
        del self.units[units:]
        if name in _MANY:
            args = (
                argument[3] if argument[0] == "seq" else argument[1] if argument[0] == "set" else (argument,)
            )
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
        if name in _TRIG and (self.next_word() or "").lower() in ("degrees", "degree", "deg"):
            self.at += 1
            return ("deg", node)
        if name in _TRIG and ("const", "pi") in factors and self.peek_op() == "/":
            self.at += 1
            node = ("div", node, self.factor())
        return node
