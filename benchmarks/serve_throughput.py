"""The reward server under load: exact match in batches over the loopback interface.

    python benchmarks/serve_throughput.py [--clients 32] [--batch 64] [--seconds 10] [--rounds 3]

Every record is new, so that each is scored and written to the verdict cache. The server is a process of its
own; one more, lean process (no threads, no HTTP library) holds the connections of all clients. Both share the
machine's cores, and with whatever else runs there: the load is printed, and every round also asks a FastAPI
route that does nothing, in the same way, which shows what the machine allows.

Two ways are measured. `paced`: all clients together ask for a given number of scores a second, whether or not
answers come; times count from the moment at which a request was due. `most`: every client asks again as soon
as it has its answer.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

NOTHING = """
import sys, uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

app = FastAPI()

@app.post("/score")
async def nothing(request: Request) -> Response:
    await request.body()
    return Response(b'"values": [1.0]' * int(sys.argv[1]))

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"serving nothing on http://127.0.0.1:{port} ", file=sys.stderr, flush=True)

Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False)).run()
"""


@dataclass
class Load:
    """What came of some seconds of asking.

    Attributes:
        batch: records of a request.
        times: seconds every answer took.
        failed: answers that were not what was expected.
        elapsed, client, server: seconds on the clock, and of processor time on either side.
    """

    batch: int
    times: list[float] = field(default_factory=list)
    failed: int = 0
    elapsed: float = 0.0
    client: float = 0.0
    server: float = 0.0

    @property
    def rate(self) -> float:
        """Scores a second."""
        return len(self.times) * self.batch / self.elapsed

    def quantile(self, share: float) -> float:
        """Milliseconds that this share of the answers did not exceed."""
        return float(np.quantile(self.times, share)) * 1000

    def line(self, name: str) -> str:
        """All of it in a line."""
        each = [1000 * spent / max(len(self.times), 1) for spent in (self.server, self.client)]
        return (
            f"{name:14} {self.rate:7,.0f} scores/s, {len(self.times):5} requests, "
            f"p50 {self.quantile(0.5):6.1f} ms, p99 {self.quantile(0.99):6.1f} ms, {self.failed} failed; "
            "processor time "
            f"per request: server {each[0]:.1f} ms, client {each[1]:.2f} ms; load {os.getloadavg()[0]:.1f}"
        )


@dataclass
class Connection:
    """One client."""

    number: int
    socket: socket.socket
    due: float
    turn: int = 0
    busy: bool = False
    request: bytes = b""
    answer: bytes = b""

    def prepare(self, name: str, batch: int) -> None:
        """The next request: records nobody has seen."""
        texts = [f"{name} {self.number} {self.turn} {i}" for i in range(batch)]
        records = ",".join([f'{{"prompt":"say it","completion":"{t}","reference":"{t}"}}' for t in texts])
        body = f'{{"records":[{records}]}}'
        head = "POST /score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        self.request = f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()
        self.turn += 1

    def complete(self) -> bool:
        """Read what is there; whether all of the answer is."""
        self.answer += self.socket.recv(1 << 18)
        head, found, body = self.answer.partition(b"\r\n\r\n")
        if not found:
            return False
        return len(body) >= int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


def ask(server: Server, name: str, clients: int, batch: int, seconds: float, rate: float | None) -> Load:
    """Ask for so long from so many connections."""
    load, began = Load(batch), time.perf_counter()
    pause = 0.0 if rate is None else clients * batch / rate
    client, before = time.process_time(), server.spent()
    connections = [
        Connection(
            i, socket.create_connection(("127.0.0.1", server.port), timeout=60), began + pause * i / clients
        )
        for i in range(clients)
    ]
    with selectors.DefaultSelector() as selector:
        for each in connections:
            selector.register(each.socket, selectors.EVENT_READ, each)
            each.prepare(name, batch)
        _drive(load, connections, selector, name, pause, began + seconds)
    load.elapsed = time.perf_counter() - began
    load.client, load.server = time.process_time() - client, server.spent() - before
    for each in connections:
        each.socket.close()
    return load


def _drive(
    load: Load,
    connections: list[Connection],
    selector: selectors.BaseSelector,
    name: str,
    pause: float,
    end: float,
) -> None:
    while True:
        now = time.perf_counter()
        idle = [each for each in connections if not each.busy and each.due < end]
        for each in idle:
            if each.due <= now:
                each.due = each.due if pause else now
                each.socket.sendall(each.request)
                each.busy = True
        waiting = [each.due for each in idle if not each.busy]
        if not waiting and not any(each.busy for each in connections):
            return
        timeout = max(0.0, min(waiting) - time.perf_counter()) if waiting else 60.0
        for key, _ in selector.select(timeout):
            each = key.data
            if not each.complete():
                continue
            now = time.perf_counter()
            load.times.append(now - each.due)
            good = each.answer.startswith(b"HTTP/1.1 200 ")
            load.failed += not good or each.answer.count(b'"values": [1.0]') != load.batch
            each.due, each.busy, each.answer = each.due + pause if pause else now, False, b""
            each.prepare(name, load.batch)


@dataclass
class Server:
    """A server under test."""

    process: subprocess.Popen[str]
    port: int

    def spent(self) -> float:
        """Seconds of processor time of the process and its workers so far."""
        total, parents = 0.0, {self.process.pid}
        for path in sorted(Path("/proc").glob("[0-9]*/stat"), key=lambda path: int(path.parent.name)):
            try:
                text = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(path.parent.name) in parents or int(text[1]) in parents:
                parents.add(int(path.parent.name))
                total += (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")
        return total


@contextmanager
def running(*command: str) -> Iterator[Server]:
    """A server that has said on stderr where it serves."""
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("serving "))
        yield Server(process, int(line.split(" on ")[1].split(" ")[0].rpartition(":")[2]))
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=3300.0, help="scores/s of the paced clients")
    asked = parser.parse_args()
    found: dict[str, list[Load]] = {}
    with tempfile.TemporaryDirectory() as folder:
        serve = ["-m", "guerdon", "serve", "-r", "match=verify.match", "--port", "0"]
        serve += ["--cache", str(Path(folder) / "v.sqlite"), "--workers", str(asked.workers)]
        with running(*serve) as ours, running("-c", NOTHING, str(asked.batch)) as nothing:
            for server in (ours, nothing):
                ask(server, "warm", asked.clients, asked.batch, 2.0, None)
            for turn in range(asked.rounds):
                for way, rate in (("paced", asked.rate), ("most", None)):
                    for what, server in (("nothing", nothing), ("guerdon", ours)):
                        name = f"{what} {way}"
                        load = ask(server, f"{name} {turn}", asked.clients, asked.batch, asked.seconds, rate)
                        found.setdefault(name, []).append(load)
                        print(load.line(name), flush=True)
    for name, loads in found.items():
        rate, p50, p99 = np.median(
            [[load.rate, load.quantile(0.5), load.quantile(0.99)] for load in loads], axis=0
        ).tolist()
        print(f"median of {len(loads)}: {name:14} {rate:7,.0f} scores/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms")


if __name__ == "__main__":
    main()
