"""Graphs written by a model against expected ones: F1 of nodes and edges, edit distance."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.composite import Composite, given
from guerdon.verify.json_text import NotJSON, find_json
from guerdon.verify.markup import finder
from guerdon.verify.settled import settling


@dataclass(frozen=True)
class Graph:
    """Named nodes and edges (from, to, label); undirected edges have their ends sorted."""

    nodes: frozenset[str]
    edges: frozenset[tuple[str, str, str]]


def to_graph(value: Any, directed: bool = True) -> Graph:
    """A graph from {"nodes": [...], "edges": [...]} or a list of edges.

    An edge is [from, to], [from, to, label] or {source | from, target | to, label?}; a node is a name or
    {id | name}. The ends of edges are nodes.

    Raises:
        ValueError: anything else.
    """
    listed = value.get("edges", []) if isinstance(value, Mapping) else value
    if not isinstance(listed, list | tuple):
        raise ValueError("a graph needs a list of edges")
    edges = frozenset(_edge(edge, directed) for edge in listed)
    named = value.get("nodes", []) if isinstance(value, Mapping) else []
    nodes = {_node(node) for node in named} | {end for edge in edges for end in edge[:2]}
    return Graph(frozenset(nodes), edges)


def set_f1(gold: frozenset[Hashable], said: frozenset[Hashable]) -> float:
    """2 |A n B| / (|A| + |B|); 1 where both are empty."""
    total = len(gold) + len(said)
    return 2.0 * len(gold & said) / total if total else 1.0


def graph_distance(a: Graph, b: Graph) -> int:
    """Least number of insertions and deletions of nodes and edges that turn one graph into the other.

    Exact for graphs whose nodes are known by their names: |N_a ^ N_b| + |E_a ^ E_b|.
    """
    return len(a.nodes ^ b.nodes) + len(a.edges ^ b.edges)


def graph(
    metric: str = "edges", directed: bool = True, where: str = "text", on_error: str | float = "nan"
) -> Composite:
    """Reward a graph in JSON against the expected one, in [0, 1].

    Args:
        metric: "edges" (F1 of labelled edges), "nodes" (F1 of nodes) or "similarity"
            (1 - edit distance / total size of both); all are parts.
        directed: edges have a direction.
        where: where the JSON stands in the completion, see `markup.finder`.
        on_error: what a row without reference, or with a broken one, is worth.

    Graphs that are denied, taken back or offered side by side do not count (see `settled`).
    """
    metrics = ("edges", "nodes", "similarity")
    if metric not in metrics:
        raise RecipeError(f"verify.graph.metric must be one of {', '.join(metrics)}, got {metric!r}")
    score = partial(_score, directed=directed, find=settling(finder(where)))
    weights = {name: float(name == metric) for name in metrics}
    return Composite("graph", score, weights, version=f"2-{metric}-{directed}-{where}", on_error=on_error)


def _score(row: Row, directed: bool, find: Any) -> dict[str, float] | Verdict:
    wanted = given(row, "graph", row.reference)
    if wanted is None:
        return missing("no reference: expected {nodes, edges} or a list of edges")
    try:
        gold = to_graph(find_json(wanted) if isinstance(wanted, str) else wanted, directed)
    except ValueError as error:
        return missing(f"reference: {error}")
    try:
        said = to_graph(find_json(find(row.completion) or ""), directed)
    except (NotJSON, ValueError):
        return {"edges": 0.0, "nodes": 0.0, "similarity": 0.0}
    size = len(gold.nodes) + len(gold.edges) + len(said.nodes) + len(said.edges)
    return {
        "edges": set_f1(gold.edges, said.edges),
        "nodes": set_f1(gold.nodes, said.nodes),
        "similarity": 1.0 - graph_distance(gold, said) / size if size else 1.0,
    }


def _edge(edge: Any, directed: bool) -> tuple[str, str, str]:
    if isinstance(edge, Mapping):
        ends = edge.get("source", edge.get("from")), edge.get("target", edge.get("to"))
        parts = [*ends, edge.get("label", edge.get("relation", ""))]
    else:
        parts = list(edge) if isinstance(edge, list | tuple) else []
    if len(parts) not in (2, 3) or any(not isinstance(part, str | int | float) for part in parts):
        raise ValueError(f"not an edge: {str(edge)[:60]}")
    start, end = _node(parts[0]), _node(parts[1])
    label = _node(parts[2]) if len(parts) == 3 else ""
    return (start, end, label) if directed or start <= end else (end, start, label)


def _node(node: Any) -> str:
    if isinstance(node, Mapping):
        node = node.get("id", node.get("name"))
    if not isinstance(node, str | int | float):
        raise ValueError(f"not a node: {str(node)[:60]}")
    return " ".join(str(node).lower().split())
