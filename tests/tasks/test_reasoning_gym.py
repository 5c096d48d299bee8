"""The bridge over every generator of the installed reasoning-gym, and what exact scoring refuses."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import sys
import time
import warnings

import numpy as np
import pytest

from guerdon.errors import DataError, RecipeError
from guerdon.registry import build

pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed (pip install 'guerdon[tasks]')")

from guerdon.tasks import gym_answers
from guerdon.tasks.base import split_of
from guerdon.tasks.reasoning_gym import ReasoningGym, generators

pytestmark = pytest.mark.filterwarnings("ignore:.*PYTHONHASHSEED")

CONFIGS = {
    "composite": {
        "datasets": [{"name": "chain_sum", "weight": 2}, {"name": "gcd", "config": {"max_numbers": 3}}]
    },
    "rush_hour": {"min_moves": 1, "max_moves": 6},
}
WITHOUT_REFERENCE = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
"""Generators that give no reference answer and only verify; solved below instead."""


def stored(meta: dict) -> dict:
    return json.loads(json.dumps(meta))


@pytest.mark.parametrize("name", generators())
def test_every_generator(name):
    task = ReasoningGym(name, CONFIGS.get(name, {}))
    problems = task.problems("train", 2, seed=4)
    assert [task.key(p) for p in problems] == [task.key(p) for p in task.problems("train", 2, seed=4)]
    partial = ReasoningGym(name, CONFIGS.get(name, {}), scoring="partial")
    for problem in problems:
        meta, answer = stored(problem.meta), problem.reference
        assert meta == problem.meta and split_of(task.key(problem)) == "train"
        assert (answer is None) == (name in WITHOUT_REFERENCE)
        for wrong in ("", "nonsense", "None", "99 99 99"):
            assert task.check(wrong, answer, meta) == 0.0
        if answer is None:
            continue
        assert problem.solution == answer
        assert task.check(answer, answer, meta) == 1.0
        assert task.check(f"I think <answer>\n{answer}\n</answer>.", answer, meta) == 1.0
        assert partial.score(answer, answer, meta) == 1.0
        assert math.isnan(task.check(answer, None, meta)) and math.isnan(task.check(answer, answer, {}))
        for wrong in (f"The answer is {answer}", f"{answer} or 99", f"{answer}{answer}x", f"not {answer}"):
            assert task.check(wrong, answer, meta) == 0.0, wrong


def solve_graph_color(entry):
    return json.dumps(entry["metadata"]["possible_answer"])


def solve_propositional_logic(entry):
    return entry["metadata"]["example_answer"]


def solve_rubiks_cube(entry):
    return entry["metadata"]["example_correct_answer"]


def solve_boxnet(entry):
    """One box after another: along the rows, along the columns, then onto its target."""
    state = entry["metadata"]["initial_state"]
    plan = []
    targets = [
        (item[7:], [float(x) for x in at.split("_")])
        for at, items in state.items()
        for item in items
        if "target" in item
    ]
    boxes = [
        (item[4:], [float(x) for x in at.split("_")])
        for at, items in state.items()
        for item in items
        if "box" in item
    ]
    for colour, at in boxes:
        goal = targets.pop(next(i for i, (c, _) in enumerate(targets) if c == colour))[1]
        for axis in (0, 1):
            while at[axis] != goal[axis]:
                agent = f"Agent[{at[0]}, {at[1]}]"
                at[axis] += 1.0 if goal[axis] > at[axis] else -1.0
                plan.append({agent: f"move(box_{colour}, square[{at[0]}, {at[1]}])"})
        plan.append({f"Agent[{at[0]}, {at[1]}]": f"move(box_{colour}, target_{colour})"})
    return json.dumps(plan)


def solve_rush_hour(entry):
    """Shortest solution by breadth-first search over single-square moves."""
    from reasoning_gym.games.rush_hour import Board

    config = entry["metadata"]["board_config"]
    letters = sorted(set(config) - {"o", "x"})
    seen, frontier = {str(Board(config))}, [""]
    while frontier:
        following = []
        for moves, letter, sign in itertools.product(frontier, letters, "+-"):
            board = Board(config)
            board.perform_moves(f"{moves} {letter}{sign}1")
            if board.solved:
                return f"{moves} {letter}{sign}1".strip()
            if str(board) not in seen:
                seen.add(str(board))
                following.append(f"{moves} {letter}{sign}1")
        frontier = following
    raise AssertionError("no solution")


@pytest.mark.parametrize("name", sorted(WITHOUT_REFERENCE))
def test_generators_without_a_reference_accept_a_solution(name):
    task = ReasoningGym(name, CONFIGS.get(name, {}))
    for problem in task.problems("train", 3 if name != "rush_hour" else 1):
        meta = stored(problem.meta)
        answer = globals()[f"solve_{name}"](meta["entry"])
        assert task.check(answer, None, meta) == 1.0, answer
        assert task.check(f"The answer is {answer}", None, meta) == 0.0


def test_splits_do_not_share_questions_even_in_a_small_generator():
    task = ReasoningGym("coin_flip")
    keys = [
        {task.key(p) for p in task.problems(split, 4, seed)}
        for split, seed in (("train", 1), ("valid", 1), ("test", 2))
    ]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])


def test_a_stream_goes_on_in_any_place():
    task = ReasoningGym("chain_sum")
    assert task.problems("test", 70, start=30)[40:] == task.problems("test", 30, start=70)


def test_a_generator_with_few_questions_says_so():
    with pytest.raises(DataError, match="no further 'train' problem in 400 draws"):
        ReasoningGym("coin_flip", {"min_trials": 2, "max_trials": 3}).problems("train", 50)


def one(name, config=None, index=0):
    task = ReasoningGym(name, config or {})
    return task, task.problems("train", index + 1)[index]


def test_reasoning_gyms_default_scorer_pays_for_substrings_and_exact_does_not():
    task, p = one("gcd")
    partial = ReasoningGym("gcd", scoring="partial")
    text = f"it is {p.reference}"
    assert 0 < partial.score(text, p.reference, p.meta) < 1
    assert task.score(text, p.reference, p.meta) == 0.0
    assert partial.check(text, p.reference, p.meta) == 0.0, "check is always exact"


@pytest.mark.parametrize(
    "name", ["game_of_life_halting", "gsm_symbolic", "knights_knaves", "kakurasu", "sokoban"]
)
def test_scorers_that_pay_in_full_for_more_than_right_answers(name):
    task, p = one(name)
    partial = ReasoningGym(name, scoring="partial")
    loose = f"{p.reference} or 99" if name != "game_of_life_halting" else "maybe"
    if name == "kakurasu":
        loose = "The answer is " + p.reference
    assert partial.score(loose, p.reference, p.meta) == 1.0
    assert task.check(loose, p.reference, p.meta) == 0.0


def test_puzzle24_must_use_the_given_numbers():
    task = ReasoningGym("puzzle24")
    entry = {
        "question": "",
        "answer": "4*8-6-2",
        "metadata": {"numbers": [4, 8, 6, 2], "source_dataset": "puzzle24"},
    }
    assert task.check("8*4 - (2+6)", "4*8-6-2", {"entry": entry}) == 1.0
    assert ReasoningGym("puzzle24", scoring="partial").score("6*4*1*1", "x", {"entry": entry}) == 1.0
    assert task.check("6*4*1*1", "4*8-6-2", {"entry": entry}) == 0.0


@pytest.mark.parametrize(
    ("name", "config", "other"),
    [
        ("chain_sum", {}, lambda a, m: f"{a}.0"),
        ("decimal_chain_sum", {}, lambda a, m: a + "0"),
        ("countdown", {}, lambda a, m: f"({a})"),
        ("cryptarithm", {}, lambda a, m: ", ".join(reversed(a.split(",")))),
        ("group_anagrams", {}, lambda a, m: json.dumps(json.loads(a)[::-1])),
        ("game_of_life", {}, lambda a, m: json.dumps(json.loads(a), separators=(",", ":"))),
        ("codeio", {}, lambda a, m: json.dumps(json.loads(a), indent=1) if a.startswith("{") else a),
        ("n_queens", {}, lambda a, m: m["valid_answers"][-1]),
        ("palindrome_generation", {}, lambda a, m: palindrome(m["letters"])),
        (
            "polynomial_multiplication",
            {},
            lambda a, m: " + ".join(f"({t})" for t in re.split(r" \+ ", a)[::-1]),
        ),
        ("simple_integration", {}, lambda a, m: a.replace("C", "7*C/2")),
        ("word_sorting", {}, lambda a, m: a.replace(", ", ",")),
        ("power_function", {}, lambda a, m: f"{float(a):.2e}"),
        (
            "polynomial_equations",
            {"min_degree": 2, "max_degree": 2},
            lambda a, m: ", ".join(a.split(", ")[::-1]),
        ),
        ("quantum_lock", {}, lambda a, m: a.replace(" ", "")),
        ("shortest_path", {}, lambda a, m: a),
        ("bitwise_arithmetic", {}, lambda a, m: a.upper().replace("X", "x")),
    ],
)
def test_other_right_answers_count(name, config, other):
    task, p = one(name, config)
    answer = other(p.reference, p.meta["entry"]["metadata"])
    assert task.check(answer, p.reference, stored(p.meta)) == 1.0, (answer, p.reference)


def palindrome(letters):
    odd = [c for c in set(letters) if letters.count(c) % 2]
    half = "".join(c * (letters.count(c) // 2) for c in sorted(set(letters), reverse=True))
    return half + "".join(odd) + half[::-1]


ATTACKS = {
    "spiral_matrix": "[open('{path}','w').write('x')]",
    "string_insertion": "[open('{path}','w').write('x')]",
    "binary_matrix": "[[open('{path}','w').write('x')]]",
    "n_queens": "open('{path}','w').write('x')",
    "simple_integration": "open('{path}','w').write('x')",
    "polynomial_multiplication": "().__class__.__base__.__subclasses__()",
    "countdown": "9**9**9**9**9",
    "puzzle24": "factorial(10**9)",
    "intermediate_integration": "((((9**99)**99)**99)**99)**99",
    "rubiks_cube": "R" + "9" * 30,
    "basic_arithmetic": "9" * 10_000_000,
    "graph_color": "[" * 100_000,
    "propositional_logic": "¬" * 100_000 + "P",
    "power_function": "1e999999999",
}


@pytest.mark.parametrize("scoring", ["exact", "partial"])
@pytest.mark.parametrize("name", ATTACKS)
def test_answers_cannot_run_code_or_blow_up(name, scoring, tmp_path):
    path = tmp_path / "written"
    task = ReasoningGym(name, scoring=scoring)
    (p,) = task.problems("train", 1)
    start = time.perf_counter()
    assert task.score(ATTACKS[name].format(path=path), p.reference, p.meta) < 0.2
    assert time.perf_counter() - start < 5.0
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("-9*x**8/10 + 3*x**4/2 + C", True),
        ("2*(-10*x - 10)**(3/2)/3 + C", True),
        ("exp(x)*sin(x) + E**(2*x) + log(x)**2", True),
        ("3*Integral(x**3*cos(3*x), x) + C", False),
        ("x.diff", False),
        ("f(x)", True),
        ("lambda: 0", False),
        ("2**x**x", False),
        ("(9**9)**99", False),
        ("9**999", False),
        ("10000000000000", False),
        ("0x41", False),
        ("1j", False),
        ("a+b+c+d", False),
        ("x" * 201, False),
        ("", False),
    ],
)
def test_symbolic(text, safe):
    assert gym_answers.symbolic(text) is safe


def test_a_broken_entry_is_missing_not_wrong():
    task, p = one("tower_of_hanoi")
    other = p.reference + "\nMove disk 1 from Peg 1 to Peg 2"
    assert task.check(other, p.reference, p.meta) == 0.0
    broken = stored(p.meta)
    del broken["entry"]["metadata"]["num_disks"]
    assert math.isnan(task.check(other, p.reference, broken))
    assert math.isnan(task.check(other, p.reference, {"entry": "?"}))
    assert math.isnan(task.check(other, p.reference, {"entry": {"question": ""}}))
    task, p = one("countdown")
    broken = stored(p.meta)
    del broken["entry"]["metadata"]["numbers"]
    assert math.isnan(task.check("1+2", p.reference, broken))


def test_global_random_states_are_left_alone():
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist()
    for name in ("list_functions", "pool_matrix"):
        ReasoningGym(name).problems("train", 3)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_problems_that_depend_on_the_hash_seed_are_announced(monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    with pytest.warns(UserWarning, match="set PYTHONHASHSEED"):
        ReasoningGym("composite", {"datasets": [{"name": "ransom_note"}]})
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ReasoningGym("ransom_note")


def test_extraction():
    task, p = one("gcd")
    a, meta = p.reference, p.meta
    assert task.check(f"<answer>1000003</answer> <answer>{a}</answer>", a, meta) == 1.0
    assert task.check(f"{a} <answer>1000003</answer>", a, meta) == 0.0
    tag = ReasoningGym("gcd", extract="tag")
    assert tag.check(a, a, meta) == 0.0 and tag.check(f"<answer>{a}</answer>", a, meta) == 1.0
    assert ReasoningGym("gcd", extract="whole").check(f"<answer>{a}</answer>", a, meta) == 0.0


def test_instruction_follows_the_question_and_leaves_the_problems_alone():
    plain, told = ReasoningGym("gcd"), ReasoningGym("gcd", instruction="Use <answer> tags.")
    (a,), (b,) = plain.problems("train", 1), told.problems("train", 1)
    assert b.prompt == f"{a.prompt}\n\nUse <answer> tags." and plain.key(a) == told.key(b)


def test_bad_recipes():
    assert build("task", {"use": "reasoning_gym", "name": "gcd"}).name == "gcd"
    for spec, words in [
        ({"name": "chain_sums"}, r"unknown generator 'chain_sums'; did you mean 'chain_sum'"),
        ({"name": "chain_sum", "config": {"min_term": 2}}, r"config\.min_term: .* did you mean 'min_terms'"),
        ({"name": "chain_sum", "config": {"seed": 2}}, r"config\.seed"),
        ({"name": "chain_sum", "config": {"min_terms": 0}}, "refuses .* must be positive"),
        ({"name": "chain_sum", "config": {"min_terms": "a"}}, "refuses"),
        ({"name": "composite"}, "refuses"),
        ({"name": "gcd", "scoring": "fuzzy"}, "scoring must be one of exact, partial"),
        ({"name": "gcd", "extract": "first"}, "extract must be one of"),
    ]:
        with pytest.raises(RecipeError, match=words):
            build("task", {"use": "reasoning_gym", **spec})


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(RecipeError, match=r"pip install 'guerdon\[tasks\]'"):
        ReasoningGym("gcd")
