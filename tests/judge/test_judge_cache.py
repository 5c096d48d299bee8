"""The cache: safe under several processes, kills and interrupts; nothing is paid for twice."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

pytest.importorskip("aiohttp", reason="needs guerdon[judge]")

from judge_server import ScriptedServer, completion, shown

from guerdon import Rollouts
from guerdon.engines.protocol import Sampling
from guerdon.errors import StoreError
from guerdon.judge import Endpoint, Judge, Query, ReplyCache, Retry
from guerdon.judge.cache import new_owner
from guerdon.judge.exchange import Reply, query_key

SCRIPT = """
import sys
from guerdon import Rollouts
from guerdon.judge import Endpoint, Judge
url, cache, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
judge = Judge(Endpoint(url, "m", concurrency=4), cache=cache)
template = {"messages": [{"role": "user", "content": "{{answer}}"}], "verdict": {"use": "rating"}}
print("ready", flush=True)
sys.stdin.readline()
signal = judge.rate(template)(Rollouts(completion=[f"answer {i}" for i in range(n)]))
print(signal.missing, judge.usage.answered, judge.usage.cached, flush=True)
"""


def start(server, cache, n) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, server.url, str(cache), str(n)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def slow(n, body):
    step = completion("[[5]]")
    step.delay = 0.03
    return step


def texts(server) -> list[str]:
    return [shown(body) for body in server.seen]


def test_processes_share_the_work_and_pay_once(tmp_path):
    with ScriptedServer(slow) as server:
        processes = [start(server, tmp_path / "c.sqlite", 60) for _ in range(3)]
        for process in processes:
            go(process)
        said = [process.communicate(timeout=30)[0].split() for process in processes]
        assert sorted(texts(server)) == sorted(set(texts(server))) and len(server.seen) == 60
    assert [int(missing) for missing, _, _ in said] == [0, 0, 0]
    assert sum(int(answered) for _, answered, _ in said) == 60
    assert all(int(answered) + int(cached) == 60 for _, answered, cached in said)


def test_what_a_killed_process_was_asking_is_asked_by_the_next(tmp_path):
    with ScriptedServer(slow) as server:
        victim = start(server, tmp_path / "c.sqlite", 60)
        go(victim)
        while len(server.seen) < 20:
            time.sleep(0.005)
        victim.kill()
        victim.communicate()
        time.sleep(0.1)
        begin, before = time.monotonic(), len(server.seen)
        heir = start(server, tmp_path / "c.sqlite", 60)
        go(heir)
        missing, answered, cached = map(int, heir.communicate(timeout=30)[0].split())
        assert time.monotonic() - begin < 15
    assert missing == 0 and answered + cached == 60
    assert before - 5 <= cached <= before  # at most the four in flight, and one arriving, were lost


def test_ctrl_c_ends_at_once_and_keeps_what_was_answered(tmp_path):
    with ScriptedServer(slow) as server:
        process = start(server, tmp_path / "c.sqlite", 200)
        go(process)
        while len(server.seen) < 30:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        _, err = process.communicate(timeout=10)
        assert time.monotonic() - begin < 5
        assert process.returncode != 0 and "KeyboardInterrupt" in err and "Unclosed" not in err
        time.sleep(0.1)
        before = len(server.seen)
        cache = ReplyCache(tmp_path / "c.sqlite")
        assert before - 4 <= len(cache) <= before
        assert cache._connection().execute("SELECT count(*) FROM claims").fetchone()[0] == 0
        kept = len(cache)
        judge = Judge(Endpoint(server.url, "m"), cache=cache)
        template = {"messages": [{"role": "user", "content": "{{answer}}"}], "verdict": {"use": "rating"}}
        judge.rate(template)(Rollouts(completion=[f"answer {i}" for i in range(40)]))
        assert judge.usage.cached >= min(kept, 26)


def test_a_forked_child_works(tmp_path):
    with ScriptedServer([completion("[[5]]")]) as server:
        judge = Judge(Endpoint(server.url, "m"), cache=tmp_path / "c.sqlite")
        assert judge(["parent"]) == ["[[5]]"]

        def child(queue):
            queue.put(judge(["parent", "child"]))

        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        assert queue.get(timeout=10) == ["[[5]]", "[[5]]"]
        process.join(timeout=10)
        assert judge(["parent again"]) == ["[[5]]"] and len(server.seen) == 3


def test_rewards_travel_to_other_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_TEST_KEY", "sk-secret-in-env")
    with ScriptedServer([completion("[[5]]")]) as server:
        endpoint = Endpoint(server.url, "m", key_env="JUDGE_TEST_KEY")
        judge = Judge(endpoint, cache=tmp_path / "c.sqlite", progress=print)
        reward = judge.rate()
        rollouts = Rollouts(prompt=["q"], completion=["a"])
        reward(rollouts)
        data = pickle.dumps(reward)
        assert b"sk-secret-in-env" not in data
        copy = pickle.loads(data)
        assert copy.version == reward.version
        assert copy(rollouts).values.tolist() == reward(rollouts).values.tolist()
        assert len(server.seen) == 1 and copy.judge.usage.cached == 1
    for path in tmp_path.iterdir():
        assert b"sk-secret" not in path.read_bytes()


def test_keys_tell_questions_apart():
    base = Query.of("hello")
    sampling = Sampling(temperature=0.0)
    key = query_key(base, "chat:m", sampling, {}, "1")
    assert key == query_key(Query.of("hello"), "chat:m", Sampling(temperature=0, seed=7), {}, "1")
    others = [
        query_key(Query.of("hello "), "chat:m", sampling, {}, "1"),
        query_key(Query.of([{"role": "system", "content": "hello"}]), "chat:m", sampling, {}, "1"),
        query_key(Query(base.messages, draw=1), "chat:m", sampling, {}, "1"),
        query_key(Query(base.messages, labels=("Yes", "No")), "chat:m", sampling, {}, "1"),
        query_key(base, "chat:n", sampling, {}, "1"),
        query_key(base, "completions:m", sampling, {}, "1"),
        query_key(base, "chat:m", Sampling(temperature=0.5), {}, "1"),
        query_key(base, "chat:m", Sampling(temperature=0.0, max_new_tokens=65), {}, "1"),
        query_key(base, "chat:m", Sampling(temperature=0.0, stop=("x",)), {}, "1"),
        query_key(base, "chat:m", sampling, {"effort": "low"}, "1"),
        query_key(base, "chat:m", sampling, {}, "2"),
    ]
    assert len({key, *others}) == 1 + len(others)


def test_claims(tmp_path):
    cache = ReplyCache(tmp_path / "c.sqlite")
    me, other = new_owner(), new_owner()
    assert cache.claim(b"k", me, 60) is True
    assert cache.claim(b"k", me, 60) is True
    assert cache.claim(b"k", other, 60) is False
    cache.release([b"k"], other)
    assert cache.claim(b"k", other, 60) is False
    cache.release([b"k"], me)
    assert cache.claim(b"k", other, 60) is True
    cache.put(b"k", Reply("text \ud800", finish="stop", label_logprobs={"Yes": -0.5}, prompt_tokens=3), "m")
    reply = cache.claim(b"k", me, 60)
    assert reply.text == "text ?" and reply.cached and reply.label_logprobs == {"Yes": -0.5}
    assert reply.prompt_tokens == 3 and reply.completion_tokens is None
    cache.put(b"k", Reply("second"), "m")
    assert cache.get_many([b"k", b"x"])[b"k"].text == "text ?" and len(cache) == 1
    assert cache.claim(b"e", me, -1) is True and cache.claim(b"e", other, 60) is True  # its lease was over
    gone = f"{os.uname().nodename}/{2**22 - 1}/dead"
    assert cache.claim(b"d", gone, 600) is True and cache.claim(b"d", me, 60) is True


def test_many_keys_at_once(tmp_path):
    cache = ReplyCache(tmp_path / "c.sqlite")
    keys = [i.to_bytes(8, "big") for i in range(1700)]
    for key in keys[::2]:
        cache.put(key, Reply("x"), "m")
    assert set(cache.get_many(keys)) == set(keys[::2])


@pytest.mark.parametrize("content", [b"not a database at all" * 100, None])
def test_other_files_are_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "other.sqlite"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE mine (x)")
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"other\.sqlite"):
        ReplyCache(path)
    assert path.read_bytes() == content


def test_a_cache_that_fails_in_the_middle_does_not_lose_paid_replies(tmp_path):
    with ScriptedServer([completion("[[5]]")]) as server:
        judge = Judge(Endpoint(server.url, "m", retry=Retry(patience=2)), cache=tmp_path / "c.sqlite")

        def full(*_):
            raise StoreError("judge cache: database or disk is full")

        judge.cache.put = full
        template = {"messages": [{"role": "user", "content": "{{answer}}"}], "verdict": {"use": "rating"}}
        with pytest.warns(UserWarning, match="disk is full"):
            signal = judge.rate(template)(Rollouts(completion=["a", "b"]))
    assert signal.missing == 0 and judge.usage.unsaved == 2


def test_two_judges_with_one_cache_in_one_process(tmp_path):
    with ScriptedServer(slow) as server:
        import threading

        judges = [Judge(Endpoint(server.url, "m"), cache=tmp_path / "c.sqlite") for _ in range(3)]
        found: list[list[str]] = []
        threads = [
            threading.Thread(target=lambda j=judge: found.append(j([f"{i}" for i in range(30)])))
            for judge in judges
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.seen) == 30 and found == [["[[5]]"] * 30] * 3
        changed = Judge(Endpoint(server.url, "m"), cache=tmp_path / "c.sqlite", version="2")
        changed(["0"])
        assert len(server.seen) == 31
