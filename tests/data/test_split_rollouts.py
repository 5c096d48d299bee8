"""Partitions of rollouts: characters, tokens, turns, and how they nest."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.data import Ragged, Rollouts, Signal
from guerdon.data.spans import acted_turns, decode, message_turns, split, token_spans
from guerdon.data.splitters import newline, regex
from guerdon.engines.tokenizer import ByteTokenizer
from guerdon.errors import DataError


class Pieces:
    """Tokenizer over a given list of byte strings; b"" are specials."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def token_bytes(self, ids):
        return [self.pieces[i] for i in ids]


def tokens_of(*rows) -> Ragged:
    return Ragged.from_lists(rows, np.int32)


def test_text_is_split_by_characters():
    made = split(Rollouts(completion=["é\n\nb", "", "c"]))
    assert made.partitions["step"].to_lists() == [[3, 4], [], [1]]
    assert made.levels == ("step", "rollout", "group")


def test_messages_are_split_as_their_text():
    completion = [[{"role": "assistant", "content": "a\n\nb"}, {"role": "tool", "content": "c"}]]
    made = split(Rollouts(completion=completion))
    assert made.text(0) == "a\n\nb\nc"
    assert made.partitions["step"].to_lists() == [[3, 6]]


def test_bytes_of_one_character_stay_together():
    text = "é\nñ💡\nx"
    ids = [*ByteTokenizer().encode(text), ByteTokenizer.eos]
    made = split(Rollouts(completion=[text], tokens=tokens_of(ids)), "newline", tokenizer=ByteTokenizer())
    assert made.partitions["step"].to_lists() == [[3, 10, 12]]  # eos belongs to the last step


def test_tokens_of_several_characters():
    #                  0     1       2      3     4      5     6     7         8
    vocab = Pieces(b"ab", b"c\n", b"\nd", b"e", b"\xf0\x9f", b"\x92\xa1", b"", b"f\ng\nh", b"\n")
    spans = lambda *ids: token_spans(tokens_of(ids), newline(), vocab).to_lists()[0]  # noqa: E731
    assert spans(0, 1, 3) == [2, 3]
    assert spans(0, 2, 3) == [2, 3]  # "\nd" straddles: it goes to the step that it ends
    assert spans(4, 5, 8, 4, 5) == [3, 5]
    assert spans(4, 2, 3) == [2, 3]  # broken character, then the boundary
    assert spans(0, 7, 3) == [2, 3]  # "g" has no token of its own
    assert spans(6, 0, 8, 6, 3, 6, 6) == [3, 7]  # specials: before, between, at the end
    assert spans(6, 6) == [2] and spans() == []


def test_tokens_decide_where_they_differ_from_the_completion():
    made = Rollouts(completion=["stripped"], tokens=tokens_of(ByteTokenizer().encode(" a\nb ")))
    assert split(made, "newline", tokenizer=ByteTokenizer()).partitions["step"].to_lists() == [[3, 5]]


def byte_oracle(pieces: list[bytes], find) -> list[int]:
    """End of each step by walking over tokens one by one."""
    data = b"".join(pieces)
    text = data.decode("utf-8", "replace")
    before, ends = {}, []
    for at in range(len(text) + 1):  # bytes before character `at`: the shortest prefix that decodes so far
        before[at] = next(n for n in range(len(data) + 1) if same_start(data, n, text, at))
    for char_end in find(text):
        covered = 0
        for k, piece in enumerate(pieces):
            covered += len(piece)
            if covered >= before[char_end]:
                ends.append(k + 1)
                break
    return sorted({*ends[:-1], len(pieces)}) if pieces else []


def same_start(data: bytes, n: int, text: str, at: int) -> bool:
    head, tail = data[:n].decode("utf-8", "replace"), data[n:].decode("utf-8", "replace")
    return head == text[:at] and head + tail == text


PIECE = st.sampled_from(
    [
        b"",
        b"a",
        b"\n",
        b"a\n",
        b"\nb",
        b"\n\n",
        b"x\ny\nz",
        "é".encode(),
        b"\xc3",
        b"\xa9",
        b"\xf0\x9f\x92",
        b"\xff",
    ]
)


@given(st.lists(st.lists(PIECE, max_size=7), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_tokens_against_an_oracle(rows):
    vocab = Pieces(*(piece for row in rows for piece in row))
    ids = np.split(np.arange(len(vocab.pieces)), np.cumsum([len(row) for row in rows])[:-1])
    for find in (newline(), regex("(?<=a)|\ufffd")):
        found = token_spans(tokens_of(*ids), find, vocab).to_lists()
        assert found == [byte_oracle(row, find) for row in rows]


@given(st.binary(max_size=30) | st.text().map(lambda text: text.encode()[1:]))
@settings(max_examples=200, deadline=None)
def test_decode_places_every_character(data):
    text, starts = decode(data)
    assert text == data.decode("utf-8", "replace")
    starts = np.arange(len(data)) if starts is None else starts
    assert len(starts) == len(text)
    parts = [data[a:b] for a, b in pairwise([*starts.tolist(), len(data)])]
    assert b"".join(parts) == data
    for character, part in zip(text, parts, strict=True):
        assert part.decode("utf-8", "replace") == character


@given(st.lists(st.text(alphabet="ab\né💡", max_size=12), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_byte_tokens_agree_with_characters(texts):
    tokenizer = ByteTokenizer()
    plain = split(Rollouts(completion=texts), "newline").partitions["step"].to_lists()
    tokens = tokens_of(*map(tokenizer.encode, texts))
    found = split(Rollouts(completion=texts, tokens=tokens), "newline", tokenizer=tokenizer).partitions[
        "step"
    ]
    expected = [[len(text[:end].encode()) for end in ends] for text, ends in zip(texts, plain, strict=True)]
    assert found.to_lists() == expected


def test_turns_by_who_acted():
    acted = [[1, 1, 0, 0, 1, 0], [0, 0, 1, 0, 1, 1], [1, 1], [], [0, 0], [1, 0, 1]]
    rows = Ragged.from_lists([np.array(row, bool) for row in acted], bool)
    made = Rollouts(tokens=rows.with_values(np.zeros(rows.total, np.int32)), acted=rows)
    assert acted_turns(made).to_lists() == [[4, 6], [4, 6], [2], [], [2], [2, 3]]
    assert split(made, "acted", "turn").count("turn") == 8
    with pytest.raises(DataError, match="use by='messages'"):
        split(Rollouts(completion=["a"]), "acted", "turn")


@given(st.lists(st.lists(st.booleans(), max_size=8), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_turns_against_an_oracle(acted):
    rows = Ragged.from_lists([np.array(row, bool) for row in acted], bool)
    made = Rollouts(tokens=rows.with_values(np.zeros(rows.total, np.int32)), acted=rows)
    expected = []
    for row in acted:
        seen, ends = False, []
        for at, now in enumerate(row):
            if now and at and not row[at - 1] and seen:
                ends.append(at)
            seen |= now
        expected.append([*ends, len(row)] if row else [])
    assert acted_turns(made).to_lists() == expected


def test_turns_by_messages():
    say = lambda role, content: {"role": role, "content": content}  # noqa: E731
    completion = [
        [say("assistant", "ab"), say("tool", "c"), say("assistant", "d")],
        [say("user", "x"), say("assistant", "y"), say("user", "z")],
        [say("assistant", None), say("tool", "t"), say("assistant", "")],
        "plain",
        [],
    ]
    made = Rollouts(completion=completion)
    assert message_turns(made).to_lists() == [[5, 6], [5], [3], [5], []]
    assert split(made, "messages", "turn").levels == ("turn", "rollout", "group")
    with pytest.raises(DataError, match="use by='acted'"):
        message_turns(Rollouts(completion=["a"], tokens=tokens_of([1])))


def test_steps_end_where_turns_end():
    text = "a\nb\nc"
    acted = Ragged.from_lists([np.array([1, 1, 1, 0, 1], bool)], bool)
    made = Rollouts(completion=[text], tokens=tokens_of(ByteTokenizer().encode(text)), acted=acted)
    made = split(split(made, "acted", "turn"), "newline", tokenizer=ByteTokenizer())
    assert made.partitions["turn"].to_lists() == [[4, 5]]
    assert made.partitions["step"].to_lists() == [[2, 4, 5]]
    crossing = Rollouts(completion=["ab\ncd"], partitions={"turn": Ragged.from_lists([[1, 5]], np.int64)})
    assert split(crossing, "newline").partitions["step"].to_lists() == [[1, 3, 5]]


def test_any_level_and_any_function():
    made = split(Rollouts(completion=["a\nb\nc"]), lambda text: [4, 5], level="thought")
    made = split(made, "newline")
    assert made.levels == ("step", "thought", "rollout", "group")
    assert made.partitions["thought"].to_lists() == [[4, 5]]


def test_splitting_again_replaces_unless_something_hangs_on_it():
    made = split(Rollouts(completion=["a\nb", "c"]), "newline")
    assert split(made, "blank_line").partitions["step"].to_lists() == [[3], [1]]
    with pytest.raises(DataError, match="would leave signal 'prm' on the old 'step' spans"):
        split(made.with_signal(Signal(np.zeros(3), "step", "prm")), "blank_line")
    with pytest.raises(DataError, match="would leave state on the old"):
        split(made.replace(state=np.zeros(3, np.int64)), "blank_line")


def test_what_goes_wrong_is_named():
    tokens = Rollouts(completion=["a"], tokens=tokens_of([3]))
    with pytest.raises(DataError, match="splitting their text needs `tokenizer`"):
        split(tokens)
    for ends in ([1], [2, 1, 3], [0, 3], [], [3, 3], [4]):
        with pytest.raises(DataError, match=r"row 1: the splitter returned .* end at 3"):
            split(Rollouts(completion=["", "abc"]), lambda text, e=ends: e if text else [])

    class Short:
        def token_bytes(self, ids):
            return []

    with pytest.raises(DataError, match="row 0: the tokenizer gave 0 byte strings for 1 tokens"):
        split(tokens, tokenizer=Short())
