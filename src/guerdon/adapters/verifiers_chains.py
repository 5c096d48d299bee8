"""Rollouts that came from elsewhere as new traces of verifiers: chains of messages, one per rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from guerdon.adapters.verifiers_graph import COMPACT
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError


def new_trace(rollouts: Rollouts, row: int) -> dict[str, Any]:
    """One rollout as a trace that `verifiers.v1.WireTrace.model_validate` takes.

    Its prompt's messages have no tokens; its task is of type "guerdon", keyed by the rollout's group.

    Raises:
        DataError: messages that do not fit the tokens.
    """
    assert rollouts.tokens is not None and rollouts.acted is not None
    prompt = None if rollouts.prompt is None else rollouts.prompt[row]
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt or [])
    after = None if rollouts.completion is None else rollouts.completion[row]
    messages = [{"role": "assistant", "content": after or ""}] if not isinstance(after, list) else after
    nodes: list[dict[str, Any]] = [_node(message) for message in before]
    acted = rollouts.acted[row].astype(bool)
    for message, (start, stop) in zip(messages, _spans(messages, acted.tolist(), row), strict=True):
        mask = acted[start:stop]
        node = _node(message) | {
            "sampled": bool(mask.any()) or message.get("role") == "assistant",
            "token_ids": rollouts.tokens[row][start:stop].tolist(),
            "mask": mask.tolist(),
        }
        for theirs, ours in COMPACT.items():
            column = getattr(rollouts, ours)
            if column is not None and mask.any():
                values = column[row][start:stop][mask]
                if not np.isnan(values).all():
                    node[theirs] = values.tolist()
        nodes.append(node)
    for at, node in enumerate(nodes):
        node["parent"] = at - 1 if at else None
    data = {"reference": (rollouts.reference or [None] * len(rollouts))[row]}
    last = max((at for at, node in enumerate(nodes) if node["sampled"]), default=None)
    call = {"node": last, "finish_reason": "length" if rollouts.truncated[row] else "stop"}
    return {
        "id": f"{row:032x}" if rollouts.id is None else rollouts.id[row],
        "task": {"type": "guerdon", "data": data, "key": str(rollouts.group[row])},
        "agent": {"name": "guerdon", "config": {}},
        "nodes": nodes,
        "calls": [call],
        "rewards": {},
        "metrics": {},
        "is_completed": True,
        "ok": True,
    }


def _node(message: Any) -> dict[str, Any]:
    return {"parent": None, "message": message, "sampled": False, "token_ids": [], "mask": [], "logprobs": []}


def _spans(messages: Sequence[Mapping[str, Any]], acted: Sequence[bool], row: int) -> list[tuple[int, int]]:
    """The tokens of every message: runs of the policy's are its messages, what lies between them the rest.

    Several messages between two of the policy's cannot be told apart: the first of them has the tokens.
    """
    if len(messages) == 1:
        return [(0, len(acted))]
    edges = [0, *(i for i in range(1, len(acted)) if acted[i] != acted[i - 1]), len(acted)]
    runs = [(a, b) for a, b in pairwise(edges) if b > a]
    spans, at = [], 0
    for i, message in enumerate(messages):
        mine = message.get("role") == "assistant"
        fits = at < len(runs) and acted[runs[at][0]] == mine
        again = i > 0 and not mine and messages[i - 1].get("role") != "assistant"
        if fits and not again:
            spans.append(runs[at])
            at += 1
        else:
            spans.append((spans[-1][1], spans[-1][1]) if spans else (0, 0))
    if at != len(runs):
        raise DataError(f"row {row}: {len(runs)} runs of tokens do not fit its {len(messages)} messages")
    return spans
