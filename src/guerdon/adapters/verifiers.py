"""verifiers' traces (message graphs, as the plain dicts of their JSON) to Rollouts and back.

A trace stores every message once, as a node that knows its predecessor; a path from a root to a leaf is one
rollout. What comes before the first sampled message is the prompt. A step is a sampled message and whatever
follows it until the next one; steps that several paths share carry one `node`, so that methods for trees see
the tree. `trace.rewards` become signals `NAME`, and `outcome` is their weighted sum.

The trace itself rides along in `meta`, so that the way back gives the same trace with what was added:
`node.advantages`, compact over the sampled tokens as verifiers' trainers read them, and rewards.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np

from guerdon.data.keys import stable_key
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError

KEY = "verifiers"
_PER_TOKEN = {
    "logprobs": "logprobs",
    "reference_logprobs": "ref_logprobs",
    "entropies": "entropy",
    "advantages": "advantages",
}


def from_traces(traces: Iterable[Mapping[str, Any]]) -> Rollouts:
    """One rollout per root-to-leaf path that holds a sampled message.

    Args:
        traces: as `trace.model_dump(mode="json")` gives them; token ids are needed.

    Returns:
        Rollouts grouped by `task.key` (else `task.hash`, else the task's content), with `step` partition,
        `state`-free `node` ids, log-probabilities NaN on tokens that were not sampled.

    Raises:
        DataError: a node whose parent, mask or values do not fit (trace and node named), or no path at all.
    """
    rows: dict[str, Any] = {name: [] for name in ("group", "prompt", "completion", "reference", "meta")}
    paths: list[list[Mapping[str, Any]]] = []
    ends: list[list[int]] = []
    ids: list[int] = []
    kept: list[Mapping[str, Any]] = []
    for number, trace in enumerate(traces):
        nodes = trace.get("nodes") or []
        _check_nodes(nodes, number)
        for leaf, path in _paths(nodes):
            sampled = [i for i, at in enumerate(path) if nodes[at].get("sampled")]
            if not sampled:
                continue
            own = [nodes[at] for at in path[sampled[0] :]]
            paths.append(own)
            ends.append(_step_ends(own))
            ids += [stable_key(f"{number}/{path[i]}") for i in sampled]
            rows["group"].append(_group(trace, nodes, path[: sampled[0]]))
            rows["prompt"].append([nodes[at]["message"] for at in path[: sampled[0]]])
            rows["completion"].append([node["message"] for node in own])
            rows["reference"].append((trace.get("task") or {}).get("data"))
            rows["meta"].append({KEY: {"trace": trace, "number": number, "leaf": leaf}})
            kept.append(trace)
    if not paths:
        raise DataError("there is no sampled message in these traces")
    tokens = Ragged.from_lists([[t for n in own for t in n["token_ids"]] for own in paths], np.int32)
    acted = np.array([bool(m) for own in paths for n in own for m in n["mask"]], bool)
    columns: dict[str, Any] = {
        ours: _column(paths, theirs, tokens, acted) for theirs, ours in _PER_TOKEN.items()
    }
    cut = [own[-1].get("finish_reason") == "length" for own in paths]
    return Rollouts(
        tokens=tokens,
        acted=tokens.with_values(acted),
        truncated=np.array(cut),
        partitions={"step": Ragged.from_lists(ends, np.int64)},
        node=np.array(ids, np.int64),
        signals=_signals(kept),
        **columns,
        **rows,
    )


def to_traces(rollouts: Rollouts, rewards: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The traces that rollouts came from, with advantages and rewards; new ones where there are none.

    Args:
        rollouts: of `from_traces`, maybe with `advantages`; or any with tokens and completions.
        rewards: signals at rollout level to be written into `trace.rewards`, weight 1; a missing value is
            None. Of several paths of one trace the last one's value counts.

    A node on several paths gets the mean of their advantages: credit that knows of the tree gives them the
    same one. A new trace has no `agent`, which only verifiers itself can fill.

    Raises:
        DataError: no tokens, a signal that is not there, or completions whose turns do not fit the tokens.
    """
    if rollouts.tokens is None:
        raise DataError("traces need tokens; these rollouts have text only")
    for name in rewards:
        if name not in rollouts.signals or rollouts.signals[name].level != "rollout":
            raise DataError(f"expected a signal {name!r} per rollout, to be written as a reward")
    found: dict[Any, dict[str, Any]] = {}
    sums: dict[tuple[Any, int], tuple[np.ndarray, int]] = {}
    for row in range(len(rollouts)):
        origin = ((rollouts.meta or [{}] * len(rollouts))[row] or {}).get(KEY)
        key: Any = ("row", row) if origin is None else ("trace", origin["number"])
        if key not in found:
            found[key] = _new_trace(rollouts, row) if origin is None else copy.deepcopy(dict(origin["trace"]))
        trace = found[key]
        for name in rewards:
            value = float(rollouts.signals[name].values[row])
            trace.setdefault("rewards", {})[name] = (
                None if np.isnan(value) else {"score": value, "weight": 1.0}
            )
        if rollouts.advantages is not None:
            leaf = len(trace["nodes"]) - 1 if origin is None else origin["leaf"]
            _add_advantages(trace["nodes"], leaf, rollouts.advantages[row], key, sums)
    for (key, at), (total, count) in sums.items():
        found[key]["nodes"][at]["advantages"] = (total / count).tolist()
    return list(found.values())


def _check_nodes(nodes: Sequence[Mapping[str, Any]], number: int) -> None:
    for at, node in enumerate(nodes):
        where = f"trace {number}: node {at}"
        parent = node.get("parent")
        if parent is not None and not 0 <= parent < at:
            raise DataError(f"{where}: parent {parent!r} is no earlier node")
        if len(node.get("mask", ())) != len(node.get("token_ids", ())):
            raise DataError(f"{where}: mask and token_ids differ in length")
        chosen = sum(map(bool, node.get("mask", ())))
        for name in _PER_TOKEN:
            values = node.get(name)
            if values and len(values) != chosen:
                raise DataError(
                    f"{where}: expected {chosen} {name}, one per sampled token, got {len(values)}"
                )


def _paths(nodes: Sequence[Mapping[str, Any]]) -> list[tuple[int, list[int]]]:
    """Every leaf with the nodes from its root to it."""
    inner = {node.get("parent") for node in nodes}
    return [(leaf, _path_to(nodes, leaf)) for leaf in range(len(nodes)) if leaf not in inner]


def _path_to(nodes: Sequence[Mapping[str, Any]], leaf: int) -> list[int]:
    path: list[int] = []
    at: int | None = leaf
    while at is not None:
        path.append(at)
        at = nodes[at].get("parent")
    return path[::-1]


def _step_ends(path: Sequence[Mapping[str, Any]]) -> list[int]:
    """Where steps end, in tokens: a step begins with every sampled message that has tokens."""
    ends, at = [], 0
    for i, node in enumerate(path):
        if i and node.get("sampled"):
            ends.append(at)
        at += len(node["token_ids"])
    ends.append(at)
    if any(a >= b for a, b in zip([0, *ends], ends, strict=False)):
        raise DataError(
            "a sampled message has no tokens; run the model through a client that returns token ids"
        )
    return ends


def _group(trace: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], prompt: Sequence[int]) -> int:
    task = trace.get("task") or {}
    named = task.get("key") or task.get("hash")
    if named is None:
        content = task.get("data") or [nodes[at]["message"] for at in prompt]
        text = json.dumps(content, sort_keys=True, default=str)
        named = blake2b(text.encode(), digest_size=16).hexdigest()
    return stable_key(str(named))


def _column(
    paths: Sequence[Sequence[Mapping[str, Any]]], name: str, tokens: Ragged, acted: np.ndarray
) -> Ragged | None:
    """A field that is compact over sampled tokens as a column of all, NaN (advantages: 0) elsewhere."""
    if not any(node.get(name) for own in paths for node in own):
        return None
    compact: list[float] = []
    for own in paths:
        for node in own:
            chosen = sum(map(bool, node["mask"]))
            compact += node.get(name) or [np.nan] * chosen
    values = np.full(tokens.total, 0.0 if name == "advantages" else np.nan)
    values[acted] = compact
    return tokens.with_values(values)


def _signals(traces: Sequence[Mapping[str, Any]]) -> dict[str, Signal]:
    """Rewards by name, one value per path; the weighted sum is missing where any part of it is."""
    names = dict.fromkeys(name for trace in traces for name in trace.get("rewards") or {})
    signals, total = {}, np.zeros(len(traces))
    for name in names:
        rewards = [(trace.get("rewards") or {}).get(name) for trace in traces]
        scores = np.array([np.nan if r is None else float(r["score"]) for r in rewards])
        weights = np.array([1.0 if r is None else float(r.get("weight", 1.0)) for r in rewards])
        signals[name] = Signal(scores, "rollout", name)
        total += scores * weights
    if names:
        signals.setdefault("outcome", Signal(total, "rollout", "outcome"))
    return signals


def _add_advantages(
    nodes: Sequence[dict[str, Any]],
    leaf: int,
    values: np.ndarray,
    key: Any,
    sums: dict[tuple[Any, int], tuple[np.ndarray, int]],
) -> None:
    path = _path_to(nodes, leaf)
    first = next(i for i, at in enumerate(path) if nodes[at].get("sampled"))
    start = 0
    for at in path[first:]:
        mask = np.array(nodes[at]["mask"], bool)
        own = values[start : start + len(mask)][mask]
        start += len(mask)
        if len(own) and not np.isnan(own).all():  # a node that never had any
            total, count = sums.get((key, at), (np.zeros(len(own)), 0))
            sums[key, at] = total + own, count + 1


def _new_trace(rollouts: Rollouts, row: int) -> dict[str, Any]:
    """A chain of messages for a rollout that came from elsewhere."""
    assert rollouts.tokens is not None and rollouts.acted is not None
    prompt = None if rollouts.prompt is None else rollouts.prompt[row]
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt or [])
    after = None if rollouts.completion is None else rollouts.completion[row]
    messages = [{"role": "assistant", "content": after or ""}] if not isinstance(after, list) else after
    nodes: list[dict[str, Any]] = [_node(message, [], [], None) for message in before]
    tokens, acted = rollouts.tokens[row].tolist(), rollouts.acted[row].tolist()
    logprobs = None if rollouts.logprobs is None else rollouts.logprobs[row]
    for message, (start, stop) in zip(messages, _spans(messages, acted, row), strict=True):
        mask = acted[start:stop]
        own = None if logprobs is None else logprobs[start:stop][np.array(mask, bool)].tolist()
        sampled = any(mask) or message.get("role") == "assistant"
        nodes.append(_node(message, tokens[start:stop], mask, own) | {"sampled": sampled})
    if rollouts.truncated[row]:
        nodes[-1]["finish_reason"] = "length"
    for at, node in enumerate(nodes):
        node["parent"] = at - 1 if at else None
    task = {"type": "guerdon", "data": {"reference": (rollouts.reference or [None] * len(rollouts))[row]}}
    return {
        "id": f"{row:032x}" if rollouts.id is None else rollouts.id[row],
        "task": task | {"key": str(rollouts.group[row])},
        "nodes": nodes,
        "rewards": {},
        "metrics": {},
    }


def _node(message: Any, tokens: list[int], mask: list[bool], logprobs: list[float] | None) -> dict[str, Any]:
    return {
        "parent": None,
        "message": message,
        "sampled": False,
        "token_ids": tokens,
        "mask": [bool(each) for each in mask],
        "logprobs": logprobs or [],
        "finish_reason": None,
    }


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
