"""Partitions from text: steps and turns of rollouts that came without them.

Enters: rollouts and a rule (blank lines, sentences, tags, any function `text -> ends`; who acted).
Leaves: the same rollouts with one more partition, counted in characters where there is only text and in
tokens where there are tokens.
"""

from __future__ import annotations

import codecs
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.splitters import (
    SPLITTERS,
    Splitter,
    blank_line,
    newline,
    regex,
    sentence,
    splitter,
    tags,
)
from guerdon.errors import DataError

__all__ = [
    "SPLITTERS",
    "Splitter",
    "acted_turns",
    "blank_line",
    "message_turns",
    "newline",
    "regex",
    "sentence",
    "split",
    "splitter",
    "tags",
    "text_spans",
    "token_spans",
]


class TokenBytes(Protocol):
    """The part of a tokenizer that splitting needs."""

    def token_bytes(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of every id, b"" for specials; joined, they are the UTF-8 text."""


def split(
    rollouts: Rollouts,
    by: str | Mapping[str, Any] | Splitter = "blank_line",
    level: str = "step",
    tokenizer: TokenBytes | None = None,
) -> Rollouts:
    """Add the partition `level`: steps found in the text, or turns found by who acted.

    Args:
        rollouts: with text, or with tokens.
        by: a splitter's name ("blank_line", "newline", "sentence", "tags", "regex"), a mapping
            `{"use": name, parameter: value}`, or a function text -> character ends; "acted" for turns by
            the column `acted` (`acted_turns`), "messages" for turns by assistant messages
            (`message_turns`).
        level: name of the partition. A "step" partition is also cut where turns end, since a step
            lies inside one turn.
        tokenizer: needed where there are tokens, unless `by` is "acted".

    Returns:
        Rollouts with the partition; an older one of that name is replaced.

    Raises:
        DataError: a tokenizer is missing; the splitter's ends do not partition a text (row named); the
            rollouts carry signals, states or nodes on an older partition of that name.
    """
    _refuse_orphans(rollouts, level)
    if by == "acted":
        ends = acted_turns(rollouts)
    elif by == "messages":
        ends = message_turns(rollouts)
    elif rollouts.tokens is None:
        ends = text_spans(rollouts, splitter(by))
    elif tokenizer is None:
        raise DataError("these rollouts have tokens: splitting their text needs `tokenizer`")
    else:
        ends = token_spans(rollouts.tokens, splitter(by), tokenizer)
    if level == "step" and "turn" in rollouts.partitions:
        ends = _union(ends, rollouts.partitions["turn"], rollouts.lengths)
    return rollouts.replace(partitions={level: ends})


def text_spans(rollouts: Rollouts, find: Splitter) -> Ragged:
    """Ends in characters of `rollouts.text(row)`, int64 ragged (N rows)."""
    texts = (rollouts.text(row) for row in range(len(rollouts)))
    return Ragged.from_lists([_ends(find, text, row) for row, text in enumerate(texts)], dtype=np.int64)


def token_spans(tokens: Ragged, find: Splitter, tokenizer: TokenBytes) -> Ragged:
    """Ends in tokens of the steps that `find` sees in the text the tokens stand for.

    The text split is what the tokens decode to, with U+FFFD for bytes that are no UTF-8. Usually that is
    the completion; where it is not (a stripped completion, chat markup), the tokens decide, because
    rewards land on tokens. With `byte_end[k]` the bytes up to and including token k, a step that ends at
    byte e ends after the first token k with `byte_end[k] >= e`: a token that straddles a boundary belongs
    to the earlier step. A step without a token of its own (one token spans several steps) is joined to
    the one whose token holds its end. Tokens without bytes (specials) belong to the step after them, at
    the end of the rollout to the last step. A rollout with tokens but no text is one step.

    Args:
        tokens: int ragged (N rows).
        find: splitter, text -> character ends.
        tokenizer: its `token_bytes` is called once per row.

    Returns:
        int64 ragged (N rows), ends in tokens.
    """
    sizes = np.zeros(tokens.total, np.int64)
    cuts: list[np.ndarray] = []
    done = 0
    for row in range(len(tokens)):
        pieces = tokenizer.token_bytes(tokens[row].tolist())
        at = slice(tokens.offsets[row], tokens.offsets[row + 1])
        if len(pieces) != at.stop - at.start:
            raise DataError(
                f"row {row}: the tokenizer gave {len(pieces)} byte strings for {at.stop - at.start} tokens"
            )
        sizes[at] = np.fromiter(map(len, pieces), np.int64, len(pieces))
        data = b"".join(pieces)
        text, starts = decode(data)
        inner = np.asarray(_ends(find, text, row)[:-1], dtype=np.int64)
        cuts.append(done + (inner if starts is None else starts[inner]))
        done += len(data)
    inside = np.searchsorted(np.cumsum(sizes), np.concatenate([np.empty(0, np.int64), *cuts])) + 1
    return _localise(np.union1d(inside, tokens.offsets[1:][tokens.lengths > 0]), tokens.offsets)


def decode(data: bytes) -> tuple[str, np.ndarray | None]:
    """Text of UTF-8 bytes, U+FFFD for broken ones, and the first byte of every character.

    Returns:
        `data.decode("utf-8", "replace")` and int64 (characters,), or None where every character is one
        byte.
    """
    _broken.spans = []
    text = data.decode("utf-8", _REPLACE)
    if len(text) == len(data):
        return text, None
    is_start = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    for start, end in _broken.spans:
        is_start[start:end] = False
        is_start[start] = True
    return text, np.flatnonzero(is_start)


_REPLACE = "guerdon.replace"
_broken = threading.local()


def _replace_broken(error: UnicodeError) -> tuple[str, int]:
    """Like the error handler "replace", but notes which bytes became one character."""
    assert isinstance(error, UnicodeDecodeError)
    _broken.spans.append((error.start, error.end))
    return "\ufffd", error.end


codecs.register_error(_REPLACE, _replace_broken)


def acted_turns(rollouts: Rollouts) -> Ragged:
    """Turns by who acted: a maximal run of the policy's tokens and the environment's tokens after it.

    Environment tokens before the first acted one belong to the first turn; a rollout where nobody acted
    is one turn.

    Returns:
        int64 ragged (N rows), ends in tokens.
    """
    if rollouts.acted is None:
        raise DataError("turns by 'acted' need tokens; for message lists use by='messages'")
    acted, offsets = rollouts.acted.values, rollouts.acted.offsets
    before = np.zeros(len(acted) + 1, np.int64)
    np.cumsum(acted, out=before[1:])
    starts = np.flatnonzero(acted[1:] & ~acted[:-1]) + 1
    row = np.searchsorted(offsets, starts, side="right") - 1
    starts = starts[before[starts] > before[offsets[row]]]
    return _localise(np.union1d(starts, offsets[1:][rollouts.acted.lengths > 0]), offsets)


def message_turns(rollouts: Rollouts) -> Ragged:
    """Turns of chat messages: an assistant message and all messages until the next one.

    Messages before the first assistant message belong to the first turn; a completion that is plain text
    is one turn. Characters are those of `rollouts.text(row)`, where a newline joins the messages.

    Returns:
        int64 ragged (N rows), ends in characters.
    """
    if rollouts.tokens is not None:
        raise DataError("turns by 'messages' count characters; these rollouts have tokens: use by='acted'")
    return Ragged.from_lists([_message_ends(rollouts, row) for row in range(len(rollouts))], dtype=np.int64)


def _message_ends(rollouts: Rollouts, row: int) -> list[int]:
    completion = (rollouts.completion or [])[row]
    length = len(rollouts.text(row))
    if isinstance(completion, str) or not length:
        return [length] if length else []
    starts, at = [], 0
    for message in completion:
        if message.get("role") == "assistant":
            starts.append(at)
        at += len(str(message.get("content") or "")) + 1
    return [*sorted({start for start in starts[1:] if 0 < start < length}), length]


def _ends(find: Splitter, text: str, row: int) -> list[int]:
    ends = [int(end) for end in find(text)]
    rising = all(a < b for a, b in zip([0, *ends], ends, strict=False))
    if not rising or (ends[-1] if ends else 0) != len(text):
        shown = f"{ends[:12]}{' ...' if len(ends) > 12 else ''}"
        raise DataError(
            f"row {row}: the splitter returned {shown}, expected character offsets that rise strictly "
            f"and end at {len(text)}"
        )
    return ends


def _union(a: Ragged, b: Ragged, lengths: np.ndarray) -> Ragged:
    """Cut at the ends of both; both partition rows of the given lengths."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    ends = [part.values + np.repeat(offsets[:-1], part.lengths) for part in (a, b)]
    return _localise(np.union1d(*ends), offsets)


def _localise(ends: np.ndarray, offsets: np.ndarray) -> Ragged:
    """Ends counted over all rows (rising) as ends inside each row; `offsets` are the rows' bounds."""
    row = np.searchsorted(offsets, ends, side="left") - 1
    return Ragged.from_lengths(ends - offsets[row], np.bincount(row, minlength=len(offsets) - 1))


def _refuse_orphans(rollouts: Rollouts, level: str) -> None:
    if level not in rollouts.partitions:
        return
    carried = [f"signal {name!r}" for name, signal in rollouts.signals.items() if signal.level == level]
    if level == "step":
        carried += [name for name in ("state", "node") if getattr(rollouts, name) is not None]
    if carried:
        raise DataError(
            f"splitting again would leave {', '.join(carried)} on the old {level!r} spans; drop them first"
        )
