"""The server is ended and started again while clients ask: nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import ask, record

from guerdon.serve.client import Client, ServerError

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
if os.name != "posix":
    pytest.skip("ends processes by signals", allow_module_level=True)


def free_port() -> int:
    """A port that outgoing connections are not given: one of them could take it while the server is away."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def start(port: int, cache: Path, *more: str) -> subprocess.Popen[str]:
    """A server as a user starts it; returns when it says that it serves."""
    command = [sys.executable, "-m", "guerdon", "serve", "--port", str(port), "--cache", str(cache)]
    process = subprocess.Popen(
        [*command, *(more or ("-r", "match=verify.match", "--workers", "0"))],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("serving "):
            return process
    raise AssertionError(f"the server ended with {process.wait(10)}")


def end(process: subprocess.Popen[str], number: int) -> int:
    process.send_signal(number)
    code = process.wait(60)
    assert process.stderr is not None
    process.stderr.close()
    return code


def contents(cache: Path) -> int:
    with sqlite3.connect(cache) as database:
        return int(database.execute("SELECT count(*) FROM verdicts").fetchone()[0])


def in_threads(work: Callable[[int], None], n: int) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    return threads


def test_clients_come_through_a_restart_and_a_kill(tmp_path: Path) -> None:
    port, cache = free_port(), tmp_path / "verdicts.sqlite"
    clients, batches, size = 4, 40, 5
    answers: dict[tuple[int, int], list[float]] = {}
    asked = threading.Semaphore(0)

    def work(number: int) -> None:
        with Client(f"http://127.0.0.1:{port}", patience=120) as client:
            for batch in range(batches):
                first = (number * batches + batch) * size
                records = [record(first + i, right=(first + i) % 3 > 0) for i in range(size)]
                answers[number, batch] = [each["match"]["values"][0] for each in client.score(records)]
                asked.release()
                if random.random() < 0.1:
                    client.close()

    process = start(port, cache)
    threads = in_threads(work, clients)
    codes = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(40):
            assert asked.acquire(timeout=60)
        codes.append(end(process, number))
        process = start(port, cache)
    for thread in threads:
        thread.join(120)
    codes.append(end(process, signal.SIGTERM))
    assert codes == [0, -signal.SIGKILL, 0]
    total = clients * batches * size
    found = [value for key in sorted(answers) for value in answers[key]]
    assert found == [float(i % 3 > 0) for i in range(total)]
    # What was answered in the last half second before the kill may not have been written.
    assert total // 2 <= contents(cache) <= total


def test_sigterm_answers_what_was_accepted(tmp_path: Path) -> None:
    port, cache, code = free_port(), tmp_path / "verdicts.sqlite", tmp_path / "slow.py"
    go = tmp_path / "go"
    code.write_text(
        "import os, time\n"
        "def slow(completion):\n"
        f"    while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
        "    return float(completion)\n"
    )
    process = start(port, cache, "-r", f"{code}:slow", "--workers", "1", "--limit", "0")
    found: dict[int, list[float]] = {}

    def work(number: int) -> None:
        with Client(f"http://127.0.0.1:{port}", patience=0.0) as client:
            records = [record(2 * number + i) for i in range(2)]
            found[number] = [each["slow"]["values"][0] for each in client.score(records)]

    threads = in_threads(work, 3)
    deadline = time.monotonic() + 60
    while b"guerdon_waiting_requests 3" not in ask(f"http://127.0.0.1:{port}", "GET", "/metrics")[2]:
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGTERM)
    go.touch()
    assert process.wait(60) == 0
    assert process.stderr is not None
    process.stderr.close()
    for thread in threads:
        thread.join(60)
    assert found == {i: [2.0 * i, 2.0 * i + 1] for i in range(3)}
    assert contents(cache) == 6
    with (
        pytest.raises(ServerError, match="no answer"),
        Client(f"http://127.0.0.1:{port}", patience=0.0) as client,
    ):
        client.score([record(1)])


def test_clients_that_vanish_leave_nothing_behind(tmp_path: Path) -> None:
    port, cache = free_port(), tmp_path / "verdicts.sqlite"
    process = start(port, cache)
    head = "POST /score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head.encode())
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
    while b"guerdon_waiting_requests 0" not in ask(url, "GET", "/metrics")[2]:
        assert time.monotonic() < deadline
    assert b"guerdon_waiting_bytes 0" in ask(url, "GET", "/metrics")[2]
    assert end(process, signal.SIGTERM) == 0


def test_beyond_loopback_the_command_makes_a_token_and_asks_for_it(tmp_path: Path) -> None:
    port = free_port()
    process = start(
        port, tmp_path / "v.sqlite", "-r", "match=verify.match", "--workers", "0", "--host", "0.0.0.0"
    )
    assert process.stderr is not None
    token = process.stderr.readline().removeprefix("token made for this run: ").strip()
    url = f"http://127.0.0.1:{port}"
    try:
        assert len(token) >= 32
        assert ask(url, "POST", "/score", {"records": [record(1)]})[0] == 401
        with Client(url, token=token) as client:
            assert client.score([record(1)])[0]["match"]["values"] == [1.0]
    finally:
        assert end(process, signal.SIGTERM) == 0


def test_command_line_errors_are_told(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "guerdon", "serve"]
    bad = subprocess.run([*run, "-r", "verify.mach"], capture_output=True, text=True, timeout=120)
    assert bad.returncode == 2 and "did you mean 'verify.match'" in bad.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        busy = subprocess.run(
            [*run, "-r", "verify.match", "--port", port], capture_output=True, text=True, timeout=120
        )
    assert busy.returncode == 2 and f"cannot listen on 127.0.0.1:{port}" in busy.stderr
