"""Accounting, limits, concurrency, and all the ways to call a judge."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="needs guerdon[judge]")

from judge_client import TEMPLATE, make, number_in, rollouts
from judge_server import (
    ScriptedServer,
    Step,
    completion,
    error,
    shown,
)

from guerdon import Rollouts
from guerdon.errors import RecipeError
from guerdon.judge import Endpoint, Judge, Limits


def test_a_good_server_gives_values_tokens_and_a_bill():
    with ScriptedServer(lambda n, body: completion(f"Reasons. [[{number_in(body) % 10}]]")) as server:
        judge = make(server, price_in=0.5, price_out=2.0)
        signal = judge.rate(TEMPLATE, scale="raw")(rollouts(20))
    assert signal.values.tolist() == [float(i % 10) for i in range(20)]
    assert judge.usage.answered == 20 and judge.usage.failed == 0
    assert judge.usage.prompt_tokens == 2000 and judge.usage.completion_tokens == 200
    assert judge.usage.cost == pytest.approx(0.5 * 2.0 + 2.0 * 0.2)
    assert "seed" not in server.seen[0] and "n" not in server.seen[0]


def test_missing_usage_is_counted_not_guessed():
    with ScriptedServer([completion("[[5]]", usage=False)]) as server:
        judge = make(server, price_in=1.0)
        judge.rate(TEMPLATE)(rollouts(3))
    assert judge.usage.unmetered == 3 and judge.usage.cost == 0


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": "many"}, {"prompt_tokens": -5}, 7, None, {"prompt_tokens": True}]
)
def test_garbage_in_usage_is_no_number(usage):
    body = {"choices": [{"message": {"content": "[[5]]"}}], "usage": usage}
    with ScriptedServer([Step(body=json.dumps(body).encode())]) as server:
        judge = make(server)
        assert judge.rate(TEMPLATE)(rollouts(1)).missing == 0
    assert judge.usage.unmetered == 1


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
        threads = [
            threading.Thread(target=reward, args=(Rollouts(completion=[f"{t} {i}" for i in range(20)]),))
            for t in range(3)
        ]
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
    assert (
        answers[0] == answers[2] == "yes" and math.isnan(answers[1].value) and "HTTP 400" in answers[1].cause
    )


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
        ({"model": ""}, "model"),
        ({"key_header": "a b"}, "key_header"),
        ({"body": {"n": 5}}, "must not set n"),
        ({"body": {"x": object()}}, "JSON"),
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
        endpoint = Endpoint(
            server.url, "m", key_env="JUDGE_TEST_KEY", key_header="api-key", body={"effort": "low"}
        )
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
