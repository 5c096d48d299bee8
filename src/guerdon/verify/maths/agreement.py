"""Are two expressions equal? Decided with decimals at two precisions, and at several points for letters.

A true zero shrinks with the precision; anything else settles. What is absorbed in a sum (1 + 10^-90) or
cancelled is measured on the way and pays for more digits. Letters are tried at pseudo-random real points:
two expressions agree when they agree wherever both are real.
"""

from __future__ import annotations

import decimal
import hashlib
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

from guerdon.verify.maths import numeric as num
from guerdon.verify.maths.evaluate import PRECISION, Node, evaluate
from guerdon.verify.maths.exact import Undefined, facts
from guerdon.verify.maths.guard import MAX_PRECISION, TooLarge

POINTS, PIECEWISE_POINTS, TRIALS = 3, 8, 16
_RANGES = (("1.1", "2.9"), ("-6.3", "-2.2"), ("3.2", "7.9"), ("0.1", "0.9"), ("-2.1", "-0.1"), ("20", "60"))
_RANGES += (("-50", "-9"), ("900", "9000"), ("-8000", "-700"))  # type: ignore[assignment]
_PIECEWISE = frozenset(("abs", "root", "max", "min", "floor", "ceil"))


class Undecided(Exception):
    """The numbers do not settle the question."""


def compare(
    a: Node, b: Node, point: Mapping[str, Decimal], tolerance: Decimal | None = None
) -> tuple[bool, int]:
    """Whether a and b differ at a point (exactly, or by more than a relative tolerance), and how many of
    the two were computed without leaving the real numbers.

    Raises:
        Undefined, TooLarge: as `evaluate`.
    """
    precision = PRECISION
    last: Decimal | None = None
    while precision <= MAX_PRECISION:
        (x, seen), (y, met) = evaluate(a, point, precision), evaluate(b, point, precision)
        absorbed, cancelled = max(seen.absorbed, met.absorbed), max(seen.cancelled, met.cancelled)
        real = 2 - seen.left_reals - met.left_reals
        if absorbed * 2 + 20 > precision:
            precision, last = absorbed * 2 + 40, None
            continue
        with decimal.localcontext(num.context(precision)):
            gap, size = num.modulus(num.add(x, num.negative(y))), max(num.modulus(x), num.modulus(y))
            if tolerance is not None and cancelled < precision - 20:
                return gap > tolerance * size, real
            if not gap and cancelled < 10:
                return False, real
            if gap and cancelled < 20 and gap.adjusted() > size.adjusted() - 15:
                return True, real
            if gap and cancelled < 10 and gap.adjusted() <= size.adjusted() - precision + 10:
                return False, real
            verdict = _settled(last, gap, precision)
            if verdict is not None:
                return verdict, real
        last, precision = gap, precision * 2
    raise TooLarge(f"too large: needs more than {MAX_PRECISION} digits")


def _settled(last: Decimal | None, gap: Decimal, precision: int) -> bool | None:
    """Compare the gap with that at half the precision: it vanishes (False), stays (True), or neither."""
    if last is None:
        return None
    if not gap or not last:
        return False if not gap else None
    if gap.adjusted() <= last.adjusted() - precision // 4:
        return False
    return True if abs(gap - last) < gap / 1000 else None


@lru_cache(maxsize=4096)
def sample(name: str, trial: int) -> Decimal:
    """A pseudo-random real value for a letter; trials from 100 on give natural numbers."""
    digest = hashlib.blake2b(f"{trial}|{name}".encode(), digest_size=8).digest()
    part = int.from_bytes(digest, "big")
    if trial >= 100:
        return Decimal(2 + part % 9)
    low, high = map(Decimal, _RANGES[(trial + (part >> 50 if trial > 2 else 0)) % len(_RANGES)])
    return low + (high - low) * Decimal(part % 10**12) / 10**12


def agree(a: Node, b: Node, symbols: frozenset[str], tolerance: Decimal | None = None) -> bool:
    """Whether two expressions agree: as numbers, or wherever they are real as functions of their letters.

    Where neither side is real a difference of branches (`x sqrt x` and `sqrt(x^3)` at -1) is no
    disagreement; where one side alone is real it is.

    Raises:
        Undecided: too few points where both are defined.
        TooLarge: beyond the limits at every point.
    """
    if not symbols:
        try:
            return not compare(a, b, {}, tolerance)[0]
        except Undefined:
            return False
    names, trouble = sorted(symbols), "no point where both sides are defined"
    enough = PIECEWISE_POINTS if (facts(a).kinds | facts(b).kinds) & _PIECEWISE else POINTS
    for trials in (range(TRIALS), range(100, 100 + TRIALS)):
        agreed = branches = 0
        for trial in trials:
            try:
                differs, real = compare(a, b, {name: sample(name, trial) for name in names}, tolerance)
            except (Undefined, TooLarge) as error:
                trouble = str(error)
                continue
            if differs and real:
                return False
            agreed, branches = agreed + (not differs), branches + differs
            if agreed >= enough:
                return True
        if branches:
            return False
        if agreed >= POINTS:
            return True
        if agreed:
            break
    raise TooLarge(trouble) if trouble.startswith("too large") else Undecided(trouble)
