"""Given texts behind given prompts: their log-probs under an engine, prompts shared, problems with a cause.

Enters: an engine and (prompt, prefix, text) places. Leaves: log-probs of the text's tokens, what they cost,
and why some could not be had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, EngineError

NO_REFERENCE = "no reference: this reward scores the likelihood of a reference answer"
EMPTY = "empty answer: there are no tokens to score"
NO_ROOM = "prompt and answer do not fit into the engine's context"

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a text stands: a context read once for all rows that share it, ids given before the text, and
    the ids of the text itself, which alone are scored."""

    context: Ids
    given: Ids
    text: Ids


@dataclass(frozen=True)
class Scored:
    """Log-probs of texts.

    Attributes:
        stats: statistic -> Ragged float64, one row per place; empty rows where missing.
        causes: place -> why it is missing.
        forwards: token-forwards taken. apart: those of one full pass per place.
    """

    stats: Mapping[str, Ragged]
    causes: Mapping[int, str]
    forwards: int
    apart: int

    @property
    def logprobs(self) -> Ragged:
        """Log-prob of every token of every text."""
        return self.stats["logprob"]


def score_places(engine: Any, places: Sequence[Place], statistics: Sequence[str] = ("logprob",)) -> Scored:
    """Statistics of every text's tokens after its context and given ids.

    Equal places are computed once, equal contexts read once.

    Raises:
        EngineError: an engine that cannot give log-probs.
    """
    from guerdon.engines.distributions import forced, forwarded

    require_logprobs(engine)
    causes: dict[int, str] = {}
    number: dict[Place, int] = {}
    index = np.full(len(places), -1)
    for i, place in enumerate(places):
        if not place.text:
            causes[i] = EMPTY
        elif len(place.context) + len(place.given) + len(place.text) > engine.context:
            causes[i] = NO_ROOM
        else:
            index[i] = number.setdefault(place, len(number))
    distinct = list(number)
    contexts = [place.context for place in distinct]
    tokens = Ragged.from_lists([[*p.given, *p.text] for p in distinct], dtype=np.int32)
    flat = forced(engine, contexts, tokens, statistics)
    n_given = np.array([len(p.given) for p in distinct], np.int64)
    column = np.arange(tokens.total) - np.repeat(tokens.offsets[:-1], tokens.lengths)
    inside = column >= np.repeat(n_given, tokens.lengths)
    out = {}
    for name, values in flat.items():
        kept = Ragged.from_lengths(values[inside].astype(np.float64), tokens.lengths - n_given)
        out[name] = _spread(kept, index)
    cost = forwarded(engine, contexts, tokens) if distinct else (0, 0)
    return Scored(out, causes, *cost)


def _spread(rows: Ragged, index: np.ndarray) -> Ragged:
    """Rows by index, an empty row for -1."""
    present = index >= 0
    lengths = np.zeros(len(index), np.int64)
    lengths[present] = rows.lengths[index[present]]
    values = rows.select(index[present]).values if present.any() else np.empty(0)
    return Ragged.from_lengths(values.astype(np.float64), lengths)


def engine_of(given: Any, ctx: Context | None, who: str, name: str = "policy") -> Any:
    """The engine a reward asks: its own, or the run's.

    Raises:
        DataError: there is none.
    """
    found = given if given is not None else (ctx.engines.get(name) if ctx else None)
    if found is None:
        raise DataError(f"{who} has nobody to ask: give engine=..., or ctx with a {name} engine")
    return found


def require_logprobs(engine: Any) -> None:
    """Refuse what only talks.

    Raises:
        EngineError: the engine has no log-probs.
    """
    lacking = [
        name for name in ("states", "logits", "prompt_ids") if not callable(getattr(engine, name, None))
    ]
    if lacking:
        raise EngineError(
            f"{type(engine).__name__} gives no log-probs (it has no {lacking[0]}): take an engine that holds "
            f"the model, such as {{use: lab}} or {{use: hf}}"
        )


def with_ids(engine: Any, rollouts: Rollouts) -> Rollouts:
    """Rollouts with token ids of this engine's tokenizer: saved ones are checked, text alone is encoded.

    Raises:
        DataError: no prompts, or neither text nor tokens.
        EngineError: saved ids that are not this tokenizer's, or an engine without log-probs.
    """
    require_logprobs(engine)
    if rollouts.prompt is None:
        raise DataError("this reward needs rollouts with prompts")
    if rollouts.tokens is not None:
        check_ids(engine, rollouts)
        return rollouts
    ids = [engine.tokenizer.encode(rollouts.text(i)) for i in range(len(rollouts))]
    return rollouts.replace(tokens=Ragged.from_lists(ids, dtype=np.int32))


def check_ids(engine: Any, rollouts: Rollouts, names: Sequence[str] | None = None) -> None:
    """Refuse token ids of another tokenizer: out of its vocabulary, or of another text.

    Args:
        names: what to call the rows in messages.

    Raises:
        EngineError: names the row, what it should say and what the ids say.
    """
    tokens = rollouts.tokens
    assert tokens is not None
    size = engine.tokenizer.vocab_size
    bad = np.flatnonzero((tokens.values < 0) | (tokens.values >= size))
    if len(bad):
        row = int(np.searchsorted(tokens.offsets, bad[0], side="right")) - 1
        raise EngineError(
            f"{_named(names, row)}: token id {int(tokens.values[bad[0]])} is outside this vocabulary of "
            f"{size}: take the engine that sampled these rollouts, or drop their tokens to have the text "
            f"encoded"
        )
    if rollouts.completion is None:
        return
    for row, completion in enumerate(rollouts.completion):
        if not isinstance(completion, str):
            continue
        ids = tokens[row].tolist()
        said = engine.tokenizer.decode(ids)
        if said.split() != completion.split() and not _spells(engine.tokenizer, completion, ids):
            raise EngineError(
                f"{_named(names, row)}: its token ids read {said[:40]!r} under this tokenizer, its text is "
                f"{completion[:40]!r}: take the engine that sampled these rollouts, or drop their tokens to "
                f"have the text encoded"
            )


def _spells(tokenizer: Any, text: str, ids: Sequence[int]) -> bool:
    """Whether the text is encoded as these ids: it may show special tokens that decoding drops."""
    ends = {tokenizer.eos, tokenizer.pad}
    return bool(ids) and list(tokenizer.encode(text)) in (
        list(ids),
        list(ids[:-1]) if ids[-1] in ends else None,
    )


def _named(names: Sequence[str] | None, row: int) -> str:
    return names[row] if names else f"row {row}"


def prompt_ids(engine: Any, rollouts: Rollouts) -> list[Ids]:
    """Context ids of every row."""
    assert rollouts.prompt is not None
    return [tuple(engine.prompt_ids(prompt)) for prompt in rollouts.prompt]


def own_ids(engine: Any, rollouts: Rollouts) -> list[Ids]:
    """Completion ids of every row, without ids that end it."""
    assert rollouts.tokens is not None
    ends = {engine.tokenizer.eos, engine.tokenizer.pad}
    rows = [tuple(row.tolist()) for row in map(rollouts.tokens.__getitem__, range(len(rollouts)))]
    return [row[:-1] if row and row[-1] in ends else row for row in rows]


def encoded(engine: Any, text: str) -> Ids:
    """Ids of a text without special tokens."""
    return tuple(engine.tokenizer.encode(text))


def reference_texts(rollouts: Rollouts) -> list[str | None]:
    """The reference of every row as text; None where there is none."""
    return [
        str(r) if isinstance(r, str | int | float) and not isinstance(r, bool) and str(r).strip() else None
        for r in rollouts.reference or [None] * len(rollouts)
    ]


def inside_characters(engine: Any, ids: Ids, start: int, end: int) -> np.ndarray:
    """Which tokens lie wholly inside the characters [start, end) of the text they spell; bool (tokens,)."""
    pieces = engine.tokenizer.token_bytes(list(ids))
    edges = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])
    text = b"".join(pieces).decode("utf-8", errors="replace")
    low, high = len(text[:start].encode()), len(text[:end].encode())
    return (edges[:-1] >= low) & (edges[1:] <= high) & (np.diff(edges) > 0)
