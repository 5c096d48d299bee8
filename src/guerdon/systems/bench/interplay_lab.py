"""Interplay of pre-training, mid-training and RL: the process-verified reward (arXiv 2512.07783)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from guerdon.errors import DataError, RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.tasks.answers import last_tag
from guerdon.tasks.expressions import evaluate, parse
from guerdon.verify.composite import Composite

TOLERANCE = 1e-6
_DEFINE = re.compile(r"\bDefine\s+((?:(?!\bDefine\b)[^;]){1,200}?)\s+as\s+(?:[A-Za-z]+\s+)*([A-Za-z])\s*;")
_ASSIGNMENT = re.compile(r"\b([A-Za-z])\s*=\s*((?:[^.;]|\.(?=\d)){1,400})")
_LETTER = re.compile(r"\b[A-Za-z]\b")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_ANSWER = re.compile(r"<answer>.*", re.DOTALL)


@dataclass(frozen=True)
class Node:
    """A defined quantity: its value (None: none was found) and the names of those it was worked out from."""

    value: float | None
    dependencies: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Mismatches:
    """How a graph differs from the expected one."""

    value: int = 0
    dependency: int = 0
    missing: int = 0
    extra: int = 0
    answer: bool = False

    def __bool__(self) -> bool:
        return bool(self.value or self.dependency or self.missing or self.extra or self.answer)


@dataclass
class _Known:
    """What a solution has defined so far."""

    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)


def compare(
    gold: Mapping[str, Node], said: Mapping[str, Node], gold_answer: Any = None, answer: Any = None
) -> Mismatches:
    """Nodes are matched by name; values agree within 1e-6, dependencies as sets of names."""
    shared = gold.keys() & said.keys()
    return Mismatches(
        value=sum(_differ(gold[name].value, said[name].value) for name in shared),
        dependency=sum(gold[name].dependencies != said[name].dependencies for name in shared),
        missing=len(gold.keys() - said.keys()),
        extra=len(said.keys() - gold.keys()),
        answer=_differ(_number(gold_answer), _number(answer)),
    )


def process_score(found: Mismatches, n_gold: int) -> float:
    """P = max(0, 1 - [#value + #dependency + #missing + min(#extra, n) + 1(answer)] / n), n = n_gold.

    Raises:
        DataError: no node was expected.
    """
    if n_gold < 1:
        raise DataError(f"the expected graph has {n_gold} nodes; the process score needs one or more")
    wrong = found.value + found.dependency + found.missing + min(found.extra, n_gold) + found.answer
    return max(0.0, 1.0 - wrong / n_gold)


def combined(
    outcome: float,
    process: float,
    weights: tuple[float, float] = (0.2, 0.8),
    strict: bool = False,
    mismatch: bool = False,
) -> float:
    """(w_a O + w_s P) / (w_a + w_s) where O = 1, else 0; strict: 0 as well where anything mismatches."""
    if outcome < 1.0 or (strict and mismatch):
        return 0.0
    return (weights[0] * outcome + weights[1] * process) / (weights[0] + weights[1])


@lru_cache(maxsize=4096)
def read_graph(solution: str) -> dict[str, Node]:
    """The graph of a solution in sentences "Define NAME as v; ... so v = value."

    v is one letter. A step's value is the last one assigned to its letter; it depends on every name whose
    letter occurs in what was assigned to it, directly or through letters that the step introduced. A name
    defined twice counts as it was last.
    """
    text = _ANSWER.sub("", solution).split("Answer:")[0]
    starts = list(_DEFINE.finditer(text))
    ends = [*(m.start() for m in starts), len(text)][1:]
    nodes, known = {}, _Known()
    for match, end in zip(starts, ends, strict=True):
        name = " ".join(match[1].split()).strip(" .")
        nodes[name] = _step(text[match.end() : end], match[2], name, known)
    return nodes


def _step(body: str, own: str, name: str, known: _Known) -> Node:
    """One definition; `known` learns its letters."""
    through: dict[str, set[str]] = {}
    found: set[str] = set()
    value: float | None = None
    for letter, expression in _ASSIGNMENT.findall(body):
        used: set[str] = set()
        for other in _LETTER.findall(expression):
            used |= {known.names[other]} if other in known.names else set()
            used |= through.get(other, set())
        last = expression.split("=")[-1].strip()
        result = _value(last, known.values)
        if letter == own:
            found |= used
            value = result if result is not None else value
        else:
            through.setdefault(letter, set()).update(used)
        if result is not None:
            known.values[letter] = result
    known.names[own] = name
    return Node(value, frozenset(found - {name}))


def _value(expression: str, values: Mapping[str, float]) -> float | None:
    """The value of arithmetic over known letters; else the last number in it, else None."""
    numbers = _NUMBER.findall(expression)
    letters = _LETTER.findall(expression)
    if all(letter in values for letter in letters):
        try:
            filled = _LETTER.sub(lambda m: f"({values[m[0]]:.12g})", expression)
            return float(evaluate(parse(filled, decimals=True)))
        except (DataError, OverflowError):
            pass
    return float(numbers[-1]) if numbers else None


def _differ(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is not b
    return abs(a - b) > TOLERANCE


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


@system(
    "interplay-lab",
    title="On the Interplay of Pre-Training, Mid-Training, and RL on Reasoning Language Models",
    arxiv="2512.07783",
    family="bench",
    kind="reward",
)
def interplay_lab(
    answer_weight: float = 0.2,
    process_weight: float = 0.8,
    strict: bool = False,
    on_error: str | float = "nan",
) -> Composite:
    """r = (w_a O + w_s P) / (w_a + w_s) if O = 1, else 0; one value per rollout, in [0, 1].

    O: the text in <answer>, without a full stop at its end, is the reference's. P: see `process_score`, over
    the graphs of defined quantities that `read_graph` finds in the completion and in the reference. Wrong
    answers earn nothing for right steps. Parts: outcome, process, mismatches (their number).

    Args:
        answer_weight, process_weight: w_a, w_s.
        strict: 0 wherever any value, dependency, node or the answer mismatches.
        on_error: what a row without reference is worth.

    References are {answer, solution}, or {answer, nodes: [{name, value, dependencies}]}; with neither a
    solution nor nodes P = O. A text is the solution, with its <answer>.

    Reference: arXiv 2512.07783; verl/reward_fn.py and utils/solution_dependency_graph.py of
    Interplay-LM-Reasoning/Interplay-LM-Reasoning.
    """
    if min(answer_weight, process_weight) < 0 or answer_weight + process_weight <= 0:
        raise RecipeError(
            "interplay-lab: answer_weight and process_weight must be 0 or more, and one above 0; got "
            f"{answer_weight!r} and {process_weight!r}"
        )
    weights = (answer_weight, process_weight)

    def combine(parts: dict[str, float]) -> float:
        return combined(parts["outcome"], parts["process"], weights, strict, parts["mismatches"] > 0)

    parts = {"outcome": 1.0, "process": 1.0, "mismatches": 0.0}
    version = f"1-{answer_weight}-{process_weight}-{strict}"
    return Composite("interplay-lab", _score, parts, combine=combine, version=version, on_error=on_error)


def _score(row: Row) -> dict[str, float] | Verdict:
    expected = _expected(row.reference)
    if isinstance(expected, Verdict):
        return expected
    wanted, gold = expected
    answer = last_tag(row.completion)
    right = answer is not None and _bare(answer) == wanted
    outcome = float(right)
    if not gold:
        return {"outcome": outcome, "process": outcome, "mismatches": 0.0}
    found = compare(gold, read_graph(row.completion), wanted, None if answer is None else _bare(answer))
    count = found.value + found.dependency + found.missing + found.extra + found.answer
    return {"outcome": outcome, "process": process_score(found, len(gold)), "mismatches": float(count)}


def _expected(reference: Any) -> tuple[str, dict[str, Node]] | Verdict:
    """Answer and graph of a reference."""
    if isinstance(reference, str):
        reference = {"answer": last_tag(reference), "solution": reference}
    if not isinstance(reference, Mapping) or reference.get("answer") is None:
        return missing("no reference: expected {answer, solution | nodes}, or a solution with <answer>")
    answer = _bare(str(reference["answer"]))
    nodes = reference.get("nodes")
    if nodes is None:
        return answer, read_graph(str(reference.get("solution") or ""))
    try:
        return answer, {
            str(node["name"]): Node(_number(node.get("value")), frozenset(node.get("dependencies") or ()))
            for node in nodes
        }
    except (TypeError, KeyError, AttributeError):
        return missing("reference: nodes must be a list of {name, value, dependencies}")


def _bare(answer: str) -> str:
    return answer.strip().removesuffix(".")
