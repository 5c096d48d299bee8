"""The harness: verdicts by the rule, runs that go on, results that are stored."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from guerdon.claims import find, run_claim, slugs
from guerdon.claims.analyses import ANALYSES
from guerdon.claims.claim import Claim, compare
from guerdon.claims.render import page, render
from guerdon.claims.stored import results
from guerdon.cli import app
from guerdon.errors import RecipeError


def test_verdicts():
    base = np.zeros(8)
    noise = np.array([-1, 1, -1, 1, -1, 1, -1, 1.0])
    assert compare(base, base + 1).verdict == "reproduced"
    assert compare(base, base - 1).verdict == "not reproduced"
    assert compare(base, base - 1, higher=False).verdict == "reproduced"
    assert compare(base, base).verdict == "not reproduced"
    assert compare(base, noise).verdict == "inconclusive"
    assert compare(base, 0.01 * noise, margin=0.5).verdict == "not reproduced"
    assert compare(base[:4], base[:4] + 1).verdict == "inconclusive"
    assert compare(base, np.full(8, math.nan)).verdict == "inconclusive"


def test_the_interval_is_student_s():
    outcome = compare([0.0] * 5, [1.0, 2, 3, 4, 5])
    half = 2.776 * np.std([1, 2, 3, 4, 5], ddof=1) / math.sqrt(5)
    assert (outcome.difference, outcome.low, outcome.high) == pytest.approx((3, 3 - half, 3 + half))


def a_claim(calls, fail_at=None):
    def run(arm, seed, smoke):
        calls.append((arm, seed, smoke))
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        return {"value": seed + (arm == "new"), "curve": [0.0, float(seed)], "blank": 0.25 * seed}

    return Claim("made-up", "new beats old", "points, higher is better", "old", "new", run, seeds=5)


def test_a_stopped_run_goes_on(tmp_path):
    calls: list = []
    with pytest.raises(KeyboardInterrupt):
        run_claim(a_claim(calls, fail_at=4), tmp_path)
    assert (tmp_path / "made-up.partial.json").exists() and len(calls) == 4
    again: list = []
    result = run_claim(a_claim(again), tmp_path)
    assert len(again) == 7 and again[0] == ("new", 1, False)
    assert result["verdict"] == "reproduced" and result["difference"] == 1.0 and result["seeds"] == 5
    assert not (tmp_path / "made-up.partial.json").exists()
    assert results(tmp_path)["made-up"]["values"]["new"] == [1, 2, 3, 4, 5]
    assert render(tmp_path / "docs", tmp_path) == 1
    assert result["beside"]["new"] == {"blank": [0.0, 0.25, 0.5, 0.75, 1.0]}
    page = (tmp_path / "docs" / "claims.md").read_text()
    assert "**reproduced**" in page and "means over seeds; old: blank 0.5; new: blank 0.5." in page
    assert (tmp_path / "docs" / "claims" / "made-up.png").stat().st_size > 1000


def test_the_command_says_what_a_stopped_run_kept(tmp_path, monkeypatch, capsys):
    systems = importlib.import_module("guerdon.cli.systems")
    monkeypatch.setattr(systems, "find_claim", lambda slug: a_claim([], fail_at=4))
    with pytest.raises(KeyboardInterrupt):
        systems.claim_command("made-up", tmp_path, None, False, False)
    assert "made-up.partial.json" in capsys.readouterr().err


def test_a_smoke_run_stores_nothing(tmp_path):
    calls: list = []
    assert run_claim(a_claim(calls), tmp_path, smoke=True)["seeds"] == 5
    assert list(tmp_path.iterdir()) == [] and all(smoke for *_, smoke in calls)


def test_what_is_refused():
    with pytest.raises(RecipeError, match="at least 5 seeds"):
        Claim("x", "", "", "a", "b", lambda *_: 0.0, seeds=3)
    with pytest.raises(RecipeError, match="no claim for 'nothing'"):
        find("nothing")


def test_the_page_says_what_is_small_and_why(tmp_path):
    stored = results()["gigpo"]
    kept = {**stored, "verdict": "reproduced", "interval": [0.1, 0.3], "margin": 0.5}
    (tmp_path / "gigpo.json").write_text(json.dumps(kept))
    render(tmp_path / "docs", tmp_path)
    text = (tmp_path / "docs" / "claims.md").read_text()
    assert "**reproduced (small)**" in text and "margin 0.5" in text and ANALYSES["gigpo"] in text
    assert set(ANALYSES) <= set(slugs())


def test_the_page_is_of_the_stored_results():
    docs = Path(__file__).parents[2] / "docs"
    assert (docs / "claims.md").read_text(encoding="utf-8") == page(results()), (
        "draw it anew: python -m guerdon.claims.render docs"
    )
    assert {path.stem for path in (docs / "claims").glob("*.png")} == set(results())


@pytest.mark.slow
@pytest.mark.parametrize("slug", sorted(slugs()))
def test_every_claim_runs(slug):
    claim = find(slug)
    assert claim.slug == slug and claim.claim and claim.metric
    values = [claim.run(arm, 0, True) for arm in (claim.baseline, claim.system)]
    for found in values:
        assert isinstance(float(found if isinstance(found, float | int) else found["value"]), float)


@pytest.mark.parametrize("slug", sorted(results()))
def test_stored_results_follow_from_their_values(slug):
    stored = results()[slug]
    arms = [
        [math.nan if v is None else v for v in stored["values"][stored[k]]] for k in ("baseline", "system")
    ]
    outcome = compare(*arms, stored["higher"], stored["margin"])
    assert outcome.verdict == stored["verdict"] and outcome.difference == pytest.approx(stored["difference"])
    assert stored["seeds"] >= 5 and slug in slugs()


def test_the_commands():
    run = CliRunner()
    listed = run.invoke(app, ["systems", "--json"])
    assert listed.exit_code == 0, listed.output
    entries = {entry["slug"]: entry for entry in json.loads(listed.stdout)}
    assert set(entries["gigpo"]) == {"slug", "title", "family", "arxiv", "kind", "entry", "claim"}
    shown = run.invoke(app, ["systems", "show", "gigpo"])
    assert "gamma" in shown.stdout and "2505.10978" in shown.stdout
    wrong = run.invoke(app, ["systems", "show", "gigp"])
    assert wrong.exit_code == 2 and "did you mean 'gigpo'" in wrong.output
