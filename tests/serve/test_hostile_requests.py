"""Requests meant to harm: the right refusal, bounded memory, and everyone else still served."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from asking import JSON, ask, post, record
from running_server import serving

from guerdon.scoring import SampleReward, Verdict
from guerdon.serve.client import Client, ServerError
from guerdon.serve.desk import Desk

HEAD = "POST /score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
TOKEN = {"authorization": "Bearer s3cret"}
LINES = {"content-type": "application/x-ndjson"}


def served(url: str) -> bool:
    """Whether a good request gets a good answer."""
    return post(url, "/score", {"records": [record(1)], "rewards": ["match"]})[0] == 200


def refused(url: str, path: str, body: object, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and message of a refusal, in its promised form; others are still served."""
    status, found = post(url, path, body, headers)
    assert found["error"]["status"] == status and found["error"]["request_id"]
    assert served(url)
    return status, found["error"]["message"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with serving({"match": "verify.match"}, token="s3cret", body_bytes=1 << 20) as url:
        yield url


def test_no_token_or_a_wrong_one(guarded: str) -> None:
    for headers in (JSON, JSON | {"authorization": "Bearer wrong"}, JSON | {"authorization": "Basic s3cret"}):
        for method, path in (
            ("POST", "/score"),
            ("POST", "/credit"),
            ("GET", "/metrics"),
            ("GET", "/nowhere"),
        ):
            status, named, _ = ask(guarded, method, path, b"{}", headers)
            assert (status, named["www-authenticate"]) == (401, "Bearer")
    assert post(guarded, "/score", {"records": [record(1)]}, JSON | TOKEN)[0] == 200
    assert ask(guarded, "GET", "/healthz")[0] == 200
    with Client(guarded) as client, pytest.raises(ServerError, match=r"401.*Authorization"):
        client.score([record(1)])
    with Client(guarded, token="s3cret") as client:
        assert client.score([record(1)])[0]["match"]["values"] == [1.0]


def test_a_body_said_to_be_huge_is_not_read(guarded: str) -> None:
    parts = urlsplit(guarded)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(
            f"{HEAD}authorization: Bearer s3cret\r\ncontent-length: {1 << 30}\r\n\r\n".encode()
        )
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")


def test_a_refusal_reaches_who_is_still_sending(guarded: str) -> None:
    large, small = b" " * (3 << 20), b" " * 900_000  # 1 MB is allowed
    for body, headers, status in (
        (large, JSON | TOKEN, 413),
        (large, JSON, 401),
        (small, TOKEN | {"content-type": "text/plain"}, 415),
    ):
        found, _, content = ask(guarded, "POST", "/score", body, headers)
        assert found == status == json.loads(content)["error"]["status"]
    with Client(guarded, token="s3cret") as client:
        with pytest.raises(ServerError, match="413: expected a body of at most 1048576 bytes"):
            client.score([record(1) | {"meta": {"x": "y" * (60 << 20)}}])
        assert client.score([record(1)])[0]["match"]["values"] == [1.0]


def test_a_body_of_unknown_length_is_read_up_to_the_limit(guarded: str) -> None:
    parts = urlsplit(guarded)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(
            f"{HEAD}authorization: Bearer s3cret\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        piece = b"10000\r\n" + b"[" * 0x10000 + b"\r\n"
        sent = 0
        try:
            for _ in range(1 << 12):  # 256 MB, if they were taken
                connection.sendall(piece)
                sent += 0x10000
        except OSError:
            pass
    assert sent < 64 << 20
    assert ask(guarded, "GET", "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "expected JSON"),
        (b"{", 400, "expected JSON"),
        (b'{"records": [}', 400, "expected JSON"),
        (b"\xff\xfe{}", 400, "UTF-8"),
        (b"[" * 500_000, 400, "nested too deeply"),
        (b'{"records": ' + b"9" * 5000 + b"}", 400, "expected JSON"),
        (b"[]", 422, "expected a JSON object"),
        (b"{}", 422, "'records' is required"),
        (b'{"records": []}', 422, "at least one"),
        (b'{"records": {}}', 422, "list of objects"),
        (b'{"records": [1]}', 422, "record 0: expected an object"),
        (b'{"records": [{"completion": "x"}, {"completion": 3}]}', 422, "record 1: completion"),
        (b'{"records": [{"prompt": "x"}]}', 422, "record 0"),
        (b'{"records": [{"completion": "x"}], "rewards": ["verify.code"]}', 422, "not served here"),
        (b'{"records": [{"completion": "x"}], "rewards": "match"}', 422, "list of labels"),
        (b'{"records": [{"completion": "x"}], "use": "os:system"}', 422, "unknown field 'use'"),
        (b'{"records": [{"tokens": [1, 2]}], "rewards": ["match"]}', 422, "no 'completion'"),
        (b'{"records": [{"completion": "ab", "steps": [1, 9]}]}', 422, "record 0: steps"),
    ],
)
def test_malformed(open_server: str, body: bytes, status: int, words: str) -> None:
    found, message = refused(open_server, "/score", body)
    assert (found, words in message) == (status, True), message


def test_deep_nesting_within_json_limits(open_server: str) -> None:
    deep: object = "x"
    for _ in range(200):
        deep = [deep]
    for field in ("reference", "meta", "surprise"):
        value = {"a": deep} if field == "meta" else deep
        status, message = refused(open_server, "/score", {"records": [record(1) | {field: value}]})
        assert status == 422 and "nested more than 64" in message


def test_very_many_fields(open_server: str) -> None:
    many = {f"f{i}": i for i in range(100_000)}
    status, message = refused(open_server, "/score", {"records": [record(1) | many]})
    assert status == 422 and "256 different fields" in message
    signal = {"level": "rollout", "values": [1.0]}
    signals = {"signals": dict.fromkeys(many, signal)}
    assert refused(open_server, "/score", {"records": [record(1) | signals]})[0] == 422
    spread = [record(1) | {f"f{i}-{j}": 1 for j in range(200)} for i in range(200)]
    assert refused(open_server, "/score", {"records": spread})[0] == 422
    assert post(open_server, "/score", {"records": [record(1) | {"meta": many}]})[0] == 200


def test_very_many_lists(open_server: str) -> None:
    for one in (b"[]", b"{}", b'{"a":[ {}]}'):
        many = b" ,\n".join([one] * 500_002)
        body = b'{"records": [{"completion": "x", "reference": "x", "meta": {"a": [' + many + b"]}}]}"
        status, message = refused(open_server, "/score", body)
        assert status == 413 and "500000 lists and objects" in message
    text = r"\frac{a}{b}, [x] " * 100_000
    assert post(open_server, "/score", {"records": [record(1) | {"meta": {"a": text}}]})[0] == 200


def test_too_many_records(open_server: str) -> None:
    status, message = refused(open_server, "/score", {"records": [{"completion": "x"}] * 8193})
    assert status == 413 and "8192" in message


def test_lines_that_are_none(open_server: str) -> None:
    good = json.dumps(record(1)).encode()
    assert "line 2" in refused(open_server, "/score", good + b"\n{\n", LINES)[1]
    bad = b"\n".join([good] * 100 + [good.replace(b'"1"', b"1")])
    status, message = refused(open_server, "/score", bad, LINES)
    assert status == 422 and "record 100: completion" in message
    assert refused(open_server, "/score", b"\n\n", LINES)[0] == 422


def test_other_methods_paths_and_types(open_server: str) -> None:
    assert ask(open_server, "GET", "/score")[0] == 405
    for path in (
        "/../etc/passwd",
        "/score/../../x",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/docs/../score/",
        "/\x7f%00",
    ):
        assert ask(open_server, "GET", path.replace("\x7f", "%7f"))[0] == 404
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert refused(open_server, "/score", b"{}", {"content-type": kind})[0] == 415
    assert ask(open_server, "POST", "/score", b"{}", {})[0] == 415


def test_broken_http(open_server: str) -> None:
    parts = urlsplit(open_server)
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 100_000):
        with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
            connection.sendall(junk + b"\r\n\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 4")
    assert served(open_server)


def answered(place: tuple[str, int], data: bytes) -> tuple[socket.socket, bytes]:
    """A connection and its answer; asked again where this process was too slow for the server's patience."""
    for _ in range(100):
        connection = socket.create_connection(place, timeout=60)
        with contextlib.suppress(OSError):
            connection.sendall(data)
            if answer := connection.recv(1 << 16):
                return connection, answer
        connection.close()
    raise AssertionError("no answer")


def test_a_head_or_body_that_drips() -> None:
    with serving({"match": "verify.match"}, header_seconds=0.5, body_seconds=0.5) as url:
        parts = urlsplit(url)
        place = (str(parts.hostname), int(parts.port or 0))
        with (
            socket.create_connection(place, timeout=60) as silent,
            socket.create_connection(place, timeout=60) as head,
        ):
            head.sendall(b"POST /score HTTP/1.1\r\nhost: x\r\n")
            assert (silent.recv(100), head.recv(100)) == (b"", b"")
        body, answer = answered(place, f"{HEAD}content-length: 9\r\n\r\n{{".encode())
        body.close()
        assert answer.startswith(b"HTTP/1.1 408")
        second, answer = answered(place, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        with second:
            assert answer.startswith(b"HTTP/1.1 200")
            second.sendall(b"GET /he")
            while second.recv(1 << 16):
                pass
        with Client(url) as client:  # which asks again
            assert client.score([record(1)])[0]["match"]["values"] == [1.0]


class Slow(SampleReward):
    """Waits until it may go on."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.calls = 0

    def score(self, row: object) -> Verdict:
        self.calls += 1
        self.go.wait(60)
        return Verdict(1.0)


def wait_for(url: str, line: bytes) -> None:
    """Until the metrics have a line."""
    deadline = time.monotonic() + 60
    while line not in ask(url, "GET", "/metrics")[2]:
        assert time.monotonic() < deadline


def test_a_full_queue_says_when_to_come_back() -> None:
    slow = Slow()
    with serving({"slow": slow}, requests=2) as url:
        found: list[int] = []
        waiting = [
            threading.Thread(
                target=lambda i=i: found.append(post(url, "/score", {"records": [record(i)]})[0])
            )
            for i in range(2)
        ]
        for thread in waiting:
            thread.start()
        wait_for(url, b"guerdon_waiting_requests 2")
        status, named, content = ask(url, "POST", "/score", {"records": [record(9)]})
        assert status == 429 and int(named["retry-after"]) >= 1
        assert "requests are waiting already" in json.loads(content)["error"]["message"]
        assert ask(url, "GET", "/healthz")[0] == 200
        slow.go.set()
        for thread in waiting:
            thread.join(60)
        assert found == [200, 200]
        assert post(url, "/score", {"records": [record(9)]})[0] == 200


def test_the_client_comes_back_when_the_queue_was_full() -> None:
    slow = Slow()
    with serving({"slow": slow}, requests=1) as url:
        first = threading.Thread(target=lambda: post(url, "/score", {"records": [record(0)]}))
        first.start()
        wait_for(url, b"guerdon_waiting_requests 1")
        found: list[float] = []

        def second() -> None:
            with Client(url) as client:
                found.extend(client.score([record(1)])[0]["slow"]["values"])

        sent_away = threading.Thread(target=second)
        sent_away.start()
        wait_for(url, b'guerdon_requests_total{route="/score",status="429"} 1')
        slow.go.set()
        for thread in (first, sent_away):
            thread.join(60)
        assert found == [1.0]


def test_bodies_together_hold_bounded_memory() -> None:
    with serving({"match": "verify.match"}, waiting_bytes=1000, body_bytes=10_000) as url:
        status, found = post(url, "/score", {"records": [record(1, meta={"x": "y" * 2000})]})
        assert status == 429 and "MB already" in found["error"]["message"]
        assert served(url)


def test_a_request_that_takes_too_long_finds_its_verdict_later() -> None:
    slow = Slow()
    with serving({"slow": slow}, seconds=0.2) as url:
        status, named, _ = ask(url, "POST", "/score", {"records": [record(1)]})
        assert (status, named["retry-after"]) == (504, "1")
        slow.go.set()
        with Client(url) as client:
            assert client.score([record(1)])[0]["slow"]["values"] == [1.0]
        assert slow.calls == 1


def test_a_failing_reward_under_the_policy_raise() -> None:
    class Failing(SampleReward):
        name = "failing"

        def score(self, row: object) -> Verdict:
            raise ValueError("no")

    with serving({"failing": Failing(on_error="raise"), "match": "verify.match"}) as url:
        status, message = refused(url, "/score", {"records": [record(1)], "rewards": ["failing"]})
        assert status == 422 and "could not score it: ValueError: no" in message


def test_when_scoring_ends_everyone_is_told() -> None:
    from guerdon.score import Options

    made: list[Desk] = []
    with serving({"match": "verify.match"}, Options(workers=1, cache=None), desks=made) as url:
        assert served(url)
        made[0]._inbox.put(RuntimeError("no more workers"))  # what the pool sends when it ends
        deadline = time.monotonic() + 60
        while (found := post(url, "/score", {"records": [record(2)]}))[0] != 503:
            assert time.monotonic() < deadline, found
        assert "scoring has ended: RuntimeError: no more workers" in found[1]["error"]["message"]
        assert ask(url, "GET", "/healthz")[0] == 503


def test_a_token_is_made_where_others_can_reach_the_server() -> None:
    from guerdon.serve.server import with_token
    from guerdon.serve.settings import Settings, is_loopback

    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert is_loopback(host) and with_token(Settings(host=host)).token is None
    for host in ("0.0.0.0", "::", "192.168.1.4", "example.org"):
        token = with_token(Settings(host=host)).token
        assert token is not None and len(token) >= 32
        assert token != with_token(Settings(host=host)).token
        assert with_token(Settings(host=host), anyone=True).token is None
        assert with_token(Settings(host=host, token="mine")).token == "mine"
