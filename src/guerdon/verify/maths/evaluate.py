"""Values of scalar expressions as decimals of any precision, and how many of their digits count."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from guerdon.verify.maths import numeric as num
from guerdon.verify.maths.exact import NotRational, Undefined, rational
from guerdon.verify.maths.guard import MAX_FACTORIAL, MAX_PRECISION, TooLarge, spend
from guerdon.verify.maths.lexer import Foreign
from guerdon.verify.maths.numeric import ONE, TWO, ZERO, Value

Node = tuple[Any, ...]

PRECISION = 50


class Evaluator:
    """Values of scalar nodes at one point, in the current decimal context.

    Attributes:
        absorbed: most decimal digits by which one term of a sum was larger than another.
        cancelled: most leading digits lost in a sum.
        left_reals: a root or logarithm had no real value.
    """

    def __init__(self, point: Mapping[str, Decimal]) -> None:
        self.point = point
        self.absorbed = self.cancelled = 0
        self.left_reals = False
        self.size = decimal.getcontext().prec / PRECISION

    def value(self, node: Node) -> Value:
        """The value of a node; angles in degrees are plain numbers outside trigonometric functions."""
        spend(2)
        try:
            value = _RULES[node[0]](self, node)
        except KeyError:
            raise Foreign(str(node[0])) from None
        if not isinstance(value, Decimal):
            self.left_reals = True
        return value

    def number(self, node: Node) -> Value:
        return Decimal(node[1].numerator) / node[1].denominator

    def letter(self, node: Node) -> Value:
        return self.point[node[1]]

    def constant(self, node: Node) -> Value:
        name = node[1]
        if name == "inf":
            raise Foreign("infinity in an expression")
        return num.pi() if name == "pi" else ONE.exp() if name == "e" else (ZERO, ONE)

    def sum(self, node: Node) -> Value:
        values = [self.value(term) for term in node[1]]
        total: Value = ZERO
        for value in values:
            total = num.add(total, value)
        pieces = list(zip(*map(num.parts, values), strict=True))
        return num.simplest(*map(self._measured, pieces, num.parts(total)))

    def _measured(self, pieces: tuple[Decimal, ...], whole: Decimal) -> Decimal:
        """A sum after noting what it absorbed and cancelled; a sum that is only rounding is zero."""
        sizes = [piece.adjusted() for piece in pieces if piece]
        if len(sizes) < 2:
            return whole
        top = max(sizes)
        self.absorbed = max(self.absorbed, top - min(sizes))
        lost = top - whole.adjusted() if whole else 10**6
        self.cancelled = max(self.cancelled, lost)
        return whole if lost < decimal.getcontext().prec - num.NOISE else ZERO

    def product(self, node: Node) -> Value:
        total = self.value(node[1][0])
        for factor in node[1][1:]:
            total = num.multiply(total, self.value(factor))
        return total

    def quotient(self, node: Node) -> Value:
        return num.divide(self.value(node[1]), self.value(node[2]))

    def power(self, node: Node) -> Value:
        spend(int(30 * self.size**2.5))
        base = self.value(node[1])
        try:
            exponent = rational(node[2])
        except NotRational:
            return num.power(base, self.value(node[2]))
        if exponent.denominator == 1:
            return num.power(base, Decimal(exponent.numerator))
        if exponent.denominator > 10**3:
            self.absorbed = max(self.absorbed, exponent.denominator.bit_length() // 3)
        if isinstance(base, Decimal) and base < 0 and exponent.denominator % 2:
            root = num.real_root(base, exponent.denominator)
            return num.power(root, Decimal(exponent.numerator))
        return num.power(base, Decimal(exponent.numerator) / exponent.denominator)

    def root(self, node: Node) -> Value:
        spend(int(30 * self.size**2.5))
        degree, inside = self.value(node[1]), self.value(node[2])
        if (
            isinstance(inside, Decimal)
            and isinstance(degree, Decimal)
            and degree == degree.to_integral_value()
        ):
            if degree.adjusted() > 6:
                raise TooLarge("too large: degree of a root")
            n = int(degree)
            if n < 1:
                raise Undefined("root of degree zero")
            if inside >= 0 or n % 2:
                return num.real_root(inside, n)
        return num.power(inside, num.divide(ONE, degree))

    def absolute(self, node: Node) -> Value:
        return num.modulus(self.value(node[1]))

    def factorial(self, node: Node) -> Value:
        value = self.value(node[1])
        if not isinstance(value, Decimal) or value < 0 or value != value.to_integral_value():
            raise Undefined("factorial of no natural number")
        if value > MAX_FACTORIAL:
            raise TooLarge("too large: factorial")
        spend(int(value))
        total = ONE
        for k in range(2, int(value) + 1):
            total *= k
        return total

    def function(self, node: Node) -> Value:
        """A function's value; one that is tiny or huge has lost as many digits as it is small or large."""
        spend(int(30 * self.size**2.5))
        value = self._function(node[1], node[2])
        size = num.modulus(value)
        self.cancelled = max(self.cancelled, abs(size.adjusted()) if size else 10**6)
        return value

    def _extreme(self, value: Value, name: str = "") -> Value:
        """An argument after noting how far from one it is: cos(10^-30) and tanh(100) are nearly 1."""
        size = num.modulus(value)
        if size and size.adjusted() < -3:
            self.absorbed = max(self.absorbed, -2 * size.adjusted())
        elif name in ("arctan", "arccot") and size > 10**3:
            self.absorbed = max(self.absorbed, size.adjusted())
        elif name in ("tanh", "coth") and size > 10:
            self.absorbed = max(self.absorbed, int(min(size, Decimal(MAX_PRECISION))))
        return value

    def _function(self, name: str, args: tuple[Node, ...]) -> Value:
        if name in _ANGLED:
            return _ANGLED[name](self._extreme(self.angle(args[0])))
        values = [self._extreme(self.value(argument), name) for argument in args]
        if name == "log":
            return num.divide(num.logarithm(values[0]), num.logarithm(values[1] if args[1:] else Decimal(10)))
        if name == "binom":
            return self.binomial(values[0], args[1])
        if name in _PLAIN:
            return _PLAIN[name](values[0])
        reals = [value for value in values if isinstance(value, Decimal)]
        if len(reals) < len(values):
            raise Foreign(f"{name} of a complex number")
        if name in _REAL and reals:
            return _REAL[name](*reals)
        raise Foreign(name)

    def angle(self, node: Node) -> Value:
        """An angle in radians: degrees are converted here and only here."""
        if node[0] == "deg":
            return num.divide(num.multiply(self.value(node[1]), num.pi()), Decimal(180))
        if node[0] in ("add", "mul"):
            marked = [
                part for part in node[1] if part[0] == "deg" or (part[0] == "neg" and part[1][0] == "deg")
            ]
            if marked and (node[0] == "mul" or len(marked) == len(node[1])):
                return num.divide(num.multiply(self.value(node), num.pi()), Decimal(180))
        if node[0] == "neg":
            return num.negative(self.angle(node[1]))
        return self.value(node)

    def binomial(self, n: Value, below: Node) -> Value:
        try:
            k = rational(below)
        except NotRational:
            raise Foreign("binomial") from None
        if k > 200:
            raise TooLarge("too large: binomial")
        if k.denominator != 1 or k < 0:
            raise Foreign("binomial")
        total: Value = ONE
        for step in range(int(k)):
            total = num.divide(num.multiply(total, num.add(n, Decimal(-step))), Decimal(step + 1))
        return total


def _tangent(a: Value) -> Value:
    return num.divide(num.sine(a), num.cosine(a))


def _hyperbolic(sign: int) -> Callable[[Value], Value]:
    def value(a: Value) -> Value:
        down = num.exponential(num.negative(a))
        return num.divide(num.add(num.exponential(a), down if sign > 0 else num.negative(down)), TWO)

    return value


_SINH, _COSH = _hyperbolic(-1), _hyperbolic(1)
_ANGLED: dict[str, Callable[[Value], Value]] = {
    "sin": num.sine,
    "cos": num.cosine,
    "tan": _tangent,
    "cot": lambda a: num.divide(num.cosine(a), num.sine(a)),
    "sec": lambda a: num.divide(ONE, num.cosine(a)),
    "csc": lambda a: num.divide(ONE, num.sine(a)),
    "cis": lambda a: num.add(num.cosine(a), num.multiply((ZERO, ONE), num.sine(a))),
}
_PLAIN: dict[str, Callable[[Value], Value]] = {
    "exp": num.exponential,
    "ln": num.logarithm,
    "sinh": _SINH,
    "cosh": _COSH,
    "tanh": lambda a: num.divide(_SINH(a), _COSH(a)),
    "coth": lambda a: num.divide(_COSH(a), _SINH(a)),
}
_REAL: dict[str, Callable[..., Decimal]] = {
    "arcsin": num.arcsine,
    "arccos": lambda x: num.pi() / 2 - num.arcsine(x),
    "arctan": num.arctangent,
    "arccot": lambda x: num.pi() / 2 - num.arctangent(x),
    "arcsec": lambda x: num.pi() / 2 - num.arcsine(ONE / x),
    "arccsc": lambda x: num.arcsine(ONE / x),
    "arcsinh": lambda x: (x + (x * x + 1).sqrt()).ln(),
    "arccosh": lambda x: (x + (x * x - 1).sqrt()).ln(),
    "arctanh": lambda x: ((1 + x) / (1 - x)).ln() / 2,
    "max": lambda *values: max(values),
    "min": lambda *values: min(values),
    "floor": lambda x: x.to_integral_value(rounding=decimal.ROUND_FLOOR),
    "ceil": lambda x: x.to_integral_value(rounding=decimal.ROUND_CEILING),
}
_RULES: dict[str, Callable[[Evaluator, Node], Value]] = {
    "num": Evaluator.number,
    "sym": Evaluator.letter,
    "const": Evaluator.constant,
    "add": Evaluator.sum,
    "mul": Evaluator.product,
    "div": Evaluator.quotient,
    "pow": Evaluator.power,
    "root": Evaluator.root,
    "abs": Evaluator.absolute,
    "fact": Evaluator.factorial,
    "fn": Evaluator.function,
    "neg": lambda self, node: num.negative(self.value(node[1])),
    "deg": lambda self, node: self.value(node[1]),
}


def evaluate(node: Node, point: Mapping[str, Decimal], precision: int) -> tuple[Value, Evaluator]:
    """The value of a node and how trustworthy its digits are.

    Raises:
        Undefined: no value at this point.
        TooLarge: beyond the range of decimals.
    """
    with decimal.localcontext(num.context(precision)):
        evaluator = Evaluator(point)
        try:
            return evaluator.value(node), evaluator
        except (decimal.Overflow, decimal.Underflow, MemoryError):
            raise TooLarge("too large: out of range") from None
        except decimal.DecimalException as error:
            raise Undefined(type(error).__name__) from None
