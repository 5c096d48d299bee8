"""Keys that name the same thing wherever it occurs: states that recur, steps that rollouts share.

Enters: what the agent saw before a step (any text, bytes, array or JSON value), or rollouts with a `step`
partition. Leaves: int64 keys, equal exactly where the things are equal (up to a 2^-63 chance per pair), the
same on every machine and in every process, so that batches and files can be joined without renumbering.

A *node* is a path of steps from the start of a rollout: two rollouts of one group share the node of their
k-th step when their first k steps are the same. Nodes of a group form a forest whose roots have parent
`ROOT`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.errors import DataError

if TYPE_CHECKING:
    from guerdon.data.rollouts import Rollouts

ROOT = -1
_POSITIVE = 0x7FFF_FFFF_FFFF_FFFF

Normalise = Callable[[str], str] | str | None


def collapse_space(text: str) -> str:
    """Runs of white space become one space; none at either end."""
    return " ".join(text.split())


def fold_text(text: str) -> str:
    """Unicode compatibility form (NFKC), case folded, white space collapsed."""
    return collapse_space(unicodedata.normalize("NFKC", text).casefold())


_NORMALISERS: dict[str, Callable[[str], str]] = {"space": collapse_space, "fold": fold_text}


def stable_key(value: Any, normalise: Normalise = None) -> int:
    """Key of one value: 63 bits of BLAKE2b over its canonical bytes, in [0, 2^63).

    Text, bytes, arrays and other JSON values never collide by type: `"1"`, `b"1"` and `1` have different
    keys. Mappings are equal regardless of the order of their keys.

    Args:
        value: str, bytes, a NumPy array (dtype and shape count) or anything `json.dumps` can write.
        normalise: what to do to every text in `value` first: "space" collapses white space, "fold" also
            ignores case and Unicode compatibility variants; or a function str -> str. Default: nothing.

    Raises:
        DataError: a value that is none of these, or an unknown `normalise`.
    """
    change = _normaliser(normalise)
    digest = blake2b(_canonical(value if change is None else _apply(value, change)), digest_size=8).digest()
    return int.from_bytes(digest, "big") & _POSITIVE


def state_keys(values: Iterable[Any], normalise: Normalise = None) -> np.ndarray:
    """`stable_key` of every value, int64 (number of values,): ready to be the column `state`.

    Args:
        values: what the agent saw before each step, step after step, rollout after rollout.
        normalise: see `stable_key`.
    """
    seen: dict[str, int] = {}
    keys = []
    for value in values:
        key = seen.get(value) if type(value) is str else None
        if key is None:
            key = stable_key(value, normalise)
            if type(value) is str:
                seen[value] = key
        keys.append(key)
    return np.array(keys, dtype=np.int64)


def node_ids(rollouts: Rollouts) -> np.ndarray:
    """Node of every step: equal where two rollouts of a group agree on all steps up to that one.

    node(i, k) = hash(node(i, k-1), content of step k), node(i, -1) = hash(group of i). The content is the
    step's tokens, or its characters where there are no tokens. Every token is hashed once.

    Returns:
        int64 (number of steps,): ready to be the column `node`.

    Raises:
        DataError: no `step` partition.
    """
    ends = _steps(rollouts)
    start, stop = ends.offsets[:-1].tolist(), ends.offsets[1:].tolist()
    flat = ends.values.tolist()
    digests: list[bytes] = []
    for row, label in enumerate(rollouts.group.tolist()):
        content, width = _content(rollouts, row)
        digest = label.to_bytes(8, "little", signed=True)
        begin = 0
        for at in range(start[row], stop[row]):
            end = flat[at] * width
            digest = blake2b(digest + content[begin:end], digest_size=8).digest()
            digests.append(digest)
            begin = end
    return (np.frombuffer(b"".join(digests), dtype=">u8") & np.uint64(_POSITIVE)).astype(np.int64)


def parent_of(rollouts: Rollouts) -> np.ndarray:
    """Node before every step, `ROOT` for the first step of a rollout; int64 (number of steps,)."""
    node = _nodes(rollouts)
    parent = np.empty_like(node)
    parent[1:] = node[:-1]
    first = rollouts.offsets("step")[:-1]
    parent[first[first < rollouts.offsets("step")[1:]]] = ROOT
    return parent


def depth_of(rollouts: Rollouts) -> np.ndarray:
    """How many steps came before every step in its rollout, int64 (number of steps,)."""
    offsets = _steps(rollouts).offsets
    return np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], np.diff(offsets))


def leaf_of(rollouts: Rollouts) -> np.ndarray:
    """Whether no rollout of the group goes on after the step's node, bool (number of steps,)."""
    node, group = _nodes(rollouts), _group_of_steps(rollouts)
    edges = _pair_labels(np.concatenate([group, group]), np.concatenate([node, parent_of(rollouts)]))
    nodes, parents = edges[: len(node)], edges[len(node) :]
    return ~np.isin(nodes, parents)


def fork_of(rollouts: Rollouts) -> np.ndarray:
    """Dense label of (group, parent node) of every step: steps with one label are alternatives at one fork.

    Returns:
        int64 (number of steps,) in 0..F-1: the grouping of fork baselines. Rollouts that took the same
        step carry the same label and the same `node`.
    """
    return _pair_labels(_group_of_steps(rollouts), parent_of(rollouts))


def _pair_labels(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    order = np.lexsort((second, first))
    a, b = first[order], second[order]
    fresh = np.ones(len(order), dtype=np.int64)
    fresh[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    labels = np.empty(len(order), dtype=np.int64)
    labels[order] = np.cumsum(fresh) - 1
    return labels


def _nodes(rollouts: Rollouts) -> np.ndarray:
    return node_ids(rollouts) if rollouts.node is None else rollouts.node


def _group_of_steps(rollouts: Rollouts) -> np.ndarray:
    return np.repeat(rollouts.group, _steps(rollouts).lengths)


def _steps(rollouts: Rollouts) -> Any:
    if "step" not in rollouts.partitions:
        raise DataError("tree nodes need a 'step' partition; make one with guerdon.data.split")
    return rollouts.partitions["step"]


def _content(rollouts: Rollouts, row: int) -> tuple[bytes, int]:
    """Bytes of one rollout and how many bytes one offset counts."""
    if rollouts.tokens is not None:
        return np.ascontiguousarray(rollouts.tokens[row], dtype="<i4").tobytes(), 4
    return rollouts.text(row).encode("utf-32-le", "surrogatepass"), 4


def _normaliser(normalise: Normalise) -> Callable[[str], str] | None:
    if normalise is None or callable(normalise):
        return normalise
    if normalise not in _NORMALISERS:
        raise DataError(
            f"normalise: expected a function or one of {', '.join(_NORMALISERS)}, got {normalise!r}"
        )
    return _NORMALISERS[normalise]


def _apply(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _apply(entry, change) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_apply(entry, change) for entry in value]
    return value


def _canonical(value: Any) -> bytes:
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b"b" + bytes(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        return b"a" + f"{little.dtype.str}{value.shape}".encode() + little.tobytes()
    try:
        written = json.dumps(value, sort_keys=True, separators=(",", ":"), default=plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"a state must be text, bytes, an array or a JSON value: {error}") from error
    return b"j" + written.encode("ascii")


def plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python values, for `json.dumps(default=...)`.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value")
