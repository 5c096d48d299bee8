"""Every system through `guerdon credit`: records in, the same records with advantages out."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from cases import credit, record
from test_outcome_and_step_systems import PRIMED, STARRED, WALKS, walk
from test_progress_systems import SPA, TALK, THOUGHT
from test_turn_and_tree_systems import ANSWERS, TREE, TURNS

import guerdon as gd
from guerdon.cli import main
from guerdon.systems import find, slugs

INPUTS = {
    "archer": ([TALK], {"gamma": 0.9, "head": "min"}),
    "capo": (
        [record([2, 2], outcome=1, critique_1=[0, 1]), record([1, 2], outcome=0, critique_1=[1, 0])],
        {"vote": "strict", "ddof": 0, "eps": 1e-8, "w_outcome": 2, "w_process": 0.5},
    ),
    "gigpo": (WALKS, {"gamma": 0.9, "scale": "std", "unit": "row", "singleton": "zero", "weight": 0.5}),
    "igpo": (ANSWERS, {"gamma": 0.9, "gain": "prob", "ddof": 0, "eps": 1e-4}),
    "matchtir": (TURNS, {"gamma": 0.8, "match": "greedy", "reg": 0.2, "singleton": "zero", "eps": 1e-4}),
    "mrt": (
        [record(2, outcome=1, termination=0.4, j=[0.5, 0.7], j_start=0.4)],
        {"alpha": 2.0, "j_star": 0.9, "normalise": True},
    ),
    "oprl-istar": (
        STARRED,
        {"beta": 0.1, "weight": 0.5, "norm": "none", "aggregate": "sum", "first_step_baseline": True},
    ),
    "pav": ([record([1, 2], q_root=0.25, q_policy=[0.4, 0.3], outcome=1)], {"alpha": 0.5, "K": 2}),
    "portool": (TREE, {"gamma": 0.9, "eta": 0.2, "agg": "max", "w_fork": 1, "w_traj": 0.25, "shared": "own"}),
    "prime": (PRIMED, {"beta": 0.1, "gamma": 0.9, "loo": "code", "norm": "none", "whiten": False}),
    "prorag": (
        [record([2, 1], outcome=3, step_score=[1.9, 1.5]), record([2], outcome=1, step_score=[1.2])],
        {"weight": 0.5, "pool": "step", "ddof_outcome": 0, "ddof_process": 1, "outcome_eps": 1e-6},
    ),
    "pure": (
        [record(2, prm=[0.5, 0.2], outcome=1), record(3, prm=[0.1, 0.4, 0.3], outcome=0)],
        {"temperature": 0.2, "form": "min", "vr_coef": 0.5, "baseline": "return", "t_max": 8, "whiten": True},
    ),
    "salt": (
        [walk(1, ("s0", "go"), final="w"), walk(0, ("s0", "GO"), final="w")],
        {"base": "rloo", "history_window": 2, "normalise_actions": False, "unit": "rollout"},
    ),
    "spa-rl": ([record(3, **SPA)], {"alpha": 2.0, "beta": 0.1, "variant": "remaining_steps"}),
    "tp-grpo-thought": (THOUGHT, {"alpha": 0.5, "ddof": 0, "eps": 1e-4}),
    "vsrm": (
        [record(4, forced_acc=[0.2, 0.2, 0.6, None], outcome=1)],
        {"decay": 0.5, "lookahead": 2, "place": "cut"},
    ),
}


def run(*arguments):
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code or 0
    return 0


def write(path, records):
    path.write_text("".join(json.dumps(each | {"note": "kept"}) + "\n" for each in records))
    return path


def given(parameters):
    return [part for key, value in parameters.items() for part in ("--set", f"{key}={json.dumps(value)}")]


@pytest.mark.parametrize("slug", sorted(INPUTS))
def test_records_through_the_command(slug, tmp_path, capsys):
    records, parameters = INPUTS[slug]
    source, out = write(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl"
    for chosen in ({}, parameters):
        assert run("credit", source, "--method", slug, *given(chosen), "--out", out, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        written = [json.loads(line) for line in out.read_text().splitlines()]
        expected = credit(slug, records, **chosen)
        for row, want, old in zip(written, expected, records, strict=True):
            np.testing.assert_allclose(row["advantages"], want, atol=1e-12)
            assert row["note"] == "kept" and row["signals"] == old["signals"]
        assert told["method"] == slug and told["rollouts"] == len(records)
        for report in told["sources"].values():
            assert {"spans", "missing", "dropped", "abs_advantage"} <= report.keys()
    assert run("credit", source, "--method", slug, "--out", tmp_path / "out.parquet") == 0
    assert slug in capsys.readouterr().out
    again = gd.read(tmp_path / "out.parquet")
    np.testing.assert_allclose(again.advantages.values, np.concatenate(credit(slug, records)), atol=1e-12)


def test_parameters_change_what_is_written():
    """Each case above sets parameters that its records are sensitive to."""
    for slug, (records, parameters) in INPUTS.items():
        if slug not in ("archer",):
            assert credit(slug, records) != credit(slug, records, **parameters), slug


def test_diagnostics_name_groups_and_agreement(tmp_path, capsys):
    source = write(tmp_path / "in.jsonl", WALKS)
    assert run("credit", source, "--method", "gigpo", "--out", tmp_path / "o.jsonl", "--json") == 0
    env = json.loads(capsys.readouterr().out)["sources"]["env"]
    assert env["groups"] == 3 and env["group_size"] == 3.0 and env["singletons"] == 0.0
    assert env["uniform"] == pytest.approx(1 / 3)  # both visits of s2 are worth 10
    assert 0 < env["correlation_outcome"] <= 1
    assert run("credit", source, "--method", "gigpo", "--out", tmp_path / "o.jsonl") == 0
    assert "correlation outcome" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("slug", "records", "told"),
    [
        ("gigpo", [record(2, outcome=1, env=[0, 1])], 'gigpo needs per-step state keys: column "state"'),
        ("gigpo", [record(2, outcome=1, state=[1, 2])], "gigpo needs the signal 'env' at level 'step'"),
        (
            "portool",
            [record(2, outcome=1, call_ok=[0, 1])],
            'portool needs per-step tree nodes: column "node"',
        ),
        ("salt", [record(2, outcome=1, state=[1, 2])], "salt needs `meta.actions`"),
        (
            "salt",
            [record(2, outcome=1, state=[1, 2], meta={"actions": ["a"]})],
            "row 0 has 2 steps, but 1 entries in `meta.actions`",
        ),
        (
            "igpo",
            [record(2, outcome=1, prm=[0, 1])],
            "igpo needs the signal 'answer_logprob' at level 'turn'",
        ),
        ("capo", [record(2, outcome=1)], "capo needs the signals critique_1, critique_2"),
        ("vsrm", [record(2, outcome=1)], "vsrm needs the signal 'forced_acc' at level 'step'"),
        ("pure", [record(2, outcome=1)], "pure needs the signal 'prm' at level 'step'"),
        ("archer", [record(2, level="turn", q1=[0, 1])], "archer needs the signal 'q2'"),
        ("prime", [record(2, outcome=1)], "prime needs the signal 'implicit' at level 'token'"),
        ("gigop", WALKS, "unknown credit 'gigop'; did you mean 'gigpo'?"),
        ("grp", WALKS, "did you mean 'grpo'?"),
    ],
)
def test_what_is_missing_is_named(slug, records, told, tmp_path, capsys):
    source, out = write(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl"
    assert run("credit", source, "--method", slug, "--out", out) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_a_step_signal_of_another_length_names_its_row(tmp_path, capsys):
    records = [*WALKS, record(3, outcome=1, env=[0, 1], state=["a", "b", "c"])]
    source = write(tmp_path / "in.jsonl", records)
    assert run("credit", source, "--method", "gigpo", "--out", tmp_path / "o.jsonl") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "line 4" in error and "signals.env: expected 3 values at level 'step', got 2" in error


@pytest.mark.parametrize(
    ("slug", "parameters", "told"),
    [
        ("gigpo", {"scale": "group"}, "scale must be one of none, std"),
        ("gigpo", {"gamma": 1.5}, "gamma must be a number in [0, 1]"),
        ("gigpo", {"wieght": 1}, "unknown field; did you mean 'weight'"),
        ("prime", {"beta": 0}, "beta must be a number above 0"),
        ("pure", {"temperature": 0}, "temperature must be a number above 0"),
        ("pure", {"t_max": 5}, "t_max is a parameter of baseline='return'"),
        ("vsrm", {"decay": -0.1}, "decay must be a number in [0, 1]"),
        ("salt", {"history_window": 0}, "history_window must be a whole number from 1"),
        ("capo", {"vote": "plurality"}, "vote must be one of"),
        ("archer", {"head": 3}, "head must be one of"),
        ("oprl-istar", {"baseline": "grpo", "first_step_baseline": True}, "exists for baseline='rloo' only"),
    ],
)
def test_parameters_out_of_range_are_refused(slug, parameters, told, tmp_path, capsys):
    source = write(tmp_path / "in.jsonl", INPUTS[slug][0])
    assert run("credit", source, "--method", slug, *given(parameters), "--out", tmp_path / "o.jsonl") == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_help_lists_the_slugs_without_importing_them():
    program = (
        "import sys\nfrom guerdon.cli import main\n"
        "try:\n    main(['credit', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(m for m in sys.modules if m.startswith(('guerdon.systems.', 'numba', 'numpy'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    text = "".join(line.strip(" │\n") + " " for line in done.stdout.splitlines())
    for slug in INPUTS:
        assert slug in text
    assert done.stdout.splitlines()[-1] == "['guerdon.systems.catalogue']"


def test_from_python_and_documented():
    for slug, module in slugs().items():
        if not module.startswith("guerdon.systems.credit."):
            continue
        entry = find(slug)
        name = slug.replace("-", "_")
        assert entry.factory is getattr(gd.credit, name) and entry.family == "credit"
        assert "Reference:" in entry.factory.__doc__ and entry.title
        assert slug in INPUTS
    with pytest.raises(AttributeError, match="no attribute 'gigop'"):
        _ = gd.credit.gigop
    outcome = gd.Signal([1.0, 0.0], "rollout", "outcome")
    process = gd.Signal([0.5, 0.2, 0.1], "step", "process")
    steps = gd.Ragged.from_lists([[1, 2], [1]], np.int64)
    rollouts = gd.Rollouts(
        tokens=gd.Ragged.from_lists([[1, 2], [3]], np.int32), partitions={"step": steps}, group=[0, 0]
    )
    got = gd.credit.pure(temperature=0.1)(rollouts, {"outcome": outcome, "process": process})
    assert got.level == "token" and len(got) == 3
