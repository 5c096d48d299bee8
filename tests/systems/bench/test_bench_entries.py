"""interplay-lab and random-calculation through their entries: worked numbers, graphs read from text."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build
from guerdon.systems import catalogue
from guerdon.systems.bench.interplay_lab import (
    Mismatches,
    Node,
    combined,
    compare,
    process_score,
    read_graph,
)
from guerdon.tasks.corruption import inverted

SOLUTION = (
    "Define lions in Park as a; so a = 4. Define tigers in Park as b; c = a + 3 = 4 + 3 = 7; "
    "so b = 2 * c = 2 * 7 = 14. Define animals in Park as d; so d = a + b = 4 + 14 = 18. "
    "Answer: <answer>18</answer>"
)
GOLD = {
    "lions in Park": Node(4.0),
    "tigers in Park": Node(14.0, frozenset({"lions in Park"})),
    "animals in Park": Node(18.0, frozenset({"lions in Park", "tigers in Park"})),
}


def scores(*completions, reference=SOLUTION, **settings):
    reward = build("reward", {"use": "interplay-lab", **settings})
    n = len(completions)
    return reward.explain(Rollouts(prompt=["q"] * n, completion=list(completions), reference=[reference] * n))


def test_worked_scores():
    found = Mismatches(value=1, dependency=1)
    assert process_score(found, 8) == 0.75
    assert combined(1.0, 0.75) == pytest.approx(0.8) and combined(0.0, 0.75) == 0.0
    assert combined(1.0, 0.75, strict=True, mismatch=bool(found)) == 0.0
    assert combined(1.0, 1.0, strict=True, mismatch=bool(Mismatches())) == 1.0
    assert process_score(Mismatches(extra=20), 8) == 0.0  # counts as 8
    assert process_score(Mismatches(extra=20), 40) == 0.5
    assert process_score(Mismatches(answer=True), 4) == 0.75
    assert process_score(Mismatches(missing=9), 8) == 0.0
    with pytest.raises(DataError, match="0 nodes"):
        process_score(Mismatches(), 0)


def test_a_solution_is_read_into_its_graph():
    assert read_graph(SOLUTION) == GOLD
    unchecked = read_graph(
        "Define x y as a variable q; so q = 7 / 0. Define z as r; r = q. Define w as s; none."
    )
    assert unchecked["x y"].value == 0.0 and unchecked["z"].dependencies == {"x y"}
    assert unchecked["w"] == Node(None)
    assert read_graph("Define x as q; so q = 5 / 2 = 2.5. Define y as r; so r = q + 1.")["y"].value == 3.5
    assert read_graph("no definitions, a = 4") == {} == read_graph("")


@pytest.mark.parametrize(
    ("change", "process", "total"),
    [
        (("", ""), 1.0, 1.0),
        (("so b = 2 * c = 2 * 7 = 14", "so b = 2 * c = 2 * 7 = 15"), 2 / 3, 0.2 + 0.8 * 2 / 3),
        (("c = a + 3 = 4 + 3", "c = 4 + 3"), 2 / 3, 0.2 + 0.8 * 2 / 3),
        (("Define lions in Park as a; so a = 4. ", ""), 0.0, 0.2),  # one missing, two that depended on it
        (("Answer:", "Define cats as e; so e = 1. Answer:"), 2 / 3, 0.2 + 0.8 * 2 / 3),
        (("<answer>18<", "<answer>19<"), 2 / 3, 0.0),
        (("<answer>18<", "<answer> 18. <"), 1.0, 1.0),
        (("<answer>18</answer>", "18"), 2 / 3, 0.0),
    ],
)
def test_reward(change, process, total):
    reward, parts = scores(SOLUTION.replace(*change) if change[0] else SOLUTION)
    assert parts["process"].values[0] == pytest.approx(process)
    assert reward.values[0] == pytest.approx(total)
    strict, _ = scores(SOLUTION.replace(*change) if change[0] else SOLUTION, strict=True)
    assert strict.values[0] == float(total == 1.0)


def test_references():
    nodes = [{"name": n, "value": v.value, "dependencies": sorted(v.dependencies)} for n, v in GOLD.items()]
    assert scores(SOLUTION, reference={"answer": 18, "nodes": nodes})[0].values[0] == 1.0
    bare, parts = scores("<answer>18</answer>", "<answer>1</answer>", reference={"answer": "18"})
    assert bare.values.tolist() == [1.0, 0.0] == parts["process"].values.tolist()
    for bad in (None, 18, {"solution": SOLUTION}, {"answer": 18, "nodes": ["x"]}, "no answer"):
        reward, _ = scores(SOLUTION, reference=bad)
        assert math.isnan(reward.values[0]) and "reference" in reward.causes[0]
    with pytest.raises(RecipeError, match="0 or more"):
        scores(SOLUTION, answer_weight=-1)
    with pytest.raises(RecipeError, match="did you mean 'strict'"):
        scores(SOLUTION, strickt=True)


names = st.sampled_from("abcdef")
graphs = st.dictionaries(
    names, st.builds(Node, st.sampled_from([None, 1.0, 2.0]), st.frozensets(names, max_size=2)), min_size=1
)


@given(graphs, graphs)
def test_a_graph_agrees_with_itself_only(gold, said):
    assert not compare(gold, gold, 3, "3")
    found = compare(gold, said)
    assert bool(found) == (gold != said)
    assert 0.0 <= process_score(found, len(gold)) <= 1.0
    back = compare(said, gold)
    assert (found.missing, found.extra, found.value) == (back.extra, back.missing, back.value)


@given(st.text(alphabet="Define as;=ab. 0123+-*/()", max_size=200))
def test_reading_never_fails(text):
    assert all(isinstance(node, Node) for node in read_graph(text).values())


def test_random_calculation_entry():
    entry = catalogue.find("random-calculation")
    task = entry.factory(operations=3, reward="distance")
    problem = task.problems("train", 1)[0]
    assert entry.kind == "task" and task.check(problem.solution, problem.reference, problem.meta) == 1.0
    completions = [r"\boxed{3.5}", r"\boxed{4}", r"\boxed{100}"]
    rollouts = Rollouts(prompt=["q"] * 3, completion=completions, reference=["4", "4", "0"])
    outcome = task.outcome(rollouts)
    assert outcome.values == pytest.approx([0.6875, 1.0, 0.0], abs=1e-6)
    assert inverted(outcome).values[0] == pytest.approx(0.3125, abs=1e-6)
    assert task.check(r"\boxed{1/3}", str(Fraction(1, 3))) == 1.0
