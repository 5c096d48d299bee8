"""Exact values: rational arithmetic with size limits, and identity of rational functions modulo a prime.

Two rational functions with integer coefficients are compared by their value at pseudo-random points of
the field of p = 2^128 - 159 elements (Schwartz and Zippel): different values prove them different, equal
values at two points leave an error probability below degree / 2^250. No expansion takes place, so
(x+1)^100000 costs as much as (x+1)^2.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from guerdon.verify.maths.guard import MAX_BITS, MAX_FACTORIAL, TooLarge, spend

Node = tuple[Any, ...]

PRIME = 2**128 - 159


class Undefined(Exception):
    """Division by zero and the like: the expression has no value."""


class NotRational(Exception):
    """The expression is no rational number, or not within the size limits."""


class Facts(NamedTuple):
    """What an expression contains."""

    symbols: frozenset[str]
    kinds: frozenset[str]
    decimal: bool


def children(node: Node) -> Iterable[Node]:
    """The nodes directly below a scalar node."""
    for part in node[1:]:
        if isinstance(part, tuple):
            if part and isinstance(part[0], tuple):
                yield from part
            elif part:
                yield part


def facts(node: Node) -> Facts:
    """Symbols, node kinds (constants by name) and whether a decimal occurs."""
    symbols: set[str] = set()
    kinds: set[str] = set()
    decimal = False
    stack = [node]
    while stack:
        one = stack.pop()
        kind = one[0]
        kinds.add(one[1] if kind in ("const", "fn") else kind)
        if kind == "sym":
            symbols.add(one[1])
        elif kind == "num":
            decimal = decimal or one[2]
        elif kind != "const":
            stack.extend(children(one))
    return Facts(frozenset(symbols), frozenset(kinds), decimal)


def rational(node: Node) -> Fraction:
    """The exact value of a rational expression.

    Raises:
        NotRational: it holds something else than rational arithmetic, or passes the size limits.
        Undefined: division by zero.
    """
    kind = node[0]
    if kind == "num":
        return node[1]
    if kind in ("add", "mul"):
        value = Fraction(kind == "mul")
        for part in node[1]:
            value = _bounded(value + rational(part) if kind == "add" else value * rational(part))
        return value
    if kind in ("neg", "abs", "deg"):
        inner = rational(node[1])
        return -inner if kind == "neg" else abs(inner) if kind == "abs" else inner
    if kind == "div":
        below = rational(node[2])
        if not below:
            raise Undefined("division by zero")
        return _bounded(rational(node[1]) / below)
    if kind == "pow":
        return _power(rational(node[1]), rational(node[2]))
    if kind == "root":
        return _root(rational(node[2]), rational(node[1]))
    if kind == "fact":
        return Fraction(_factorial(rational(node[1])))
    if kind == "fn":
        return _function(node[1], [rational(argument) for argument in node[2]])
    raise NotRational(kind)


def _bounded(value: Fraction) -> Fraction:
    bits = value.numerator.bit_length() + value.denominator.bit_length()
    spend(1 + bits // 64)
    if bits > MAX_BITS:
        raise NotRational("too large")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        return _root(_power(base, Fraction(exponent.numerator)), Fraction(exponent.denominator))
    if not base and exponent < 0:
        raise Undefined("division by zero")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if base not in (-1, 0, 1) and bits * abs(exponent.numerator) > MAX_BITS:
        raise NotRational("too large")
    return (
        base ** int(exponent)
        if base not in (-1, 0, 1)
        else base ** (int(exponent) % 2 or (int(exponent) and 2))
    )


def _root(value: Fraction, degree: Fraction) -> Fraction:
    """The real root where it is rational."""
    if degree.denominator != 1 or not 1 <= degree <= 64:
        raise NotRational("root")
    n = int(degree)
    if value < 0 and n % 2 == 0:
        raise NotRational("root of a negative number")
    top, bottom = _integer_root(abs(value.numerator), n), _integer_root(value.denominator, n)
    return Fraction(top if value >= 0 else -top, bottom)


def _integer_root(value: int, n: int) -> int:
    root = math.isqrt(value) if n == 2 else round(value ** (1 / n)) if value.bit_length() < 900 else -1
    for candidate in (root, root - 1, root + 1):
        if candidate >= 0 and candidate**n == value:
            return candidate
    raise NotRational("irrational root")


def _factorial(value: Fraction) -> int:
    if value.denominator != 1 or value < 0:
        raise Undefined("factorial of no natural number")
    if value > MAX_FACTORIAL:
        raise TooLarge("too large: factorial")
    spend(int(value) // 4)
    return math.factorial(int(value))


def _function(name: str, values: list[Fraction]) -> Fraction:
    whole = all(value.denominator == 1 for value in values)
    if not values:
        raise NotRational("no argument")
    if name == "max":
        return max(values)
    if name == "min":
        return min(values)
    if name in ("gcd", "lcm") and whole:
        combine, total = (math.gcd if name == "gcd" else math.lcm), values[0]
        for value in values[1:]:
            total = _bounded(Fraction(combine(int(total), int(value))))
        return abs(total)
    if name == "floor":
        return Fraction(math.floor(values[0]))
    if name == "ceil":
        return Fraction(math.ceil(values[0]))
    if name == "binom" and whole and 0 <= values[1] <= values[0] <= MAX_FACTORIAL:
        return Fraction(math.comb(int(values[0]), int(values[1])))
    raise NotRational(name)


@lru_cache(maxsize=4096)
def _element(name: str, trial: int) -> int:
    digest = hashlib.blake2b(f"{trial}:{name}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "big") % PRIME


def _square_root_of_minus_one() -> int:
    base = 2
    while pow(base, (PRIME - 1) // 2, PRIME) == 1:
        base += 1
    return pow(base, (PRIME - 1) // 4, PRIME)


_I = _square_root_of_minus_one()


def residue(node: Node, trial: int) -> int:
    """A rational function of letters, pi, e and i at a pseudo-random point modulo PRIME.

    Raises:
        NotRational: functions, roots, absolute values or exponents that are no integers.
        Undefined: a denominator is zero there.
    """
    kind = node[0]
    spend(2)
    if kind == "num":
        return node[1].numerator * _inverse(node[1].denominator) % PRIME
    if kind == "sym":
        return _element(node[1], trial)
    if kind == "const":
        if node[1] == "inf":
            raise NotRational("infinity")
        return _I if node[1] == "i" else _element(f"\\{node[1]}", trial)
    if kind == "add":
        return sum(residue(term, trial) for term in node[1]) % PRIME
    if kind == "neg":
        return -residue(node[1], trial) % PRIME
    if kind == "mul":
        value = 1
        for factor in node[1]:
            value = value * residue(factor, trial) % PRIME
        return value
    if kind == "div":
        return residue(node[1], trial) * _inverse(residue(node[2], trial)) % PRIME
    if kind == "pow":
        return _residue_power(residue(node[1], trial), rational(node[2]))
    if kind == "fn" and node[1] == "binom":
        return _falling(residue(node[2][0], trial), rational(node[2][1]))
    raise NotRational(kind)


def _residue_power(base: int, exponent: Fraction) -> int:
    if exponent.denominator != 1:
        raise NotRational("fractional exponent")
    spend(20)
    if not base:
        return int(not exponent) if exponent >= 0 else _inverse(base)
    # Fermat: exponents count modulo PRIME - 1
    return pow(base if exponent >= 0 else _inverse(base), abs(int(exponent)) % (PRIME - 1), PRIME)


def _falling(n: int, k: Fraction) -> int:
    """n (n-1) .. (n-k+1) / k!"""
    if k.denominator != 1 or not 0 <= k <= 200:
        raise NotRational("binomial")
    value = 1
    spend(20 * int(k))
    for step in range(int(k)):
        value = value * (n - step) * _inverse(step + 1) % PRIME
    return value


def _inverse(value: int) -> int:
    if not value % PRIME:
        raise Undefined("division by zero")
    return pow(value, -1, PRIME) if value != 1 else 1
