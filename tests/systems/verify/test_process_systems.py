"""IRCoCo, Lanser-CLI and Thoth's SCORE: worked examples, reductions and pitfalls."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.systems.verify.ircoco import ircoco, reinforce_loss
from guerdon.systems.verify.lanser_cli import lanser_cli
from guerdon.systems.verify.thoth_score import thoth_score
from guerdon.verify.canonical import content_id, released_id
from guerdon.verify.protocol_steps import Step, aligned, covered, step_content
from guerdon.verify.selectors import candidate_score, fingerprints, resolve
from guerdon.verify.sequences import lcs_f1, lcs_pairs

# -- IRCoCo -------------------------------------------------------------------------------------------


def tokens(values: list[list[float]], starts: list[float], **columns) -> Rollouts:
    flat = np.concatenate([np.array(v, float) for v in values]) if values else np.zeros(0)
    return Rollouts(
        tokens=Ragged.from_lists([[7] * len(v) for v in values], np.int32),
        signals={"V": Signal(flat, "token", "V"), "V0": Signal(np.array(starts), "rollout", "V0")},
        **columns,
    )


def test_worked_example_of_ircoco():
    total = ircoco()(tokens([[0.35, 0.3, 0.6]], [0.2]))
    np.testing.assert_allclose(total.values, [0.15, -0.05, 0.30])
    assert total.level == "token" and total.values.sum() == pytest.approx(0.40)
    logprobs = np.array([-1, -0.5, -2])
    assert round(reinforce_loss(logprobs, total.values, count_eos=False), 4) == 0.2417
    assert reinforce_loss(logprobs, total.values) == pytest.approx(0.725 / 4)
    assert not ircoco()(tokens([[0.5, 0.5]], [0.5])).values.any()


def test_eos_context_and_rounding():
    rollouts = tokens([[0.3, 0.4]], [0.2]).replace(tokens=Ragged.from_lists([[7, 2]], np.int32))
    assert ircoco(eos=2)(rollouts).values.tolist() == [0.1, 0.0]
    acted = rollouts.replace(acted=Ragged.from_lists([[False, True]], bool))
    assert ircoco()(acted).values.tolist() == [0.0, 0.1]
    small = tokens([[0.20004]], [0.2])
    assert ircoco()(small).values.tolist() == [0.0] and ircoco(decimals=None)(small).values[0] > 0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.floats(-1, 1), max_size=5), min_size=1, max_size=4), st.floats(0, 1))
def test_rewards_telescope_and_returns_follow_their_recursion(values, gamma):
    rollouts = tokens(values, [0.5] * len(values))
    r = ircoco(decimals=None)(rollouts).values
    g = ircoco(decimals=None, gamma=gamma)(rollouts).values
    at = 0
    for row in values:
        n = len(row)
        assert r[at : at + n].sum() == pytest.approx(row[-1] - 0.5 if row else 0.0, abs=1e-9)
        for k in range(at, at + n):
            later = g[k + 1] if k + 1 < at + n and gamma else 0.0
            assert g[k] == pytest.approx(r[k] + gamma * later, abs=1e-9)
        at += n


def test_steps_of_text_missing_values_and_bad_inputs():
    rollouts = Rollouts(
        completion=["abcd", "xy"],
        meta=[{"V0": 0.0}, {}],
        partitions={"step": Ragged.from_lists([[2, 4], [2]], np.int64)},
        signals={"V": Signal(np.array([0.5, np.nan, 0.2]), "step", "V")},
    )
    total = ircoco()(rollouts)
    assert total.level == "step"
    np.testing.assert_equal(total.values, [0.5, np.nan, np.nan])
    assert set(total.causes) == {1, 2}
    with pytest.raises(DataError, match="'V'"):
        ircoco()(Rollouts(completion=["a"]))
    with pytest.raises(DataError, match="per rollout"):
        ircoco(value="V0")(tokens([[0.1]], [0.2]))
    with pytest.raises(RecipeError, match="gamma"):
        ircoco(gamma=2.0)


# -- Lanser-CLI ---------------------------------------------------------------------------------------


def edits(d, s, alpha, d0=0.0, s0=None, alpha0=None) -> Rollouts:
    n = len(d)
    meta = {"D0": d0, "S0": s0, "alpha0": alpha0}
    return Rollouts(
        completion=["x" * n],
        meta=[{key: value for key, value in meta.items() if value is not None}],
        partitions={"step": Ragged.from_lists([list(range(1, n + 1))], np.int64)},
        signals={
            name: Signal(np.array(v, float), "step", name)
            for name, v in (("D", d), ("S", s), ("alpha", alpha))
        },
    )


def test_worked_example_of_lanser():
    total, parts = lanser_cli().explain(edits([2], [1], [0.72], d0=3))
    assert total.values[0] == pytest.approx(0.8720)
    assert [round(parts[p].values[0], 4) for p in ("diagnostics", "safety", "ambiguity")] == [
        0.5,
        0.4,
        -0.028,
    ]


def test_the_papers_monotonicity_fails_and_the_potentials_holds():
    same = edits([3], [0], [0.5], d0=3, s0=0, alpha0=0.5)
    assert lanser_cli()(same).values[0] == pytest.approx(-0.05)
    assert lanser_cli(form="potential")(same).values[0] == 0.0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=6))
def test_potential_rewards_telescope_and_are_monotone(states):
    d, s, alpha = (list(v) for v in zip(*states, strict=True))
    rollouts = edits(d[1:], s[1:], alpha[1:], d[0], s[0], alpha[0])
    r = lanser_cli(form="potential")(rollouts).values
    phi = [-0.5 * x + 0.4 * y + 0.1 * z for x, y, z in states]
    assert r.sum() == pytest.approx(phi[-1] - phi[0])
    for k in range(1, len(states)):
        if d[k] <= d[k - 1] and s[k] >= s[k - 1] and alpha[k] >= alpha[k - 1]:
            assert r[k - 1] >= -1e-12


def test_missing_facts_of_lanser():
    total = lanser_cli()(edits([1, np.nan, 1, 1], [1] * 4, [1] * 4, d0=None))
    np.testing.assert_equal(np.isnan(total.values), [True, True, True, False])
    assert "D0" in total.causes[0]
    with pytest.raises(DataError, match="step-level signal 'D'"):
        lanser_cli()(Rollouts(completion=["a"]))
    with pytest.raises(RecipeError, match="form"):
        lanser_cli(form="level")


def test_bundle_ids_do_not_depend_on_how_content_was_written():
    def location(uri, line):
        return {
            "uri": uri,
            "range": {"start": {"line": line, "character": 0}, "end": {"line": line, "character": 4}},
        }

    one = {
        "kind": "definition",
        "timestamp": 1,
        "result": {"items": [location("b.py", 2), location("a.py", 9)]},
    }
    two = {
        "result": {"items": [location("a.py", 9), location("b.py", 2)]},
        "timestamp": 2,
        "kind": "definition",
    }
    assert content_id(one) == content_id(two) != content_id({**one, "kind": "hover"})
    assert len(content_id(one)) == 64


def test_released_ids_and_selectors():
    assert (
        released_id({"b": 1, "a": "é"}) == released_id({"a": "é", "b": 1}) != content_id({"a": "é", "b": 1})
    )
    assert released_id({})[:7] == "sha256:" and released_id({"t": 1}) != released_id({"t": 2})
    score = candidate_score({"ast_kind": 1.0, "module": 1.0, "proximity": 0.2})
    assert score == pytest.approx(0.72)
    one = {"uri": "b.py", "range": [3, 0, 3, 4], "score": score}
    two = {"uri": "a.py", "range": [9, 0, 9, 4], "score": score}
    assert resolve([one, two], tau=0.5) == (two, score, False) and resolve([one], tau=0.8).ambiguous
    assert resolve([], tau=0.0) == (None, 0.0, True)
    shared = "the quick brown fox"
    a, b = (fingerprints(f"{edge} {shared} {edge}") for edge in ("aaa", "zz"))
    assert {h for h, _ in a} & {h for h, _ in b} and not fingerprints("short")


# -- Thoth --------------------------------------------------------------------------------------------


def protocol(*steps: tuple[str, list[str], list[str]], orc: bool = True) -> str:
    def line(k: int, step: tuple[str, list[str], list[str]]) -> str:
        named = dict(zip(("action", "objects", "parameters"), step, strict=True))
        return f"Step {k}: {json.dumps(named, ensure_ascii=False)}"

    key = "\n".join(line(k, step) for k, step in enumerate(steps, 1))
    spoken = "\n".join(f"Step {k}: {s[0]} {' '.join(s[1])} {' '.join(s[2])}" for k, s in enumerate(steps, 1))
    return f"<think>t</think>\n<key>\n{key}\n</key>\n<orc>\n{spoken if orc else ''}\n</orc>\n<note>n</note>"


GROW = ("grow", ["cells"], ["37 °c"])
SPIN = ("spin", ["tube"], ["5 min"])
ADD = ("add", ["buffer"], ["10 µl"])
READ = ("read", ["plate"], ["450 nm"])
GOLD = protocol(GROW, SPIN, ADD, READ)


def thoth(completion: str, reference=GOLD, **parameters) -> dict[str, float]:
    total, parts = thoth_score(**parameters).explain(Rollouts(completion=[completion], reference=[reference]))
    return {"total": total.values[0], **{name: signal.values[0] for name, signal in parts.items()}}


def test_worked_examples_of_thoth():
    said, gold = ["grow", "add", "spin", "read"], ["grow", "spin", "add", "read"]
    assert lcs_f1(said, gold) == 0.75
    found = thoth(protocol(GROW, ADD, SPIN, READ), order="strict")
    assert found["order"] == 0.0
    same = Step(1, "a", ("x",), ("p",))
    assert [round(step_content(same, same, x, 4) / 1.5, 4) for x in range(3)] == [1.0, 0.875, 0.6464]
    half = Step(1, "a", ("x", "y"), ("p",))
    assert step_content(half, same, 1, 4) == pytest.approx(0.8750)
    assert step_content(same, same, 4, 4) == 0.0


def test_a_perfect_protocol_is_worth_one():
    found = thoth(GOLD)
    assert found == {
        "total": 1.0,
        "format": 1.0,
        "consistency": 1.0,
        "step": 1.0,
        "order": 1.0,
        "content": 1.5,
    }


def test_gates_of_thoth():
    assert thoth(GOLD.replace("<note>", "<nota>"))["total"] == 0.0
    assert thoth(GOLD.replace("Step 2: {", "Step 2: "))["format"] == 0.0
    assert thoth(protocol(GROW, SPIN, ADD, READ, orc=False))["consistency"] == 0.0
    assert thoth(protocol(GROW, SPIN, ADD, READ, orc=False), coverage=0.0)["total"] == 1.0
    assert thoth("")["total"] == 0.0


def test_step_scale_order_and_content_by_hand():
    short = protocol(GROW, SPIN)
    found = thoth(short)
    assert found["step"] == pytest.approx(math.exp(-0.5)) and found["order"] == pytest.approx(4 / 6)
    assert found["content"] == pytest.approx(3.0 / 4)
    assert thoth(short, divide_by="pairs")["content"] == 1.5 and thoth(short, scale="equal")["step"] == 0.0


def test_one_unknown_action_in_front_uses_gold_up():
    assert aligned(["shake", "grow"], ["grow", "spin"]) == []
    said, gold = ["grow", "add", "spin", "read"], ["grow", "spin", "add", "read"]
    assert aligned(said, gold) == [(0, 0), (1, 2)], "spin comes too late and read goes with it"
    assert lcs_pairs(["shake", "grow"], ["grow", "spin"]) == [(1, 0)]
    assert lcs_pairs(said, gold) in ([(0, 0), (1, 2), (3, 3)], [(0, 0), (2, 1), (3, 3)])
    shaken = protocol(("shake", ["tube"], []), GROW, SPIN, ADD, READ)
    assert thoth(shaken)["content"] == 0.0 and thoth(shaken, align="lcs")["content"] == pytest.approx(
        1.5 * 0.875
    )


def test_content_falls_back_on_words_and_gates_parameters():
    gold = Step(1, "add", ("red buffer",), ("10 µl",))
    assert step_content(Step(1, "add", ("buffer",), ("10 µl",)), gold, 0, 2) == pytest.approx(0.5 + 0.5)
    assert step_content(Step(1, "add", ("blue green buffer",), ("10 µl",)), gold, 0, 2) == pytest.approx(0.25)
    bare = Step(1, "mix", (), ())
    assert step_content(bare, bare, 0, 1) == 1.5
    assert covered([gold], "Step 1: add 10 µl of red buffer") == 1.0 and covered([], "x") == 0.0


def test_a_reference_without_steps_is_missing():
    for reference in (None, "", "no steps", 5):
        signal = thoth_score()(Rollouts(completion=[GOLD], reference=[reference]))
        assert math.isnan(signal.values[0]) and "reference" in signal.causes[0]
    block = 'Step 1: {"action": "grow", "objects": ["cells"], "parameters": ["37 °c"]}'
    assert thoth(protocol(GROW), reference=block)["total"] == 1.0
    with pytest.raises(RecipeError, match="order"):
        thoth_score(order="tau")
