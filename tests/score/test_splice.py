"""Signals spliced into the text of records, against parsing and writing the whole record."""

from __future__ import annotations

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.score.splice import Fragments, number_text, signal_text, with_signals

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_signals = st.none() | st.dictionaries(st.text() | st.sampled_from(["new", "other"]), _values, max_size=3)
_spaces = st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :\n ")])


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.text(), _values, min_size=1),
    _signals,
    st.booleans(),
    _spaces,
    st.booleans(),
    st.integers(0, 3),
)
def test_only_the_signals_change(record, signals, has, separators, ascii_only, place):
    record.pop("signals", None)
    if has:  # anywhere among the fields
        fields = list(record.items())
        fields.insert(min(place, len(fields)), ("signals", signals))
        record = dict(fields)
    line = json.dumps(record, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "replace")
    texts = {**signal_text("new", 0.5), **signal_text("other", {"": ["step", [1.0, None], {1: 'a "b"'}]})}
    expected = json.loads(line)
    expected["signals"] = {
        **(expected.get("signals") or {}),
        "new": {"level": "rollout", "values": [0.5]},
        "other": {"level": "step", "values": [1.0, None], "causes": {"1": 'a "b"'}},
    }
    spliced = with_signals(line, texts)
    assert json.loads(spliced) == expected
    assert with_signals(spliced, texts) == spliced


def test_what_is_around_stays_byte_for_byte():
    line = b'{ "a" : 1e5 ,"signals":{"x": {"level":"rollout","values":[1e999]}, "y" : 0}, "b":"\\u00e9" }'
    spliced = with_signals(line, signal_text("y", 1.0))
    y = b'"y":{"level":"rollout","values":[1.0]}'
    assert spliced == (
        b'{ "a" : 1e5 ,"signals":{"x": {"level":"rollout","values":[1e999]},' + y + b'}, "b":"\\u00e9" }'
    )


def test_numbers_as_records_have_them():
    assert [number_text(x) for x in (1.0, -0.5, 1e300, None, math.nan, math.inf, -math.inf)] == [
        "1.0",
        "-0.5",
        "1e+300",
        "null",
        "null",
        "1e999",
        "-1e999",
    ]


def test_names_that_need_care():
    ((_, text),) = signal_text('a"b\n', 2.0).items()
    assert json.loads("{" + text + "}") == {'a"b\n': {"level": "rollout", "values": [2.0]}}
    assert signal_text("x", None) == {}
    parts = signal_text("x", {"": ["rollout", [1.0], {}], "p": ["rollout", [2.0], {}]})
    assert list(parts) == ["x", "x.p"]


def test_fragments_are_the_ends_of_lines():
    fragments = Fragments("x")
    fragments._MOST = 3
    for _ in range(2):
        values = [0.1 * i for i in range(10)] + [0.0, 0.1]
        for value, end in zip(values, fragments.of(values), strict=True):
            assert json.loads(b'{"a":1' + end)["signals"]["x"]["values"] == [value]
            assert end.endswith(b"}\n")
