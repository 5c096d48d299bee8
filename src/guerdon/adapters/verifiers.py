"""verifiers v1: traces (message graphs) to Rollouts and back.

    rollouts = from_traces(episode.traces)
    advantage = gd.credit.rloo()(rollouts)
    annotate(episode.traces, rollouts.replace(advantages=rollouts.tokens.with_values(advantage.values)))

A trace stores every message once, as a node that knows its predecessor; a path from a root to a leaf is one
rollout. What comes before the first sampled message is the prompt. A step is a sampled message and whatever
follows it until the next one; steps that several paths share carry one `node`, so that methods for trees see
the tree. `trace.rewards` become signals `NAME`, and `outcome` is their weighted sum.

Nothing is lost: `annotate` writes into the traces themselves what was added or edited, and `to_traces`, for
rollouts that were on disk in between, gives the traces they came from, which ride along in `meta`. Rewards
for verifiers' tasks are in `guerdon.adapters.verifiers_rewards`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from guerdon.adapters import verifiers_graph as graph
from guerdon.adapters.verifiers_chains import new_trace
from guerdon.data.keys import stable_key
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError

KEY = "verifiers"


def from_traces(traces: Iterable[Any], keep: bool = True, trainable_only: bool = False) -> Rollouts:
    """One rollout per root-to-leaf path that holds a sampled message.

    Args:
        traces: `Trace`s or `Episode`s of verifiers, or mappings as they dump them. Their own JSON has rounded
            log-probabilities: dump with `context={"float_decimals": None}`, or hand the objects over.
        keep: carry the whole trace in `meta`, as `to_traces` needs it; `annotate` does not.
        trainable_only: leave out what verifiers would not train on (agents that are not trained, abandoned
            compactions).

    Returns:
        Rollouts grouped by `task.key` (else `task.hash`, else the task's content), with `step` partition,
        `state`-free `node` ids, log-probabilities NaN on tokens that were not sampled. Text only, without
        steps, where no node has token ids (traces of an evaluation).

    Raises:
        DataError: a node whose parent, mask or values do not fit (trace and node named), or no path at all.
    """
    given = _traces(traces)
    dumped = [graph.plain(trace) for trace in given]
    with_tokens = any(node.get("token_ids") for trace in dumped for node in trace.get("nodes") or ())
    rows: dict[str, list[Any]] = {
        name: [] for name in ("group", "prompt", "completion", "reference", "meta", "truncated")
    }
    own_nodes: list[list[Mapping[str, Any]]] = []
    ids: list[int] = []
    kept: list[Mapping[str, Any]] = []
    for number, trace in enumerate(dumped):
        nodes = trace.get("nodes") or []
        graph.check_nodes(nodes, number)
        for leaf, path in graph.paths(nodes):
            sampled = [i for i, at in enumerate(path) if nodes[at].get("sampled")]
            counts = graph.trainable(trace, leaf)
            if not sampled or (trainable_only and not counts):
                continue
            own = [nodes[at] for at in path[sampled[0] :]]
            own_nodes.append(own)
            ids += [stable_key(f"{number}/{path[i]}") for i in sampled]
            rows["group"].append(_group(trace, nodes, path[: sampled[0]]))
            rows["prompt"].append([nodes[at]["message"] for at in path[: sampled[0]]])
            rows["completion"].append([node["message"] for node in own])
            rows["reference"].append((trace.get("task") or {}).get("data"))
            rows["truncated"].append(graph.truncated(trace, path))
            about = {"number": number, "leaf": leaf, "trainable": counts}
            rows["meta"].append({KEY: about | ({"trace": trace} if keep else {})})
            kept.append(trace)
    if not own_nodes:
        raise DataError("there is no sampled message in these traces")
    columns = _token_columns(own_nodes, ids) if with_tokens else {}
    return Rollouts(signals=_signals(kept), **columns, **rows)  # type: ignore[arg-type]


def to_traces(rollouts: Rollouts, rewards: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The traces that rollouts came from, with what was added and edited; new ones where there are none.

    Args:
        rollouts: of `from_traces`, maybe with `advantages` or other token columns changed; or any with tokens
            and completions.
        rewards: signals at rollout level to be written into `trace.rewards`, weight 1; a missing value is
            None. Of several paths of one trace the last one's value counts.

    Returns:
        Mappings that `verifiers.v1.WireTrace.model_validate` takes. Per-token fields of a node that differ
        from the rollouts' columns are replaced; a node on several paths gets the mean of their advantages
        (credit that knows of the tree gives them the same one).

    Raises:
        DataError: no tokens, a signal that is not there, completions whose turns do not fit the tokens, or
            edits that inserted or deleted tokens.
    """
    _check_rewards(rollouts, rewards)
    metas = rollouts.meta or [{}] * len(rollouts)
    origins = [(meta or {}).get(KEY) for meta in metas]
    found: dict[Any, dict[str, Any]] = {}
    edits = graph.Edits()
    for row, origin in enumerate(origins):
        if origin is None:
            if rollouts.tokens is None:
                raise DataError("traces need tokens; these rollouts have text only")
            found["row", row] = new_trace(rollouts, row)
            _write_rewards(found["row", row], rollouts, row, rewards)
            continue
        if "trace" not in origin:
            raise DataError(
                f"row {row}: its trace was not kept (`from_traces(..., keep=False)`); "
                "write into the traces with `annotate`"
            )
        number = origin["number"]
        trace = found.setdefault(("trace", number), copy.deepcopy(dict(origin["trace"])))
        _write_rewards(trace, rollouts, row, rewards)
        if rollouts.tokens is not None:
            edits.add(number, origin["trace"]["nodes"], origin["leaf"], _columns_of(rollouts, row), row)
    for (number, at), fields in edits.fields().items():
        found["trace", number]["nodes"][at].update(fields)
    return list(found.values())


def annotate(traces: Iterable[Any], rollouts: Rollouts, rewards: Sequence[str] = ()) -> None:
    """Write advantages, edited token columns and rewards into the traces that rollouts came from.

    Args:
        traces: those that `from_traces` had, in the same order; objects or mappings, changed in place.
        rollouts: of `from_traces`.
        rewards: as for `to_traces`.

    Raises:
        DataError: rollouts from elsewhere, or what `to_traces` raises. Nothing is written then.
    """
    _check_rewards(rollouts, rewards)
    given = _traces(traces)
    edits = graph.Edits()
    owners: list[int] = []
    for row, meta in enumerate(rollouts.meta or [{}] * len(rollouts)):
        origin = (meta or {}).get(KEY)
        if origin is None or origin["number"] >= len(given):
            raise DataError(f"row {row}: it did not come from these traces")
        owners.append(origin["number"])
        if rollouts.tokens is not None:
            nodes = graph.get(given[origin["number"]], "nodes")
            edits.add(origin["number"], nodes, origin["leaf"], _columns_of(rollouts, row), row)
    for (number, at), fields in edits.fields().items():
        node = graph.get(given[number], "nodes")[at]
        for name, values in fields.items():
            node.update({name: values}) if isinstance(node, dict) else setattr(node, name, values)
    for row, number in enumerate(owners):
        _write_rewards(given[number], rollouts, row, rewards)


def _traces(traces: Iterable[Any]) -> list[Any]:
    """Traces, those of episodes among them."""
    found: list[Any] = []
    for each in traces:
        inner = each.get("traces") if isinstance(each, Mapping) else getattr(each, "traces", None)
        found += [each] if inner is None else list(inner)
    return found


def _token_columns(own_nodes: Sequence[Sequence[Mapping[str, Any]]], ids: Sequence[int]) -> dict[str, Any]:
    tokens = Ragged.from_lists([[t for n in own for t in n["token_ids"]] for own in own_nodes], np.int32)
    acted = np.array([bool(m) for own in own_nodes for n in own for m in n["mask"]], bool)
    columns: dict[str, Any] = {
        ours: _column(own_nodes, theirs, tokens, acted) for theirs, ours in graph.COMPACT.items()
    }
    ends = Ragged.from_lists([_step_ends(own) for own in own_nodes], np.int64)
    return columns | {
        "tokens": tokens,
        "acted": tokens.with_values(acted),
        "partitions": {"step": ends},
        "node": np.array(ids, np.int64),
    }


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
    own_nodes: Sequence[Sequence[Mapping[str, Any]]], name: str, tokens: Ragged, acted: np.ndarray
) -> Ragged | None:
    """A field that is compact over sampled tokens as a column of all, NaN (advantages: 0) elsewhere."""
    if not any(node.get(name) for own in own_nodes for node in own):
        return None
    compact: list[float] = []
    for own in own_nodes:
        for node in own:
            compact += node.get(name) or [np.nan] * sum(map(bool, node["mask"]))
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


def _columns_of(rollouts: Rollouts, row: int) -> dict[str, np.ndarray]:
    """The token columns of a row that there are."""
    names = ("tokens", "acted", *graph.COMPACT.values())
    found = {name: getattr(rollouts, name) for name in names}
    return {name: column[row] for name, column in found.items() if column is not None}


def _check_rewards(rollouts: Rollouts, rewards: Sequence[str]) -> None:
    for name in rewards:
        if name not in rollouts.signals or rollouts.signals[name].level != "rollout":
            raise DataError(f"expected a signal {name!r} per rollout, to be written as a reward")


def _write_rewards(trace: Any, rollouts: Rollouts, row: int, rewards: Sequence[str]) -> None:
    for name in rewards:
        value = float(rollouts.signals[name].values[row])
        if hasattr(trace, "record_reward"):
            trace.record_reward(name, value)
            trace.rewards[name] = None if np.isnan(value) else trace.rewards[name]
        else:
            told = None if np.isnan(value) else {"score": value, "weight": 1.0}
            trace.setdefault("rewards", {})[name] = told
