"""What credit and shape systems say to records and parameters they cannot use."""

from __future__ import annotations

import json

import pytest

from guerdon.cli import main

CHAIN = (
    "find it</step><subquery>who?</subquery><retrieval>text</retrieval><step>read</step>"
    "<subanswer>x</subanswer><step>done</step><answer>Paris France</answer>"
)


def row(tokens=2, **fields):
    """A record of one step and one turn; signals are (level, values)."""
    signals = {k: {"level": v[0], "values": v[1]} for k, v in fields.items() if isinstance(v, tuple)}
    columns = {k: v for k, v in fields.items() if not isinstance(v, tuple)}
    made = {"group": "g", "tokens": [1] * tokens, "steps": [tokens], "turns": [tokens]}
    return {**made, **columns, "signals": signals}


def run(folder, method, records, *settings):
    """Exit code of `guerdon credit`, and the advantages it wrote."""
    source, out = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps(each) + "\n" for each in records))
    chosen = [part for each in settings for part in ("--set", each)]
    try:
        main(["credit", str(source), "--method", method, "--out", str(out), *chosen])
    except SystemExit as stop:
        if stop.code:
            return stop.code, []
    return 0, [json.loads(line)["advantages"] for line in out.read_text().splitlines()]


MODES = row(think=("rollout", [1]), correct=("rollout", [1]))
HARMO = row(accuracy=("rollout", [1]), format=("rollout", [1]))
SOLVED = row(outcome=("rollout", [1]))


@pytest.mark.parametrize(
    ("method", "record", "setting", "told"),
    [
        ("autothink", MODES, "rho=1.5", "rho must be a number in [0, 1], got 1.5"),
        ("autothink", MODES, "rho=-0.1", "rho must be a number in [0, 1], got -0.1"),
        ("hybrid-multi-aspect", HARMO, "tau=1", "tau must lie below 1, got 1"),
        ("hybrid-multi-aspect", HARMO, "p_max=-1", "p_max, the largest penalty, must be 0 or more; got -1"),
        ("hybrid-multi-aspect", HARMO, "weights=[1, 2]", "weights are three, of accuracy, length and format"),
        (
            "efficiency-steering",
            SOLVED,
            "lamda=1",
            "lamda: unknown field; did you mean 'lambda'? (valid: baseline",
        ),
        (
            "efficiency-steering",
            SOLVED,
            "lambda=much",
            "efficiency-steering: lambda must be a number, got 'much'",
        ),
        ("conciseness-reward", SOLVED, "s=1.5", "s must be a number in [0, 1], got 1.5"),
        ("conciseness-reward", SOLVED, "progress=-1", "progress must be a number in [0, 1], got -1"),
    ],
)
def test_parameters_out_of_range(method, record, setting, told, tmp_path, capsys):
    assert run(tmp_path, method, [record], setting)[0] == 2
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("method", "record", "told"),
    [
        ("capo", row(critique_1=("step", [1])), "capo needs the signal 'outcome' at level 'rollout'"),
        ("spa-rl", row(grounded=("step", [1])), "spa-rl needs the signal 'contribution' at level 'step'"),
        ("spa-rl", row(contribution=("step", [1])), "spa-rl needs the signal 'grounded' at level 'step'"),
        ("ton", row(accuracy=("rollout", [1])), "ton needs the signal 'format' at level 'rollout'"),
    ],
)
def test_missing_signals_are_named_with_their_level(method, record, told, tmp_path, capsys):
    assert run(tmp_path, method, [record])[0] == 2
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("gold", ["Paris", ["Rome", "Paris"], {"answer": "Paris"}, {"answer": ["Paris"]}])
def test_prorag_reads_gold_answers_as_text_or_under_answer(gold, tmp_path):
    """Outcomes 2 * (2/3) + 1 and -1: z-scores d / (sqrt 2 d' + 1e-4) over a difference of 10/3."""
    records = [
        row(completion=text, reference=gold, step_score=("step", [score]))
        for text, score in ((CHAIN, 1.2), ("nothing", 1.0))
    ]
    code, found = run(tmp_path, "prorag", records, "weight=0")
    z = (10 / 6) / ((10 / 3) / 2**0.5 + 1e-4)
    assert code == 0
    assert found[0] == pytest.approx([z, z], abs=1e-9) and found[1] == pytest.approx([-z, -z], abs=1e-9)
