"""Encoding of values: what goes in comes out, and nothing else can come out."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.sandbox.inside import values

ATOMS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers()),
)
HASHABLE = st.one_of(st.integers(), st.text(), st.booleans(), st.tuples(st.integers(), st.text()))
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        *(st.lists(inner), st.tuples(inner, inner), st.dictionaries(HASHABLE, inner), st.sets(HASHABLE)),
    ),
    max_leaves=20,
)


def handle(value: Any) -> str:
    return '{"handle":[0,"object","thing"]}'


decode = values.decoder(lambda content: ("stand-in", *content))


def same(a: Any, b: Any) -> bool:
    """Equal, of equal types, NaN like NaN and -0.0 like -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(k in b and same(v, b[k]) for k, v in a.items())
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return bool(a == b)


@given(TREES)
def test_round_trip(value: Any) -> None:
    assert same(decode(values.encode(value, handle)), value)


@given(TREES)
def test_plain_values_are_what_marshal_carries(value: Any) -> None:
    import marshal

    assert values.is_plain(value)
    assert same(marshal.loads(marshal.dumps(value)), value)


def test_what_marshal_would_change_is_not_plain() -> None:
    class Number(int):
        pass

    for value in (
        bytearray(b"x"),
        [bytearray(b"x")],
        {"a": {"b": bytearray()}},
        Number(3),
        (Number(3),),
        object,
        len,
    ):
        assert not values.is_plain(value)


def test_everything_else_is_a_handle() -> None:
    class Thing:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    assert decode(values.encode([Thing()], handle)) == [("stand-in", 0, "object", "thing")]


@pytest.mark.parametrize(
    "text",
    [
        '{"class":"os.system"}',
        '{"handle":[0],"tuple":[]}',
        '{"array":["|O",[1],""]}',
        '{"array":["V8",[1],"AAAAAAAAAAA="]}',
        '{"dict":[[[1],2]]}',
        '{"set":[[]]}',
        '{"tuple":5}',
        '{"Fraction":[1,0]}',
        '{"bytes":"\\u1234"}',
        "[1",
        "",
        "{}",
        "[" * 100_000,
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, RecursionError, ArithmeticError)):
        decode(text)
