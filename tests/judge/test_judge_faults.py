"""Every record ends with a value or with NaN and a counted cause, whatever the server does."""

from __future__ import annotations

import math
import resource
import threading
import time
import zlib

import pytest

pytest.importorskip("aiohttp", reason="needs guerdon[judge]")

from judge_client import QUICK, TEMPLATE, make, number_in, rollouts
from judge_server import (
    ScriptedServer,
    Step,
    completion,
    endless,
    error,
    half_a_body,
    hang_up,
    no_http,
    slow_loris,
)

from guerdon.judge import Endpoint, Judge, Retry


@pytest.mark.parametrize(
    ("step", "cause", "requests"),
    [
        (Step(body=b"<html>gateway</html>"), "reply is not JSON", 3),
        (Step(body=b"[1, 2]"), "reply is not a JSON object", 3),
        (Step(body=b"{}"), "reply has no choices", 3),
        (Step(body=b'{"choices": [{"message": {"content": 7}}]}'), "reply has no text", 3),
        (Step(body=b'{"choices": [7]}'), "reply has no choices", 3),
        (Step(body=b"[" * 50_000), "reply is not JSON", 3),
        (Step(body=b'{"error": {"message": "overloaded 17"}}'), "server error: overloaded #", 3),
        (error(500), "HTTP 500", 4),
        (error(503), "HTTP 503", 4),
        (error(400, "context of 8192 tokens exceeded"), "HTTP 400: context of # tokens exceeded", 1),
        (
            Step(
                422, b'{"detail": [{"loc": ["body", "n"], "msg": "bad value", "input": "the whole prompt"}]}'
            ),
            "HTTP 422: ['body', 'n']: bad value",
            1,
        ),
        (error(302, "gone", Location="http://127.0.0.1:1/"), "HTTP 302: gone", 1),
        (Step(act=hang_up), "connection: server closed the connection", 4),
        (Step(act=half_a_body), "connection: reply broke off", 4),
        (Step(act=slow_loris), "timeout after 0.4 s", 4),
        (Step(act=endless), "reply longer than 65536 bytes", 1),
        (Step(body=b"x" * 70_000), "reply longer than 65536 bytes", 1),
        (Step(delay=1.0), "timeout after 0.4 s", 4),
    ],
)
def test_failures_are_missing_with_a_counted_cause(step, cause, requests):
    with ScriptedServer([step]) as server:
        timeout = 0.4 if cause.startswith("timeout") else 10.0
        judge = make(server, timeout=timeout, max_reply_bytes=65536)
        signal = judge.rate(TEMPLATE)(rollouts(1))
        assert len(server.seen) == requests
    assert math.isnan(signal.values[0])
    assert signal.cause_counts() == {f"judge: {cause}": 1}
    assert judge.usage.causes == {cause: 1} and judge.usage.attempts == requests


def test_a_compressed_flood_is_not_unpacked():
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(400)) + packer.flush()
    with ScriptedServer([Step(body=bomb, headers={"Content-Encoding": "gzip"})]) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal = make(server, max_reply_bytes=65536).rate(TEMPLATE)(rollouts(1))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert signal.missing == 1 and grown < 100 << 10  # KiB


def test_bytes_that_are_no_http_are_a_cause():
    with ScriptedServer([Step(act=no_http)]) as server:
        signal = make(server).rate(TEMPLATE)(rollouts(1))
    assert signal.missing == 1 and next(iter(signal.cause_counts())).startswith("judge: ")


def test_a_mixed_storm_loses_nothing_and_pays_nothing_twice(tmp_path):
    """429s with Retry-After, 500s, garbage, broken bodies; each record gets its own value in the end."""
    paid: dict[int, int] = {}
    lock = threading.Lock()

    def script(n, body):
        trouble = [
            error(429, Retry_After="0.05"),
            completion("no verdict here") if n < 0 else error(500),
            Step(body=b"not json"),
            Step(act=hang_up),
            Step(act=half_a_body),
        ]
        if n % 3:
            return trouble[n % 5]
        with lock:
            paid[number_in(body)] = paid.get(number_in(body), 0) + 1
        return completion(f"[[{number_in(body) % 10}]]")

    patient = Retry(attempts=50, first=0.005, longest=0.02, patience=30, garbled=50)
    with ScriptedServer(script) as server:
        cache = tmp_path / "judge.sqlite"
        signal = make(server, cache, patient).rate(TEMPLATE, scale="raw")(rollouts(120))
        requests = len(server.seen)
        again = make(server, cache, patient)
        same = again.rate(TEMPLATE, scale="raw")(rollouts(120))
        assert len(server.seen) == requests
    assert signal.values.tolist() == same.values.tolist() == [float(i % 10) for i in range(120)]
    assert set(paid.values()) == {1} and len(paid) == 120
    assert again.usage.cached == 120 and again.usage.attempts == 0


def test_retry_after_is_honoured_by_all_requests():
    with ScriptedServer(
        lambda n, _: error(429, Retry_After="0.5") if n < 2 else completion("[[5]]")
    ) as server:
        begin = time.monotonic()
        signal = make(server, concurrency=2).rate(TEMPLATE)(rollouts(6))
        assert signal.missing == 0
        assert min(server.moments[2:]) - begin >= 0.45


def test_a_wait_beyond_the_patience_is_not_waited_for():
    with ScriptedServer([error(429, Retry_After="3600")]) as server:
        begin = time.monotonic()
        signal = make(server, concurrency=1).rate(TEMPLATE)(rollouts(5))
        assert time.monotonic() - begin < 2 and len(server.seen) == 1
    assert signal.cause_counts() == {"judge: endpoint down: HTTP 429": 4, "judge: HTTP 429": 1}


def test_a_server_that_dies_does_not_hold_the_run_for_ever():
    """Good, then 429 and 500 for a while, then gone: what was answered counts, the rest has a cause."""
    retry = Retry(attempts=30, first=0.02, longest=0.1, patience=1.0, probe=60)
    begin = time.monotonic()
    stop = threading.Event()

    def script(n, body):
        if n < 30:
            return completion("[[3]]")
        if n < 60:
            return error(429, Retry_After="0.01") if n % 2 else error(500)
        stop.set()
        return Step(act=hang_up)

    server = ScriptedServer(script)
    threading.Thread(target=lambda: (stop.wait(10), server.close()), daemon=True).start()
    judge = make(server, retry=retry, concurrency=8)
    signal = judge.rate(TEMPLATE, scale="raw")(rollouts(3000))
    assert time.monotonic() - begin < 10
    assert int((signal.values == 3).sum()) == judge.usage.answered >= 30
    assert signal.missing + judge.usage.answered == 3000
    assert sum(signal.cause_counts().values()) == signal.missing
    assert any("endpoint down" in cause for cause in signal.cause_counts())


def test_the_endpoint_comes_back_after_an_outage():
    down = threading.Event()
    down.set()
    retry = Retry(attempts=3, first=0.01, longest=0.02, patience=0.2, probe=0.3)
    with ScriptedServer(lambda n, b: error(503) if down.is_set() else completion("[[1]]")) as server:
        judge = make(server, retry=retry, concurrency=2)
        reward = judge.rate(TEMPLATE)
        assert reward(rollouts(400)).missing == 400
        during = len(server.seen)
        assert during < 300
        down.clear()
        time.sleep(0.35)
        assert reward(rollouts(20)).missing <= 1


def test_a_wrong_key_is_told_at_once_and_not_hammered(monkeypatch):
    monkeypatch.setenv("JUDGE_TEST_KEY", "sk-very-secret")
    script = [error(401, "Incorrect API key provided: sk-very-secret")]
    with ScriptedServer(script) as server:
        judge = make(server, key_env="JUDGE_TEST_KEY", concurrency=4)
        signal = judge.rate(TEMPLATE)(rollouts(500))
        assert len(server.seen) < 20
        assert server.headers[0]["Authorization"] == "Bearer sk-very-secret"
    assert signal.missing == 500
    assert "sk-very-secret" not in repr(
        (signal.causes, judge.usage.as_dict(), judge.client, vars(judge.client))
    )
    assert "judge: HTTP 401: Incorrect API key provided: ***" in signal.cause_counts()


def test_nothing_listens(unused_port=9):
    judge = Judge(Endpoint("http://127.0.0.1:9/v1", "m", retry=QUICK))
    signal = judge.rate(TEMPLATE)(rollouts(3))
    assert signal.cause_counts() == {"judge: connection: cannot connect": 3}


@pytest.mark.parametrize(
    ("choice", "cause"),
    [
        ({"finish_reason": "length"}, "judge: no verdict in the reply, which was cut at the token limit"),
        ({"finish_reason": "content_filter"}, "judge: no verdict in the reply, which was filtered"),
        ({}, "judge: no verdict in the reply"),
        (
            {"message": {"role": "assistant", "content": None, "refusal": "no"}},
            "judge: no verdict in the reply",
        ),
    ],
)
def test_replies_without_verdict(choice, cause, tmp_path):
    with ScriptedServer([completion("I would rather not say", **choice)]) as server:
        judge = make(server, tmp_path / "c.sqlite")
        reward = judge.rate(TEMPLATE)
        assert reward(rollouts(1)).cause_counts() == {cause: 1}
        assert judge.usage.unread == 1
        assert reward(rollouts(1)).cause_counts() == {cause: 1}
        assert len(server.seen) == 1  # it was paid for: asking again would say the same
