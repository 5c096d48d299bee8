from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.errors import RecipeError
from guerdon.store.yaml_text import dump, load, parse_assignment

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(
        ["1e5", "no", "1:30", "2024-01-01", "0o7", "~", "null", "<<", "=", "+.inf", "1_000", "0x1F", ""]
    )
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(DATA)
def test_dump_and_load_are_inverse(data: Any):
    back = load(dump(data), "data")
    assert back == data and repr(back) == repr(data)  # repr tells 1 from 1.0 and from True


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("2.5E3", 2500.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("010", 10),
        ("0x1f", 31),
        ("0o17", 15),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("", None),
        ("[0.2, 0.28]", [0.2, 0.28]),
        ("{use: grpo}", {"use": "grpo"}),
        ("'5'", "5"),
    ],
)
def test_types_are_those_of_yaml_1_2(text: str, value: Any):
    back = load(text, "text")
    assert back == value and type(back) is type(value)


def test_merge_keys_still_work():
    assert load("a: &x {b: 1}\nc: {<<: *x, d: 2}", "text")["c"] == {"b": 1, "d": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 1\ntask: {use: chain\n", r"r\.yaml, line 3, column 1: not valid YAML: expected ',' or '}'"),
        ("a: 1\nb: 2\na: 3\n", r"r\.yaml, line 3, column 1: not valid YAML: 'a' is given twice"),
        ("a: b: c", r"r\.yaml, line 1, column 5"),
        ("a: !!python/object:os.system {}", r"r\.yaml, line 1, column 4"),
        ("a: \x07", r"r\.yaml: not valid YAML"),
        ("? [1]\n: 2", r"r\.yaml, line 1"),
    ],
)
def test_broken_yaml_is_placed(text: str, message: str):
    with pytest.raises(RecipeError, match=message):
        load(text, "r.yaml")


def test_what_yaml_cannot_hold_is_refused():
    with pytest.raises(RecipeError, match="cannot be written as YAML"):
        dump({"a": object()})


def test_assignments():
    assert parse_assignment("a.b = [1, x]") == ("a.b", [1, "x"])
    assert parse_assignment("stop==") == ("stop", "=")
    assert parse_assignment("out=") == ("out", None)
    for bad in ("scale", "=1", " =1"):
        with pytest.raises(RecipeError, match="expected key=value"):
            parse_assignment(bad)
    with pytest.raises(RecipeError, match=r"--set a=\[1"):
        parse_assignment("a=[1")
