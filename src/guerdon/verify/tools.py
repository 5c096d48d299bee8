"""Tool calls: parsing them, pairing predicted with expected ones, and scoring names, parameters and values.

A call is (name, parameters). For a gold call g and a predicted call p of the same name

    s(g, p) = J(keys_g, keys_p) + #{k in g : p_k = g_k},    J the multiset Jaccard index,

and for a whole answer

    S = J(names_gold, names_pred) + sum of s over the pairing,   S_max = 1 + sum_g (1 + |params_g|).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.assignment import best_pairs, greedy_pairs
from guerdon.verify.composite import Composite, given
from guerdon.verify.json_text import NotJSON, find_json, parse_json, same_json
from guerdon.verify.markup import blocks
from guerdon.verify.sequences import multiset_jaccard

_PAIRINGS = {"greedy": greedy_pairs, "best": best_pairs}
_EQUALITIES: dict[str, Callable[[Any, Any], bool]] = {"json": same_json, "python": lambda a, b: bool(a == b)}


class NotACall(ValueError):
    """Something that should be a tool call is none; the message says why."""


@dataclass(frozen=True)
class Call:
    """One tool call."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Matching:
    """How predicted calls fit expected ones.

    Attributes:
        names: multiset Jaccard of the names.
        keys: sum over pairs of the Jaccard index of the parameter names.
        values: number of parameters with the expected value, over all pairs.
        best: S_max, what a perfect answer reaches.
        exact: the calls are the expected ones, in any order.
    """

    names: float
    keys: float
    values: float
    best: float
    exact: bool

    @property
    def score(self) -> float:
        """S / S_max in [0, 1]."""
        return (self.names + self.keys + self.values) / self.best


def to_call(value: Any) -> Call:
    """A call from {name, parameters | arguments}, also {function: {..}} and arguments as JSON text.

    Raises:
        NotACall: no name, or parameters that are no mapping.
    """
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise NotACall("a call needs a text 'name'")
    if "parameters" not in value and "arguments" not in value:
        raise NotACall(f"call {value['name']!r} needs 'parameters' or 'arguments'")
    parameters = value["parameters"] if "parameters" in value else value["arguments"]
    if isinstance(parameters, str):
        try:
            parameters = parse_json(parameters or "{}")
        except NotJSON as error:
            raise NotACall(f"arguments of {value['name']!r}: {error}") from error
    if not isinstance(parameters, Mapping):
        raise NotACall(f"parameters of {value['name']!r} must be an object")
    return Call(value["name"], parameters)


def calls_in(text: str) -> list[Call]:
    """All calls of a text: JSON objects, or lists of them, in `<tool_call>` blocks, one a line or a block.

    Raises:
        NotACall: a block that holds something else.
    """
    calls: list[Call] = []
    for block in blocks(text, "tool_call"):
        for value in _values(block):
            calls.extend(map(to_call, value if isinstance(value, list) else [value]))
    return calls


def match_calls(
    gold: Sequence[Call], said: Sequence[Call], pairing: str = "best", values: str = "json"
) -> Matching:
    """Pair predicted with expected calls of the same name and score them (see the module's text).

    Args:
        pairing: "best" (largest total) or "greedy" (each gold call in order takes the best free one).
        values: "json" (true is not 1) or "python" (`==`: 1 == True == 1.0).
    """
    equal = _EQUALITIES[values]
    parts = [[_pair(g, p, equal) if g.name == p.name else (0.0, 0.0) for p in said] for g in gold]
    pairs = _PAIRINGS[pairing]([[keys + hits for keys, hits in row] for row in parts])
    paired = [parts[i][j] for i, j in pairs]
    best = 1.0 + sum(1.0 + len(g.parameters) for g in gold)
    names = multiset_jaccard([g.name for g in gold], [p.name for p in said])
    keys, hits = sum(k for k, _ in paired), sum(h for _, h in paired)
    exact = len(gold) == len(said) and names + keys + hits == best
    return Matching(names, keys, hits, best, exact)


def tool_calls(
    metric: str = "score", pairing: str = "best", values: str = "json", on_error: str | float = "nan"
) -> Composite:
    """Reward tool calls against the expected ones, in [0, 1].

    Args:
        metric: "score" (S / S_max) or "exact"; both, and `names`, `keys`, `values`, `parsed`, are parts.
        pairing, values: see `match_calls`.
        on_error: what a row without reference, or with a broken one, is worth.

    The reference is a list of calls {name, parameters | arguments}, a mapping with such a list under
    "calls" or "tool_calls", or a text with `<tool_call>` blocks. Predicted calls are read from the messages'
    `tool_calls` where there are any, else from `<tool_call>` blocks, else from a text that is JSON or its
    last JSON fence: a call in running text is talked about, not made. Calls that cannot be read score 0;
    where no call is expected, saying none scores 1 and any call scores 0.
    """
    if metric not in ("score", "exact"):
        raise RecipeError(f"verify.tool_calls.metric must be score or exact, got {metric!r}")
    for name, value, known in (("pairing", pairing, _PAIRINGS), ("values", values, _EQUALITIES)):
        if value not in known:
            raise RecipeError(f"verify.tool_calls.{name} must be one of {', '.join(known)}, got {value!r}")
    parts = ("score", "exact", "names", "keys", "values", "parsed")
    weights = {part: float(part == metric) for part in parts}
    score = partial(_score, pairing=pairing, values=values)
    return Composite(
        "tool_calls", score, weights, version=f"1-{metric}-{pairing}-{values}", on_error=on_error
    )


def _score(row: Row, pairing: str, values: str) -> dict[str, float] | Verdict:
    wanted = given(row, "calls", given(row, "tool_calls", row.reference))
    if wanted is None:
        return missing("no reference: expected a list of calls")
    if not isinstance(wanted, str | list | tuple):
        return missing(f"reference: expected a list of calls or a text, got {type(wanted).__name__}")
    try:
        gold = calls_in(wanted) if isinstance(wanted, str) else [to_call(call) for call in wanted]
    except NotACall as error:
        return missing(f"reference: {error}")
    try:
        said = _said(row)
    except NotACall:
        return dict.fromkeys(("score", "exact", "names", "keys", "values", "parsed"), 0.0)
    found = match_calls(gold, said, pairing, values)
    spread = max(1, len(gold))
    return {
        "score": found.score if gold else float(not said),
        "exact": float(found.exact),
        "names": found.names,
        "keys": found.keys / spread if gold else float(not said),
        "values": found.values / max(1.0, found.best - 1.0 - len(gold))
        if found.best > 1 + len(gold)
        else 1.0,
        "parsed": 1.0,
    }


def _said(row: Row) -> list[Call]:
    if isinstance(row.messages, list):
        listed = [call for m in row.messages if isinstance(m, Mapping) for call in m.get("tool_calls") or []]
        if listed:
            return [to_call(call) for call in listed]
    if "<tool_call>" in row.completion:
        return calls_in(row.completion)
    try:
        found = find_json(row.completion, prose=False)  # a call that is talked about is not made
    except NotJSON:
        return []
    return [to_call(call) for call in (found if isinstance(found, list) else [found])]


def _values(block: str) -> list[Any]:
    try:
        return [parse_json(block)]
    except NotJSON:
        pass
    try:
        return [parse_json(line) for line in block.splitlines() if line.strip()]
    except NotJSON as error:
        raise NotACall(str(error)) from error


def _pair(gold: Call, said: Call, equal: Callable[[Any, Any], bool]) -> tuple[float, float]:
    keys = multiset_jaccard(list(gold.parameters), list(said.parameters))
    hits = sum(
        key in said.parameters and equal(said.parameters[key], v) for key, v in gold.parameters.items()
    )
    return keys, float(hits)
