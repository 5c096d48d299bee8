"""Every shaped reward through `guerdon credit`: defaults, `baseline=none`, settings, missing inputs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from records import columns, record

import guerdon as gd
from guerdon import registry
from guerdon.cli import main

PRM = {"prm": [0.95, 0.6, 0.97]}
TURNS = {"score": [4, 3, None], "max_score": [6, 5, None]}
INPUTS = {
    "autothink": (
        columns(think=[1, 0, 1], correct=[1, 1, 0], degenerate=0, format_error=0, length=9),
        "think",
    ),
    "clip-delta": ([record(outcome=o, **PRM) for o in (1, 0, 1)], "prm"),
    "conciseness-reward": (columns(outcome=[1, 0, 1], conciseness=[0.5, 0.9, 0.3]), "conciseness"),
    "efficiency-steering": (columns(outcome=[1, 0, 1], length=[400, 100, 800]), "outcome"),
    "g-ra": ([record(outcome=o, step=[0.1, -0.1]) for o in (1, 0, -1)], "step"),
    "hybrid-multi-aspect": (columns(accuracy=[1, 0, 1], format=[1, 1, 0], length=[9, 2, 8]), "format"),
    "par": (columns(rm=[2, 5, 0], length=5, meta=[{"ref_rewards": [1, 3]}] * 3), "rm"),
    "pear": (
        [record(3, outcome=o, entropy=[0.9, 0, 0.2], meta={"think_end": 1}) for o in (1, 0, 1)],
        "outcome",
    ),
    "posterior-grpo": (columns(outcome=[1, 0, 1], format=[1, 1, 0], thinking=[0.9, 0.5, 0.1]), "thinking"),
    "ppr-renorm": ([record(outcome=o, **TURNS) for o in (1, 0, 1)], "max_score"),
    "rlsp": (
        [record(completion="x" * 400 + "\\boxed{7}", reference=a) for a in ("7", "8", "7")],
        "reference",
    ),
    "sophiavl-r1": (columns(outcome=[1, 0, 1], thinking=[0.9, 0.5, 0.1]), "thinking"),
    "ton": (columns(accuracy=[1, 0, 1], format=[1, 1, 0]), "accuracy"),
    "transform-combine": (columns(rm=[2, 5, 0], meta=[{"r_ref": 1.0}] * 3), "rm"),
}
SETTINGS = {
    "autothink": ["alpha=0.05", "beta=0.05", "rho=0.5", "slope=2"],
    "clip-delta": ["alpha=0.5", "clip=0.9", "delta=keep"],
    "conciseness-reward": ["alpha=0.5", "difficulty=0.4", "eps=1e-6", "progress=0.5", "s=0.6"],
    "efficiency-steering": ["eps=1e-6", "lambda=0.4", "ref=shortest"],
    "g-ra": [
        "delta=-0.5",
        "gamma=0.9",
        "positives_only=true",
        "priority=[outcome, step]",
        "thresholds=[-0.5]",
    ],
    "hybrid-multi-aspect": ["mode=both", "p_max=0.5", "tau=0.2"],
    "par": ["k=1", "length_limit=300", "length_penalty=0.01", "max_refs=1", "variant=par"],
    "pear": ["alpha=1", "eps=1e-6", "format_reward=0"],
    "posterior-grpo": ["ddof=1", "eps=1e-6", "scale=none"],
    "ppr-renorm": ["beta=1", "invalid=zero"],
    "rlsp": ["C=1000", "alpha=0.8", "judge=false"],
    "sophiavl-r1": ["T=1000", "alpha=0.3", "eps=1e-6", "judge_min=0.2", "step=250"],
    "ton": ["ddof=1", "eps=1e-4"],
    "transform-combine": ["ddof=1", "eps=1e-5", "estimator=normal", "quantile=0.85", "weights={rm: 2}"],
}


def run(*arguments):
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code or 0
    return 0


def credited(tmp_path, records, slug, *settings):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(each) + "\n" for each in records))
    sets = [argument for setting in settings for argument in ("--set", setting)]
    assert run("credit", source, "--method", slug, *sets, "--out", out) == 0
    return gd.read(out)


def advantages(rollouts):
    return (rollouts.signals["advantage"] if rollouts.tokens is None else rollouts.advantages).values


def test_every_system_is_here():
    assert sorted(INPUTS) == sorted(SETTINGS) == registry.published("shape")


@pytest.mark.parametrize("slug", sorted(INPUTS))
def test_rewards_are_kept_and_spread(slug, tmp_path, capsys):
    out = credited(tmp_path, INPUTS[slug][0], slug, "baseline=none")
    reward = out.signals["reward"]
    assert reward.missing == 0 and len(set(reward.values)) > 1
    finest = out.levels[0]
    np.testing.assert_allclose(advantages(out), out.spread(reward, finest).values)
    assert slug in capsys.readouterr().out


@pytest.mark.parametrize("slug", sorted(INPUTS))
def test_defaults_and_documented_settings(slug, tmp_path, capsys):
    for settings in ([], SETTINGS[slug]):
        out = credited(tmp_path, INPUTS[slug][0], slug, *settings)
        assert np.isfinite(advantages(out)).all() and np.abs(advantages(out)).max() > 0


@pytest.mark.parametrize("slug", sorted(INPUTS))
def test_a_missing_input_is_named(slug, tmp_path, capsys):
    records, name = INPUTS[slug]
    source = tmp_path / "in.jsonl"
    lines = []
    for each in records:
        kept = {key: value for key, value in each["signals"].items() if key != name}
        lines.append({**{k: v for k, v in each.items() if k != name}, "signals": kept})
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run("credit", source, "--method", slug, "--out", tmp_path / "out.jsonl") != 0
    message = capsys.readouterr().err
    assert slug in message and name in message


@pytest.mark.parametrize("slug", sorted(INPUTS))
def test_an_unknown_setting_is_refused(slug, tmp_path, capsys):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(each) + "\n" for each in INPUTS[slug][0]))
    bad = ("--set", "nonsense=1", "--out", tmp_path / "out.jsonl")
    assert run("credit", source, "--method", slug, *bad) != 0
    assert "nonsense" in capsys.readouterr().err
    assert run("credit", source, "--method", slug, "--set", "baseline=best", *bad[2:]) != 0
    assert "baseline must be one of" in capsys.readouterr().err


WRONG = {
    "autothink": "rho",
    "clip-delta": "alpha",
    "conciseness-reward": "alpha",
    "efficiency-steering": "lambda",
    "g-ra": "delta",
    "hybrid-multi-aspect": "p_max",
    "par": "k",
    "pear": "alpha",
    "ppr-renorm": "beta",
    "rlsp": "C",
    "sophiavl-r1": "alpha",
    "transform-combine": "quantile",
    "posterior-grpo": "eps",
    "ton": "eps",
}


@pytest.mark.parametrize("slug", sorted(INPUTS))
def test_a_value_of_the_wrong_type_is_refused(slug, tmp_path, capsys):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(each) + "\n" for each in INPUTS[slug][0]))
    rest = ("--out", tmp_path / "out.jsonl")
    assert run("credit", source, "--method", slug, "--set", f"{WRONG[slug]}=much", *rest) != 0
    message = capsys.readouterr().err
    assert WRONG[slug] in message and "'much'" in message
