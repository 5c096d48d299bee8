"""Clients are killed at random and the server is restarted: no request is lost, no record is scored twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from test_restarts import contents, end, free_port, start

SIZE, CLIENTS = 2, 4
REWARD = """
import os
log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def odd(completion):
    os.write(log, completion.encode() + b"\\n")
    return float(int(completion) % 2)
"""
CLIENT = """
import os, sys
from guerdon.serve.client import Client

url, path, first, stop, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
with open(path, "a+b", buffering=0) as log, Client(url, patience=600) as client:
    log.seek(0)
    done = {int(line.split()[1]) for line in log.read().splitlines() if line.startswith(b"=")}
    for number in range(first, stop):
        if number in done:
            continue
        log.write(b"? %d\\n" % number)
        records = [{"completion": str(number * size + i)} for i in range(size)]
        values = [each["odd"]["values"][0] for each in client.score(records)]
        log.write(f"= {number} {values}\\n".encode())
"""


class Crowd:
    """Client processes, each with a share of the requests and a file in which it notes asking and answers."""

    def __init__(self, folder: Path, url: str, requests: int) -> None:
        self.program = folder / "client.py"
        self.program.write_text(CLIENT)
        self.url, self.share = url, requests // CLIENTS
        self.logs = [folder / f"client{i}.log" for i in range(CLIENTS)]
        self.processes = [self.begin(i) for i in range(CLIENTS)]

    def begin(self, i: int) -> subprocess.Popen[bytes]:
        asked = (self.url, self.logs[i], i * self.share, (i + 1) * self.share, SIZE)
        return subprocess.Popen([sys.executable, str(self.program), *map(str, asked)])

    def kill(self, chance: random.Random) -> bool:
        """Kill a client and start its successor; False where it had finished by then."""
        alive = [i for i, process in enumerate(self.processes) if process.poll() is None]
        if not alive:
            return False
        i = chance.choice(alive)
        self.processes[i].kill()
        if self.processes[i].wait() == 0:
            return False
        self.processes[i] = self.begin(i)
        return True

    def lines(self, mark: str) -> list[str]:
        texts = [log.read_text() for log in self.logs if log.exists()]
        return [line for text in texts for line in text.splitlines() if line.startswith(mark)]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("requests", "kills"), [(400, 8), pytest.param(10_000, 60, marks=pytest.mark.slow)])
def test_every_request_is_answered_once(requests: int, kills: int, tmp_path: Path) -> None:
    port, cache, scored = free_port(), tmp_path / "verdicts.sqlite", tmp_path / "scored.log"
    code = tmp_path / "counted.py"
    code.write_text(REWARD.format(log=str(scored)))
    rewards = ("-r", f"{code}:odd", "--workers", "1")
    server = start(port, cache, *rewards)
    crowd = Crowd(tmp_path, f"http://127.0.0.1:{port}", requests)
    codes, killed, chance = [], 0, random.Random(0)
    try:
        deadline = time.monotonic() + 1500
        for turn in range(kills):
            while len(crowd.lines("=")) < requests * (turn + 1) // (kills + 1):
                assert time.monotonic() < deadline and not any(p.poll() for p in crowd.processes)
                time.sleep(chance.uniform(0.0, 0.02))
            killed += crowd.kill(chance)
            if turn == kills // 2:
                codes.append(end(server, signal.SIGTERM))
                server = start(port, cache, *rewards)
        assert [process.wait(1500) for process in crowd.processes] == [0] * CLIENTS
        codes.append(end(server, signal.SIGTERM))
    finally:
        crowd.close()
        server.kill()
    answers = Counter(crowd.lines("="))
    values = [[float((number * SIZE + i) % 2) for i in range(SIZE)] for number in range(requests)]
    assert answers == Counter(f"= {number} {found}" for number, found in enumerate(values))
    assert codes == [0, 0]
    assert Counter(scored.read_text().split()) == Counter(str(i) for i in range(requests * SIZE))
    assert contents(cache) == requests * SIZE
    asked = len(crowd.lines("?"))
    print(f"{requests} requests, {killed} clients killed, {asked - requests} asked again by a successor")
    assert killed
