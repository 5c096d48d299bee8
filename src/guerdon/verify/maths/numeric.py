"""Elementary functions on decimals of any precision, real and complex.

A number is a Decimal, or a pair (real, imaginary) of Decimals. The precision is that of the current
decimal context; results are good to a few units in the last places.
"""

from __future__ import annotations

import decimal
from decimal import Decimal
from functools import lru_cache

from guerdon.verify.maths.exact import Undefined
from guerdon.verify.maths.guard import TooLarge
from guerdon.verify.maths.lexer import Foreign

Value = Decimal | tuple[Decimal, Decimal]

ZERO, ONE, TWO = Decimal(0), Decimal(1), Decimal(2)
MAX_ANGLE_DIGITS = 300
NOISE = 8


def context(precision: int) -> decimal.Context:
    """A context that reports overflow and undefined operations instead of returning NaN."""
    return decimal.Context(
        prec=precision,
        Emax=decimal.MAX_EMAX,
        Emin=decimal.MIN_EMIN,
        traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Underflow],
    )


@lru_cache(maxsize=64)
def _pi_scaled(digits: int) -> int:
    """floor(pi 10^digits) by Machin: pi = 16 arctan(1/5) - 4 arctan(1/239)."""
    one = 10 ** (digits + 10)

    def arctan_inverse(x: int) -> int:
        power = total = one // x
        n, sign = 3, -1
        while power:
            power //= x * x
            total += sign * (power // n)
            n, sign = n + 2, -sign
        return total

    return (16 * arctan_inverse(5) - 4 * arctan_inverse(239)) // 10**10


def pi() -> Decimal:
    """pi at the current precision."""
    digits = decimal.getcontext().prec + 5
    return Decimal(_pi_scaled(digits)).scaleb(-digits)


def parts(z: Value) -> tuple[Decimal, Decimal]:
    """Real and imaginary part."""
    return (z, ZERO) if isinstance(z, Decimal) else z


def simplest(re: Decimal, im: Decimal) -> Value:
    """A real number where the imaginary part is zero."""
    return (re, im) if im else re


def without_noise(re: Decimal, im: Decimal) -> Value:
    """A complex number whose smaller part is dropped where it is below the precision of the larger one."""
    if re and im:
        lead = re.adjusted() - im.adjusted()
        if abs(lead) > decimal.getcontext().prec - NOISE:
            return re if lead > 0 else (ZERO, im)
    return simplest(re, im)


def add(a: Value, b: Value) -> Value:
    """a + b"""
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return a + b
    (x, y), (u, v) = parts(a), parts(b)
    return simplest(x + u, y + v)


def negative(a: Value) -> Value:
    """-a"""
    return -a if isinstance(a, Decimal) else (-a[0], -a[1])


def multiply(a: Value, b: Value) -> Value:
    """a b"""
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return a * b
    (x, y), (u, v) = parts(a), parts(b)
    return simplest(x * u - y * v, x * v + y * u)


def divide(a: Value, b: Value) -> Value:
    """a / b"""
    if isinstance(b, Decimal):
        if not b:
            raise Undefined("division by zero")
        return a / b if isinstance(a, Decimal) else (a[0] / b, a[1] / b)
    (x, y), (u, v) = parts(a), b
    size = u * u + v * v
    return simplest((x * u + y * v) / size, (y * u - x * v) / size)


def modulus(a: Value) -> Decimal:
    """|a|"""
    return abs(a) if isinstance(a, Decimal) else (a[0] * a[0] + a[1] * a[1]).sqrt()


def exponential(a: Value) -> Value:
    """e^a"""
    if isinstance(a, Decimal):
        return a.exp()
    size = a[0].exp()
    sine, cosine = sine_cosine(a[1])
    return without_noise(size * cosine, size * sine)


def logarithm(a: Value) -> Value:
    """The principal natural logarithm."""
    if isinstance(a, Decimal):
        if not a:
            raise Undefined("logarithm of zero")
        return a.ln() if a > 0 else ((-a).ln(), pi())
    return (modulus(a).ln(), angle(a))


def angle(a: Value) -> Decimal:
    """The argument in (-pi, pi]."""
    x, y = parts(a)
    if not x:
        return pi() / 2 if y > 0 else -pi() / 2
    base = arctangent(y / x)
    if x > 0:
        return base
    return base + pi() if y >= 0 else base - pi()


def power(a: Value, b: Value) -> Value:
    """The principal value of a^b."""
    if isinstance(b, Decimal):
        if b == b.to_integral_value() and b.adjusted() < 18:
            return _whole_power(a, int(b))
        if isinstance(a, Decimal) and b == Decimal("0.5"):
            return a.sqrt() if a >= 0 else (ZERO, (-a).sqrt())
        if isinstance(a, Decimal) and a > 0:
            return (b * a.ln()).exp()
    if not modulus(a):
        if isinstance(b, Decimal) and b > 0:
            return ZERO
        raise Undefined("power of zero")
    return exponential(multiply(b, logarithm(a)))


def _whole_power(a: Value, n: int) -> Value:
    if isinstance(a, Decimal):
        if not a and n < 0:
            raise Undefined("division by zero")
        return a**n if a or n else ONE
    if abs(n) > 10_000:
        return exponential(multiply(Decimal(n), logarithm(a)))
    result: Value = ONE
    square: Value = a
    rest = abs(n)
    while rest:
        if rest & 1:
            result = multiply(result, square)
        square, rest = multiply(square, square), rest >> 1
    return result if n >= 0 else divide(ONE, result)


def real_root(a: Decimal, n: int) -> Decimal:
    """The real n-th root of a real number; n odd where it is negative."""
    if not a:
        return ZERO
    if n == 2:
        return a.sqrt()
    root = (abs(a).ln() / n).exp()
    return root if a > 0 else -root


def sine_cosine(x: Decimal) -> tuple[Decimal, Decimal]:
    """(sin x, cos x): reduced to |r| <= pi/4, then Taylor."""
    if x.adjusted() > MAX_ANGLE_DIGITS:
        raise TooLarge("too large: an angle")
    with decimal.localcontext() as wide:
        wide.prec += max(x.adjusted(), 0) + 5
        quarter = pi() / 2
        turns = (x / quarter).to_integral_value()
        r = x - turns * quarter
        if turns and r and r.adjusted() < x.adjusted() - wide.prec + 5 + NOISE:
            r = ZERO  # what is left of a multiple of pi/2 is the rounding of x
        sine, cosine = _taylor(r, r), _taylor(ONE, r)
    quadrant = int(turns) % 4
    return ((sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine))[quadrant]


def _taylor(first: Decimal, r: Decimal) -> Decimal:
    """sum (-1)^k r^(2k+s) / (2k+s)!, with s = 1 where `first` is r and 0 where it is 1."""
    if not r:
        return first
    total = term = first
    square, n = r * r, 1 if first is r else 0
    limit = first.adjusted() - decimal.getcontext().prec - 1
    while term and term.adjusted() > limit:
        term = -term * square / ((n + 1) * (n + 2))
        total += term
        n += 2
    return total


def sine(a: Value) -> Value:
    """sin a"""
    if isinstance(a, Decimal):
        return sine_cosine(a)[0]
    turned = multiply((ZERO, ONE), a)
    return divide(add(exponential(turned), negative(exponential(negative(turned)))), (ZERO, TWO))


def cosine(a: Value) -> Value:
    """cos a"""
    if isinstance(a, Decimal):
        return sine_cosine(a)[1]
    turned = multiply((ZERO, ONE), a)
    return divide(add(exponential(turned), exponential(negative(turned))), TWO)


def arctangent(x: Decimal) -> Decimal:
    """arctan x: halved until small, then the alternating series."""
    if abs(x) > 1:
        return (pi() / 2 if x > 0 else -pi() / 2) - arctangent(1 / x)
    halvings = 0
    while abs(x) > Decimal("0.1"):
        x = x / (1 + (1 + x * x).sqrt())
        halvings += 1
    if not x:
        return ZERO
    total = term = x
    square, n, limit = x * x, 1, x.adjusted() - decimal.getcontext().prec - 1
    while term and term.adjusted() > limit:
        term = -term * square
        n += 2
        total += term / n
    return total * 2**halvings


def arcsine(x: Decimal) -> Decimal:
    """arcsin x"""
    if abs(x) > 1:
        raise Foreign("arcsine beyond one")
    if abs(x) == 1:
        return x * pi() / 2
    return arctangent(x / (1 - x * x).sqrt())
