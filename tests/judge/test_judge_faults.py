"""Every record ends with a value or with NaN and a counted cause, whatever the server does."""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
import time

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="needs guerdon[judge]")

from judge_server import (
    ScriptedServer,
    Step,
    completion,
    endless,
    error,
    half_a_body,
    hang_up,
    no_http,
    shown,
    slow_loris,
)

from guerdon import Rollouts
from guerdon.errors import RecipeError
from guerdon.judge import Endpoint, Judge, Limits, Retry

QUICK = Retry(attempts=4, first=0.01, longest=0.05, patience=3.0)
TEMPLATE = {
    "messages": [{"role": "user", "content": "Rate.\n{{answer}}\nWrite [[k]]."}],
    "verdict": {"use": "rating", "low": 0, "high": 9},
}


def make(server: ScriptedServer, cache=None, retry=QUICK, timeout=5.0, **options) -> Judge:
    endpoint = {name: options.pop(name) for name in ("concurrency", "key_env", "max_reply_bytes") if name in options}
    return Judge(Endpoint(server.url, "m", retry=retry, timeout=timeout, **endpoint), cache=cache, **options)


def rollouts(n: int) -> Rollouts:
    return Rollouts(completion=[f"answer {i}" for i in range(n)])


def number_in(body) -> int:
    return int(re.search(r"answer (\d+)", shown(body)).group(1))


def test_a_good_server_gives_values_tokens_and_a_bill():
    with ScriptedServer(lambda n, body: completion(f"Reasons. [[{number_in(body) % 10}]]")) as server:
        judge = make(server, price_in=0.5, price_out=2.0)
        signal = judge.rate(TEMPLATE, scale="raw")(rollouts(20))
    assert signal.values.tolist() == [float(i % 10) for i in range(20)]
    assert judge.usage.answered == 20 and judge.usage.failed == 0
    assert judge.usage.prompt_tokens == 2000 and judge.usage.completion_tokens == 200
    assert judge.usage.cost == pytest.approx(0.5 * 2.0 + 2.0 * 0.2)
    assert "seed" not in server.seen[0] and "n" not in server.seen[0]


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
        judge = make(server, timeout=0.4, max_reply_bytes=65536)
        signal = judge.rate(TEMPLATE)(rollouts(1))
        assert len(server.seen) == requests
    assert math.isnan(signal.values[0])
    assert signal.cause_counts() == {f"judge: {cause}": 1}
    assert judge.usage.causes == {cause: 1} and judge.usage.attempts == requests


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
        signal = make(server, cache, patient).rate(TEMPLATE, scale="raw")(rollouts(200))
        requests = len(server.seen)
        again = make(server, cache, patient)
        same = again.rate(TEMPLATE, scale="raw")(rollouts(200))
        assert len(server.seen) == requests
    assert signal.values.tolist() == same.values.tolist() == [float(i % 10) for i in range(200)]
    assert set(paid.values()) == {1} and len(paid) == 200
    assert again.usage.cached == 200 and again.usage.attempts == 0


def test_retry_after_is_honoured_by_all_requests():
    with ScriptedServer(lambda n, _: error(429, Retry_After="0.5") if n < 2 else completion("[[5]]")) as server:
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
    assert "sk-very-secret" not in repr((signal.causes, judge.usage.as_dict(), judge.client, vars(judge.client)))
    assert "judge: HTTP 401: Incorrect API key provided: ***" in signal.cause_counts()


def test_nothing_listens(unused_port=9):
    judge = Judge(Endpoint("http://127.0.0.1:9/v1", "m", retry=QUICK))
    signal = judge.rate(TEMPLATE)(rollouts(3))
    assert signal.cause_counts() == {"judge: connection: cannot connect": 3}


def test_missing_usage_is_counted_not_guessed():
    with ScriptedServer([completion("[[5]]", usage=False)]) as server:
        judge = make(server, price_in=1.0)
        judge.rate(TEMPLATE)(rollouts(3))
    assert judge.usage.unmetered == 3 and judge.usage.cost == 0


@pytest.mark.parametrize("usage", [{"prompt_tokens": "many"}, {"prompt_tokens": -5}, 7, None, {"prompt_tokens": True}])
def test_garbage_in_usage_is_no_number(usage):
    body = {"choices": [{"message": {"content": "[[5]]"}}], "usage": usage}
    with ScriptedServer([Step(body=json.dumps(body).encode())]) as server:
        judge = make(server)
        assert judge.rate(TEMPLATE)(rollouts(1)).missing == 0
    assert judge.usage.unmetered == 1


@pytest.mark.parametrize(
    ("choice", "cause"),
    [
        ({"finish_reason": "length"}, "judge: no verdict in the reply, which was cut at the token limit"),
        ({"finish_reason": "content_filter"}, "judge: no verdict in the reply, which was filtered"),
        ({}, "judge: no verdict in the reply"),
        ({"message": {"role": "assistant", "content": None, "refusal": "no"}}, "judge: no verdict in the reply"),
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


def test_on_error_policies():
    with ScriptedServer([error(400)]) as server:
        assert make(server).rate(TEMPLATE, on_error=-1)(rollouts(2)).values.tolist() == [-1, -1]
        with pytest.raises(Exception, match="could not score row 0"):
            make(server).rate(TEMPLATE, on_error="raise")(rollouts(2))


def test_equal_questions_are_asked_once():
    with ScriptedServer([completion("[[5]]")]) as server:
        judge = make(server)
        signal = judge.rate(TEMPLATE)(Rollouts(completion=["same"] * 50))
        assert len(server.seen) == 1 and signal.missing == 0
    assert judge.usage.queries == 50 and judge.usage.shared == 49


def test_cost_and_time_limits():
    with ScriptedServer([completion("[[5]]")]) as server:
        judge = make(server, price_in=1.0, limits=Limits(cost=0.55), concurrency=1)
        signal = judge.rate(TEMPLATE)(rollouts(20))
        assert len(server.seen) == 6
    assert signal.cause_counts() == {"judge: cost limit of 0.55 reached": 14}
    slow = completion("[[5]]")
    slow.delay = 0.1
    with ScriptedServer([slow]) as server:
        signal = make(server, limits=Limits(seconds=0.35), concurrency=1).rate(TEMPLATE)(rollouts(20))
    assert 1 <= 20 - signal.missing <= 5
    assert set(signal.cause_counts()) == {"judge: time limit of 0.35 s reached"}


def test_concurrency_is_bounded_and_used():
    now, most, lock = [0], [0], threading.Lock()

    def script(n, body):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return completion("[[5]]")

    with ScriptedServer(script) as server:
        judge = make(server, concurrency=5)
        reward = judge.rate(TEMPLATE)
        threads = [threading.Thread(target=reward, args=(Rollouts(completion=[f"{t} {i}" for i in range(20)]),)) for t in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.seen) == 60
    assert 3 <= most[0] <= 5


def test_sync_async_and_inside_a_running_loop():
    with ScriptedServer([completion("[[9]]")]) as server:
        judge = make(server)
        reward = judge.rate(TEMPLATE)

        async def inside():
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0.001)

            ticker = asyncio.create_task(tick())
            awaited = await reward.call_async(rollouts(5))
            ticker.cancel()
            blocking = reward(rollouts(3))
            replies = await judge.ask_async(["Rate. [[k]]", [{"role": "user", "content": "x"}]])
            return awaited, blocking, replies, ticks

        awaited, blocking, replies, ticks = asyncio.run(inside())
        assert awaited.values.tolist() == [1.0] * 5 and blocking.values.tolist() == [1.0] * 3
        assert [reply.text for reply in replies] == ["[[9]]"] * 2 and ticks > 1
        assert reward(rollouts(2)).values.tolist() == [1.0] * 2
        assert judge(["a", "b"]) == ["[[9]]", "[[9]]"]


def test_a_cancelled_call_leaves_the_judge_usable(tmp_path):
    def script(n, body):
        step = completion("[[4]]")
        step.delay = 0.0 if number_in(body) < 5 else 0.3
        return step

    with ScriptedServer(script) as server:
        judge = make(server, tmp_path / "c.sqlite", concurrency=2)
        reward = judge.rate(TEMPLATE, scale="raw")

        async def impatient():
            await asyncio.wait_for(reward.call_async(rollouts(20)), 0.25)

        with pytest.raises(TimeoutError):
            asyncio.run(impatient())
        time.sleep(0.05)
        assert 5 <= len(judge.cache) < 20
        before = len(server.seen)
        assert reward(rollouts(5)).values.tolist() == [4.0] * 5
        assert len(server.seen) == before


def test_progress_is_told_and_its_errors_end_the_call():
    told = []
    with ScriptedServer([completion("[[5]]")]) as server:
        judge = make(server, progress=told.append)
        judge.rate(TEMPLATE)(rollouts(10))
        assert [p.done for p in told] == list(range(11)) and told[-1].total == 10
        assert told[-1].usage["answered"] == 10

        def broken(progress):
            raise RuntimeError("hook")

        judge.progress = broken
        with pytest.raises(RuntimeError, match="hook"):
            judge.rate(TEMPLATE)(rollouts(10))
        judge.progress = lambda p: judge.ask(["x"])
        with pytest.raises(Exception, match="progress hook"):
            judge.rate(TEMPLATE)(rollouts(1))


def test_a_callable_judge_marks_what_did_not_come():
    with ScriptedServer(lambda n, b: error(400) if "bad" in shown(b) else completion("yes")) as server:
        answers = make(server)(["good", "bad", "good"])
    assert answers[0] == answers[2] == "yes" and math.isnan(answers[1].value) and "HTTP 400" in answers[1].cause


def test_no_rollouts_ask_nothing():
    with ScriptedServer([error(500)]) as server:
        assert len(make(server).rate(TEMPLATE)(Rollouts(completion=[]))) == 0
        assert server.seen == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:8000"}, "judge.url"),
        ({"url": "ftp://x/v1"}, "judge.url"),
        ({"url": "http://me:secret@x/v1"}, "must not hold a user or password"),
        ({"api": "chats"}, "judge.api"),
        ({"key_env": "NO_SUCH_VARIABLE_HERE"}, "NO_SUCH_VARIABLE_HERE is not set"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(RecipeError, match=message):
        Endpoint(**{"url": "http://x/v1", "model": "m", **settings})


def test_addresses_and_headers(monkeypatch):
    assert Endpoint("http://x:1/v1/", "m").url == "http://x:1/v1/chat/completions"
    assert Endpoint("http://x/v1/chat/completions", "m").url == "http://x/v1/chat/completions"
    azure = Endpoint("https://x/openai?api-version=2", "m", api="completions")
    assert azure.url == "https://x/openai/completions?api-version=2"
    monkeypatch.setenv("JUDGE_TEST_KEY", "k")
    with ScriptedServer([completion("[[5]]")]) as server:
        endpoint = Endpoint(server.url, "m", key_env="JUDGE_TEST_KEY", key_header="api-key", body={"effort": "low"})
        Judge(endpoint).ask(["x"])
        assert server.headers[0]["api-key"] == "k" and server.seen[0]["effort"] == "low"


def test_votes_are_separate_draws():
    votes = iter([2, 4, 9, 3])
    lock = threading.Lock()

    def script(n, body):
        with lock:
            return completion(f"[[{next(votes)}]]" if n != 3 else "nothing")

    with ScriptedServer(script) as server:
        judge = make(server, sampling={"temperature": 0.7}, concurrency=1)
        total, parts = judge.rate(TEMPLATE, votes=4, scale="raw").explain(rollouts(1))
    assert total.values[0] == 5.0 and parts["read"].values[0] == 0.75
    assert parts["spread"].values[0] == pytest.approx(np.std([2, 4, 9]))
    with pytest.raises(RecipeError, match="temperature"):
        Judge(Endpoint("http://x/v1", "m")).rate(TEMPLATE, votes=3)
