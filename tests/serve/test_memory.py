"""A server under hostile requests of many kinds at once: bounded memory, and others are served all along."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import ask, post, record
from test_restarts import end, free_port, start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
HEAD = "POST /score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
MB = 1 << 20


def megabytes(pid: int, name: str) -> float:
    """VmRSS (now) or VmHWM (the most so far) of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0]) / 1024


def a_gigabyte(port: int) -> None:
    """Sent in chunks, without saying how much there will be, until the server has enough."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(f"{HEAD}transfer-encoding: chunked\r\n\r\n".encode())
        piece = b"100000\r\n" + b"[" * MB + b"\r\n"
        try:
            for _ in range(1024):
                connection.sendall(piece)
        except OSError:
            return
    raise AssertionError("a gigabyte was taken")


def body(port: int, data: bytes, *statuses: int) -> None:
    url = f"http://127.0.0.1:{port}"
    assert ask(url, "POST", "/score", data, {"content-type": "application/json"})[0] in statuses


def test_memory_is_bounded_and_others_are_served(tmp_path: Path) -> None:
    port = free_port()
    server = start(port, tmp_path / "v.sqlite", "-r", "match=verify.match", "--workers", "1", "--body", "2")
    url, failures = f"http://127.0.0.1:{port}", []
    most = 1_900_000  # of 2 MB
    lists = b'{"records": [' + b"[]," * (most // 3) + b"[]]}"
    inside = b'{"records": [{"completion": "x", "reference": "x", "meta": {"a": [%s[]]}}]}' % (
        b"[]," * (most // 3)
    )
    numbers = b'{"records": [{"completion": "x", "reference": "x", "meta": {"a": [%s0]}}]}' % (
        b"1.5," * (most // 4)
    )
    fields = json.dumps({"records": [record(1) | {f"f{i}": i for i in range(100_000)}]}).encode()
    attacks: list[Callable[[], None]] = [
        lambda: a_gigabyte(port),
        lambda: body(port, b"[" * most, 413),
        lambda: body(port, b'{"a":' * (most // 5), 400),
        lambda: body(port, lists, 413),
        lambda: body(port, inside, 413),
        lambda: body(port, numbers, 200),
        lambda: body(port, fields, 422),
        lambda: body(port, b"x" * (3 * MB), 413),
    ]

    def attack(work: Callable[[], None]) -> None:
        try:
            for _ in range(3):
                work()
        except Exception as error:
            failures.append(error)

    try:
        post(url, "/score", {"records": [record(0)]})
        before = megabytes(server.pid, "VmRSS")
        dripping = []
        for i in range(100):  # half a head, or a head and half a body, and then silence
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            connection.sendall((HEAD if i % 2 else f"{HEAD}content-length: 1000000\r\n\r\n{{").encode())
            dripping.append(connection)
        threads = [threading.Thread(target=attack, args=(work,)) for work in attacks * 2]
        for thread in threads:
            thread.start()
        served = 0
        while any(thread.is_alive() for thread in threads) or served < 20:
            status, found = post(url, "/score", {"records": [record(served)]})
            assert (status, found["results"][0]["signals"]["match"]["values"]) == (200, [1.0])
            served += 1
        for connection in dripping:
            connection.close()
        grown = megabytes(server.pid, "VmHWM") - before
    finally:
        code = end(server, signal.SIGTERM)
    assert not failures and code == 0
    print(f"{before:.0f} MB before, {grown:.0f} MB more at the peak; {served} requests of others served")
    # 16 bodies of 2 MB as text, and 4 of them as objects of up to 25 times their size.
    assert grown < 16 * 2 * 2 + 4 * 2 * 25 + 200
