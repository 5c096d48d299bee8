"""Splitters: ends rise strictly, pieces join to the text, white space never stands alone."""

from __future__ import annotations

import gzip
import json
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.data.splitters import SPLITTERS, blank_line, newline, regex, sentence, splitter, tags
from guerdon.errors import DataError


def pieces(find, text):
    ends = find(text)
    return [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(
    ("find", "expected"),
    [
        (blank_line(), ["one\ntwo\n\n", "three\n \t\n\n", "  four"]),
        (blank_line(), ["a\r\n\r\n", "b"]),
        (blank_line(), ["\n\na\n\n", "b\n\n\n"]),
        (blank_line(), ["no blank line\n"]),
        (blank_line(), [" \n\n "]),
        (newline(), ["a\n", "b\n\n  \n", "c"]),
        (newline(), ["\n a\n", "b\n"]),
        (regex(r"(?=Step \d)"), ["Plan. ", "Step 1: a ", "Step 2: b"]),
        (regex(r";\s*"), ["a; ", "b;", "c"]),
        (regex("x"), []),
        (tags(), ["<step>a</step>\n", "<step>b</step>"]),
        (tags(), ["Plan.\n", "<step>a</step> ", "so ", '<STEP n="2">b\n</step>']),
        (tags(["think", "answer"]), ["<think>a <step>b</step></think>\n\n", "<answer>4</answer> ", "done"]),
        (tags("think"), ["so it is 4</think>", "The answer is 4."]),
        (tags("think"), ["<think>cut off <think>inside</think> and"]),
        (tags("step"), ["<stepping>a</stepping> b"]),
    ],
)
def test_literal_pieces(find, expected):
    assert pieces(find, "".join(expected)) == expected


@pytest.mark.parametrize(
    "expected",
    [
        ["It is 3.14 here. ", "Next one! ", "Really? ", "Yes."],
        ["Mr. Smith met Dr. Jones. ", "They left."],
        ["Use e.g. This or i.e. That. ", "Fine."],
        ["See Fig. 3 and Eq. (2). ", "The answer is no. ", "But No. 7 is."],
        ["1. Add the numbers. ", "Then stop.\n", "2. Subtract.\n", "Step 3. Check it."],
        ["The answer is B. ", "Next."],
        ['He said "stop." ', "Then (he left.) ", "End"],
        ["wait... what is it. ", "Well... ", "Then."],
        ["So x = 5. ", "Then y = 6."],
        ["so $x = 5.$ ", "**Done.** ", "End."],
        ["No stop here\n\n", "new paragraph"],
        ["今天很好。", "明天呢？", "好！"],
        ["lower case after. a full stop"],
        ["why? ", "because."],
        ['"Why?" he asked. ', "Then."],
        ["It costs 5.\n", "Total: 12.\n", "Done."],
    ],
)
def test_sentences(expected):
    assert pieces(sentence(), "".join(expected)) == expected


TEXT = st.text(alphabet="aB1 .!?\n\t\r\"'$<>/。é💡", max_size=60) | st.lists(
    st.sampled_from(
        ["<step>", "</step>", "<think>", "</think>", "a", " ", "\n", "\n\n", "Dr. ", "1. ", "Z. "]
    )
).map("".join)


@given(TEXT, st.sampled_from([blank_line(), newline(), sentence(), regex(r"\s"), regex(r"a|(?=B)"), tags()]))
@settings(max_examples=300, deadline=None)
def test_pieces_join_and_are_visible(text, find):
    ends = find(text)
    assert ends == sorted(set(ends)) and (ends[-1:] or [0])[0] == len(text) and 0 not in ends
    assert "".join(pieces(find, text)) == text
    if text.strip():
        assert all(piece.strip() for piece in pieces(find, text))
    else:
        assert len(ends) == (1 if text else 0)


def test_names_mappings_and_functions():
    assert splitter("newline")("a\nb") == [2, 3]
    assert splitter({"use": "regex", "pattern": ";"})("a;b") == [2, 3]
    assert splitter({"use": "tags", "names": ["x"]})("<x>a</x>b") == [8, 9]
    assert splitter(lambda text: [len(text)])("ab") == [2]
    assert set(SPLITTERS) == {"blank_line", "newline", "regex", "sentence", "tags"}
    with pytest.raises(DataError, match="unknown splitter 'newlines'; did you mean 'newline'"):
        splitter("newlines")
    with pytest.raises(DataError, match=r"splitter 'regex': .*pattern"):
        splitter("regex")
    with pytest.raises(DataError, match=r"pattern '\(' is not a regular expression"):
        regex("(")
    with pytest.raises(DataError, match="one tag name or more"):
        tags([])


@pytest.mark.parametrize("name", ["blank_line", "newline", "sentence", "tags"])
@pytest.mark.parametrize("unit", ["\n", " \n", ". ", "A. ", "<step>", "</step>", ".", "word "])
def test_time_is_linear(name, unit):
    start = time.perf_counter()
    splitter(name)(unit * (50_000 // len(unit)))
    assert time.perf_counter() - start < 3


@pytest.mark.skipif("GUERDON_DATA" not in os.environ, reason="GUERDON_DATA is not set")
def test_steps_of_real_solutions():
    path = os.path.join(os.environ["GUERDON_DATA"], "processbench", "math.jsonl.gz")
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file][:300]
    for row in rows:
        text = "\n\n".join(row["steps"])
        found = [piece.strip() for piece in pieces(blank_line(), text)]
        expected = [part.strip() for step in row["steps"] for part in step.split("\n\n") if part.strip()]
        assert found == expected
