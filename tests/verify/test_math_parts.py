"""The parts of the fast path by themselves: characters, parser, numbers, regions, relations, words, units."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.verify.maths import exact, numeric
from guerdon.verify.maths.answers import read
from guerdon.verify.maths.chars import to_ascii
from guerdon.verify.maths.evaluate import evaluate
from guerdon.verify.maths.kinds import Assigned, Contradiction, Number, Reals, Tuple, Values
from guerdon.verify.maths.lexer import Foreign, Unreadable, repeating_value, tokenize
from guerdon.verify.maths.parser import parse
from guerdon.verify.maths.regions import complement, intersection, interval, points, same_region, union
from guerdon.verify.maths.relations import relation, same_relation
from guerdon.verify.maths.rounding import repeating
from guerdon.verify.maths.units import canonical_unit, conflicting
from guerdon.verify.maths.words import choice_letter, choice_letters, number_in_words, plain_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("−７", "-7"),
        ("2½", "2\\frac{1}{2}"),
        ("1²", "1^{2}"),
        ("1011₂", "1011_{2}"),
        ("0.3\u0305", "0.\\overline{3}"),
        ("４\u200b２", "42"),
        ("٤٢", "42"),
        ("x ≤ 5", "x \\le  5"),
        ("\u202e42", None),
        ("a\x00b", None),
    ],
)
def test_characters_mean_what_they_show(text, shown):
    assert to_ascii(text) == shown


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234,567", 1234567),
        ("1 234 567", 1234567),
        ("1{,}234", 1234),
        ("1.234.567,50", Fraction(2469135, 2)),
        ("3.2e+05", 320000),
        ("0.\\overline{27}", Fraction(3, 11)),
        ("0.1(6)", Fraction(1, 6)),
        ("0.\\dot{1}4\\dot{7}", Fraction(49, 333)),
        (".5", Fraction(1, 2)),
    ],
)
def test_written_numbers(text, value):
    ((kind, number, _),) = tokenize(text)
    assert kind == "num" and number.value == value


def test_thousands_separators_inside_brackets_separate_items():
    assert len(tokenize("(1,234)")) == 5
    assert len(tokenize("(1,000, 2,000)")) == 5


def test_repeating_value():
    assert repeating_value("0", "1", "6") == Fraction(1, 6)
    assert repeating_value("", "", "9") == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-2^2", -4),
        ("(-2)^2", 4),
        ("2^{3^2}", 512),
        ("3\\frac12", Fraction(7, 2)),
        ("-3\\frac{1}{2}", Fraction(-7, 2)),
        ("3 1/2", Fraction(7, 2)),
        ("1/2/2", Fraction(1, 4)),
        ("2 \\cdot -3", -6),
        ("--5", 5),
        ("50\\%", Fraction(1, 2)),
        ("33\\frac13\\%", Fraction(1, 3)),
        ("5!", 120),
        ("{10 \\choose 3}", 120),
        ("\\lfloor -2.5 \\rfloor", -3),
        ("|{-3}|", 3),
        ("||{-3}|-5|", 2),
        ("\\sqrt[3]{-8}", -2),
        ("16^{3/4}", 8),
        ("2.5 \\text{ million}", 2_500_000),
        ("\\frac{\\frac12}{3}", Fraction(1, 6)),
        ("{1 \\over 4}", Fraction(1, 4)),
        ("\\max(3, 5)", 5),
        ("\\gcd(12, 18)", 6),
        ("(1+2)(3+4)", 21),
        ("2(3)", 6),
    ],
)
def test_rational_values(text, value):
    assert exact.rational(parse(text).tree) == value


@pytest.mark.parametrize(
    "text", ["3 4", "1 +", "(1", "x of y", "", "\\frac{1}", "1,", "\\foo", "5 if 3", "2x3"]
)
def test_malformed_text_is_unreadable(text):
    with pytest.raises(Unreadable):
        parse(text)


@pytest.mark.parametrize("text", ["\\int x dx", "\\frac{d}{dx} x", "\\lim x", "1+\\ldots+5", "5!!"])
def test_other_mathematics_is_foreign(text):
    with pytest.raises(Foreign):
        parse(text)


def test_units_are_set_aside():
    assert parse("9.8 \\text{ m/s}^2").units == [(("m", 1), ("s", -2))]
    assert parse("5 kilometers per hour").units == [(("h", -1), ("km", 1))]
    assert parse("12 apples").units == [(("apple", 1),)]
    assert parse("5x").units == []
    with pytest.raises(Unreadable):
        parse("3 hours 20 minutes")


def test_units_conflict_only_where_both_are_there():
    cm, kg = canonical_unit([("centimeters", 1)]), canonical_unit([("kg", 1)])
    assert cm == (("cm", 1),)
    assert conflicting(cm, kg) and not conflicting(cm, None) and not conflicting(cm, cm)
    assert canonical_unit([("square", 1), ("meters", 1)]) == canonical_unit([("m", 2)])
    assert canonical_unit([("mph", 1)]) == canonical_unit([("miles", 1), ("hour", -1)])
    assert not conflicting(canonical_unit([("red", 1), ("apples", 1)]), canonical_unit([("apple", 1)]))
    assert conflicting(canonical_unit([("apples", 1)]), canonical_unit([("oranges", 1)]))


@settings(max_examples=150, deadline=None)
@given(
    st.floats(-50, 50, allow_nan=False),
    st.sampled_from(["sin", "cos", "arctan", "exp", "ln", "arcsin", "tanh"]),
)
def test_functions_agree_with_the_standard_library(x, name):
    if name == "ln":
        x = abs(x) + 0.01
    if name == "arcsin":
        x = x / 50
    known = {"arctan": math.atan, "ln": math.log, "arcsin": math.asin}.get(name) or getattr(math, name)
    node = ("fn", name, (("num", Fraction(x), False),))
    value, _ = evaluate(node, {}, 40)
    assert float(value) == pytest.approx(known(x), rel=1e-12, abs=1e-14)


def test_functions_at_high_precision():
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(80), decimal.localcontext(numeric.context(70)):
        x = Decimal("12.3456789012345678901234567890")
        point = mpmath.mpf("12.3456789012345678901234567890")
        sine, cosine = numeric.sine_cosine(x)
        for ours, theirs in (
            (sine, mpmath.sin(point)),
            (cosine, mpmath.cos(point)),
            (numeric.arctangent(x), mpmath.atan(point)),
            (numeric.pi(), mpmath.pi),
            (numeric.real_root(x, 7), mpmath.root(point, 7)),
        ):
            assert abs(mpmath.mpf(str(ours)) - theirs) < mpmath.mpf(10) ** -65


def test_complex_functions():
    with decimal.localcontext(numeric.context(40)):
        i = (Decimal(0), Decimal(1))
        assert numeric.multiply(i, i) == -1
        assert numeric.exponential(numeric.multiply(i, numeric.pi())) == -1
        assert numeric.power(Decimal(-4), Decimal("0.5")) == (0, 2)
        assert numeric.modulus((Decimal(3), Decimal(4))) == 5
        assert numeric.divide(Decimal(1), i) == (0, -1)
        with pytest.raises(exact.Undefined):
            numeric.divide(i, Decimal(0))


def test_residues_identify_rational_functions():
    one, other = parse("(x+y)^3").tree, parse("x^3+3x^2y+3xy^2+y^3").tree
    assert all(exact.residue(one, t) == exact.residue(other, t) for t in range(4))
    assert exact.residue(parse("i^2").tree, 0) == exact.PRIME - 1
    assert pow(2, exact.PRIME - 1, exact.PRIME) == 1
    with pytest.raises(exact.NotRational):
        exact.residue(parse("\\sqrt{x}").tree, 0)


def n(text):
    return parse(text).tree


def test_regions():
    whole = union(interval(n("0"), True, n("1"), False), interval(n("1"), True, n("2"), True))
    assert same_region(whole, interval(n("0"), True, n("2"), True))
    gap = union(interval(n("0"), True, n("1"), False), interval(n("1"), False, n("2"), True))
    assert len(gap) == 2
    assert same_region(complement(gap), union(complement(whole), points([n("1")])))
    assert same_region(intersection(whole, points([n("1"), n("5")])), points([n("1")]))
    assert same_region(points([n("\\frac12"), n("0.5")]), points([n("1/2")]))
    assert interval(n("1"), True, n("1"), False) == ()


def test_relations():
    line = relation(n("y"), "=", n("2x+3"))
    assert same_relation(line, relation(n("4x+6"), "=", n("2y")))
    assert not same_relation(line, relation(n("y"), "=", n("2x-3")))
    assert not same_relation(line, relation(n("y"), "<", n("2x+3")))
    assert same_relation(relation(n("y"), "=", n("\\frac1x")), relation(n("xy"), "=", n("1")))
    assert same_relation(relation(n("y"), "<", n("2x")), relation(n("4x"), ">", n("2y")))
    assert not same_relation(relation(n("y"), "<", n("2x")), relation(n("-y"), "<", n("-2x")))


def test_meanings():
    assert isinstance(read("x=3, y=4").meaning, Assigned)
    assert isinstance(read("57 = 58").meaning, Contradiction)
    assert isinstance(read("x = 6*7 = 42").meaning.value, Number)
    assert len(read("3 \\pm \\sqrt 7").meaning.items) == 2
    assert isinstance(read("(3, -1)").meaning, Tuple)
    assert isinstance(read("-2 < x \\le 5").meaning, Reals)
    assert isinstance(read("1, 2 and 3").meaning, Values)
    assert read("(\\pm 1, 2)").meaning.items[1].items[0] == Number(("neg", ("num", Fraction(1), False)))


@pytest.mark.parametrize(
    ("whole", "period", "certain"),
    [
        ("0.333", Fraction(1, 3), True),
        ("0.33", Fraction(1, 3), True),
        ("0.166", Fraction(1, 6), False),
        ("0.1212", Fraction(4, 33), True),
        ("3.14159", None, False),
        ("2.500", None, False),
    ],
)
def test_visible_periods(whole, period, certain):
    ((_, number, _),) = tokenize(whole)
    assert repeating(number) == (period, certain)


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("forty two", "42"),
        ("one hundred and five", "105"),
        ("two million", "2000000"),
        ("three quarters", "3/4"),
        ("minus seven", "-7"),
        ("three and a half", "7/2"),
        ("five twenty", None),
        ("hundred", None),
        ("apples", None),
    ],
)
def test_numbers_in_words(words, number):
    assert number_in_words(words) == number


def test_words():
    assert plain_text("\\text{ Right  Triangle }.") == "right triangle"
    assert choice_letter("\\textbf{(B)}") == "B"
    assert choice_letter("Option C.") == "C"
    assert choice_letter("cat") is None
    assert choice_letters("(A) and (C)") == {"A", "C"}
    assert choice_letters("A or C") is None
