"""verifiers' message graph read and written: paths, checks, and per-token fields of its nodes.

Enters: a trace, as a pydantic object of verifiers v1 or as the mapping of its JSON. Leaves: what
`guerdon.adapters.verifiers` makes Rollouts of. A node's fields per token are compact: one value for every
sampled token, in order; `token_ids` and `mask` have one for every token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guerdon.errors import DataError

COMPACT = {
    "logprobs": "logprobs",
    "reference_logprobs": "ref_logprobs",
    "entropies": "entropy",
    "advantages": "advantages",
}
"""Fields of a node that are compact over its sampled tokens, and the columns they are in Rollouts."""

LIMITS = frozenset(
    ("max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "compaction_failed")
)
"""Stop conditions by which verifiers counts a trace as truncated."""

_TENSORS = {"nodes": {"__all__": {"routed_experts", "sampling_mask"}}}


def plain(trace: Any) -> Mapping[str, Any]:
    """A trace as the mapping of its JSON, with every digit of its floats.

    verifiers rounds log-probabilities to four decimals when it writes JSON unless it is told otherwise.
    Raw tensors (expert routing, sampling masks) stay where they are, on the object.

    Raises:
        DataError: neither a mapping nor an object with `model_dump`.
    """
    if isinstance(trace, Mapping):
        return trace
    if not hasattr(trace, "model_dump"):
        raise DataError(f"expected a trace of verifiers or its mapping, got {type(trace).__name__}")
    return trace.model_dump(mode="json", exclude=_TENSORS, context={"float_decimals": None})


def check_nodes(nodes: Sequence[Mapping[str, Any]], number: int) -> None:
    """Raise DataError where a node's parent, mask or values do not fit; trace and node are named."""
    for at, node in enumerate(nodes):
        where = f"trace {number}: node {at}"
        parent = node.get("parent")
        if parent is not None and not 0 <= parent < at:
            raise DataError(f"{where}: parent {parent!r} is no earlier node")
        if len(node.get("mask", ())) != len(node.get("token_ids", ())):
            raise DataError(f"{where}: mask and token_ids differ in length")
        chosen = sum(map(bool, node.get("mask", ())))
        for name in COMPACT:
            values = node.get(name)
            if values and len(values) != chosen:
                raise DataError(
                    f"{where}: expected {chosen} {name}, one per sampled token, got {len(values)}"
                )


def paths(nodes: Sequence[Mapping[str, Any]]) -> list[tuple[int, list[int]]]:
    """Every leaf with the nodes from its root to it."""
    inner = {node.get("parent") for node in nodes}
    return [(leaf, path_to(nodes, leaf)) for leaf in range(len(nodes)) if leaf not in inner]


def path_to(nodes: Sequence[Any], leaf: int) -> list[int]:
    """The nodes from a root to `leaf`; nodes are mappings or objects."""
    path: list[int] = []
    at: int | None = leaf
    while at is not None:
        path.append(at)
        at = get(nodes[at], "parent")
    return path[::-1]


def completion_of(nodes: Sequence[Any], leaf: int) -> list[int]:
    """The nodes of a path from its first sampled message on."""
    path = path_to(nodes, leaf)
    return path[next(i for i, at in enumerate(path) if get(nodes[at], "sampled")) :]


def get(node: Any, name: str) -> Any:
    """A field of a node that is a mapping or an object."""
    return node.get(name) if isinstance(node, Mapping) else getattr(node, name)


def truncated(trace: Mapping[str, Any], path: Sequence[int]) -> bool:
    """Whether a path was cut: its last reply by the length limit, or the trace by one of the framework's."""
    calls = trace.get("calls") or []
    reasons = {call.get("node"): call.get("finish_reason") for call in calls if not call.get("error")}
    last = next(at for at in reversed(path) if trace["nodes"][at].get("sampled"))
    if reasons.get(last, trace["nodes"][last].get("finish_reason")) == "length":
        return True
    latest = max((at for at in reasons if at is not None), default=last)
    return trace.get("stop_condition") in LIMITS and latest in path


def trainable(trace: Mapping[str, Any], leaf: int) -> bool:
    """Whether verifiers would train on a path: an agent that is trained, and no abandoned compaction."""
    if not (trace.get("agent") or {}).get("trainable", True):
        return False
    links = [link for node in trace["nodes"] for link in node.get("semantic_parents") or ()]
    accepted = {link["node"] for link in links if link["type"] == "compaction"}
    attempts = trace["nodes"][leaf].get("semantic_parents") or ()
    return leaf in accepted or not any(link["type"] == "compaction_attempt" for link in attempts)


class Edits:
    """What Rollouts say of every node, collected over the paths it lies on.

    Advantages of a node on several paths are averaged; other columns must agree there.
    """

    def __init__(self) -> None:
        self._advantages: dict[tuple[int, int], list[np.ndarray]] = {}
        self._fields: dict[tuple[int, int], dict[str, list[Any]]] = {}

    def add(
        self, trace: int, nodes: Sequence[Any], leaf: int, columns: Mapping[str, np.ndarray], row: int
    ) -> None:
        """The columns of one row (`tokens`, `acted` and those of `COMPACT`), cut at the nodes of its path.

        Raises:
            DataError: more or fewer tokens than the path has, or two paths that disagree about a node.
        """
        path = completion_of(nodes, leaf)
        lengths = [len(get(nodes[at], "token_ids")) for at in path]
        if sum(lengths) != len(columns["tokens"]):
            raise DataError(
                f"row {row}: {len(columns['tokens'])} tokens, but its path in trace {trace} has "
                f"{sum(lengths)}; edits may change tokens, not insert or delete them"
            )
        start = 0
        for at, length in zip(path, lengths, strict=True):
            own = {name: values[start : start + length] for name, values in columns.items()}
            start += length
            mask = own["acted"].astype(bool)
            advantages = own.pop("advantages", None)
            if advantages is not None and mask.any() and not np.isnan(advantages[mask]).all():
                self._advantages.setdefault((trace, at), []).append(advantages[mask])
            changed = _changed(nodes[at], own, mask)
            known = self._fields.setdefault((trace, at), changed)
            if repr(known) != repr(changed):  # NaN is equal to itself here
                names = ", ".join(sorted({*known, *changed}))
                raise DataError(f"trace {trace}: node {at}: two paths through it disagree about {names}")

    def fields(self) -> dict[tuple[int, int], dict[str, list[Any]]]:
        """New values of fields by trace and node; nodes of which nothing changed are not there."""
        found = {key: dict(fields) for key, fields in self._fields.items() if fields}
        for key, paths_say in self._advantages.items():
            first, agree = paths_say[0], all(np.array_equal(paths_say[0], each) for each in paths_say)
            # The mean of equal numbers may round.
            found.setdefault(key, {})["advantages"] = (
                first if agree else np.mean(paths_say, axis=0)
            ).tolist()
        return found


def _changed(node: Any, own: Mapping[str, np.ndarray], mask: np.ndarray) -> dict[str, list[Any]]:
    """Fields whose values in Rollouts are no longer the node's."""
    before = np.array(get(node, "mask"), bool)
    changed: dict[str, list[Any]] = {}
    if not np.array_equal(own["tokens"], np.asarray(get(node, "token_ids"), np.int64)):
        changed["token_ids"] = own["tokens"].tolist()
    if not np.array_equal(mask, before):
        changed["mask"] = mask.tolist()
    for theirs, ours in COMPACT.items():
        if ours not in own:
            continue
        values, old = own[ours][mask], get(node, theirs)
        same = np.asarray(old, np.float32) if old else np.full(int(before.sum()), np.nan, np.float32)
        if not np.array_equal(values, same, equal_nan=True):
            changed[theirs] = values.tolist()
    return changed
