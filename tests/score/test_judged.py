"""Judges through the pipeline: whatever the server does, the run finishes and says why verdicts are missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scored import causes, score, values, write_lines

pytest.importorskip("aiohttp", reason="needs the extra guerdon[judge]")
sys.path.append(str(Path(__file__).parent.parent / "judge"))
from judge_server import ScriptedServer, Step, completion, error, hang_up

N = 20


def judged(tmp_path: Path, server: ScriptedServer, **settings):
    records = [{"prompt": f"What is {i}+1?", "completion": str(i + 1)} for i in range(N)]
    source = write_lines(tmp_path / "in.jsonl", records)
    said = {"url": server.url, "model": "m", "concurrency": 4, **settings}
    out, cache = tmp_path / "out.jsonl", tmp_path / "c.sqlite"
    report = score(source, out, "judge=judge.rate", settings=said, cache=cache, item_seconds=0.2)
    return report, values(out, "judge"), causes(out, "judge")


def test_slow_replies_are_not_held_to_the_limits_of_functions(tmp_path: Path):
    with ScriptedServer(lambda number, body: Step(**vars(completion("[[10]]")) | {"delay": 0.3})) as server:
        report, found, _ = judged(tmp_path, server, price_in=1.0)
        assert found == [1.0] * N and report.replaced == 0
        assert len(server.seen) == N
        assert report.tally.rewards["judge"].spent == {
            "requests": N,
            "prompt tokens": 100 * N,
            "completion tokens": 10 * N,
            "cost": pytest.approx(0.1 * N),
        }
        report, found, _ = judged(tmp_path, server)
    assert len(server.seen) == N  # the second time nothing was asked
    assert report.tally.rewards["judge"].cached == N


def test_garbage_is_a_counted_cause_and_asked_for_once(tmp_path: Path):
    with ScriptedServer([completion("purple")]) as server:
        report, found, why = judged(tmp_path, server)
    assert found == [None] * N and len(server.seen) == N
    assert set(why.values()) == {"judge: no verdict in the reply"}
    assert report.tally.rewards["judge"].causes == {"judge: no verdict in the reply": N}


def test_a_server_in_trouble_that_then_dies(tmp_path: Path):
    def script(number: int, body: dict) -> Step:
        return error(429 if number % 2 else 500) if number < 12 else Step(act=hang_up)

    with ScriptedServer(script) as server:
        report, found, why = judged(tmp_path, server, patience=2.0, attempts=4)
    assert found == [None] * N and len(why) == N
    assert all(cause.startswith("judge: ") for cause in why.values())
    assert report.replaced == 0 and report.tally.rewards["judge"].missing == N
