"""OpenRLHF's protocol for rewards over HTTP: `--reward.remote_url http://HOST:PORT/openrlhf`.

It posts {query, prompts, labels}: whole texts, their prompts, and the ground truth; it takes {rewards,
scores, extra_logs}. A record is the query without its prompt. A sample without a verdict gets null; where it
is the only one of the request, `rewards` as a whole is null: what OpenRLHF itself uses for "no reward", and
then asks its reward model for. With `?missing=NUMBER` it gets that number, and `extra_logs.missing` says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from guerdon.adapters.openrlhf import completion_of
from guerdon.serve.desk import Scored
from guerdon.serve.refusals import Refusal

FIELDS = ("query", "queries", "prompts", "labels")


def to_records(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of a request.

    Raises:
        Refusal: 422, lists that are missing or of different lengths.
    """
    name = "query" if "query" in asked else "queries"
    queries = asked.get(name)
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise Refusal(422, f"{name}: expected a list of texts")
    columns = {"prompts": asked.get("prompts"), "labels": asked.get("labels")}
    for column, values in columns.items():
        if values is not None and (not isinstance(values, list) or len(values) != len(queries)):
            raise Refusal(422, f"{column}: expected a list of {len(queries)}, one for each query")
    prompts = columns["prompts"] or [""] * len(queries)
    labels = columns["labels"] or [None] * len(queries)
    return [
        {"prompt": prompt, "completion": completion_of(query, prompt), "reference": label}
        for query, prompt, label in zip(queries, prompts, labels, strict=True)
    ]


def worth(given: Sequence[str]) -> float | None:
    """What a sample without a verdict is worth by the query's `missing`; None where it is not there.

    Raises:
        Refusal: 422, no finite number.
    """
    if not given:
        return None
    try:
        value = float(given[-1])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refusal(422, f"missing: expected a finite number, got {given[-1][:40]!r}")
    return value


def answer(scored: Scored, label: str, worth: float | None = None) -> dict[str, Any]:
    """The reply: the reward asked for, all others as logs.

    Args:
        worth: of a sample without a verdict; None: null.

    Raises:
        Refusal: 422, a reward that gives more than one value per sample.
    """
    logs = {}
    for name in scored.signals[0]:
        levels = {signals[name]["level"] for signals in scored.signals if name in signals}
        if levels == {"rollout"}:
            logs[name] = _values(scored, name)
        elif name == label:
            raise Refusal(
                422, f"reward {label!r} has values per {', '.join(levels)}; OpenRLHF takes one per sample"
            )
    rewards = logs.pop(label)
    extra = {name: list(values) for name, values in logs.items() if None not in values}
    if worth is not None:
        extra["missing"] = [float(value is None) for value in rewards]
        rewards = [worth if value is None else value for value in rewards]
    known = None if rewards == [None] else rewards
    return {"rewards": known, "scores": known, "extra_logs": extra}


def _values(scored: Scored, name: str) -> Sequence[float | None]:
    return [signals[name]["values"][0] if name in signals else None for signals in scored.signals]
