"""The reward server under load: exact match in batches over the loopback interface.

    python benchmarks/serve_throughput.py [--clients 32] [--batch 64] [--seconds 10] [--workers 2]

Every record is new, so that each is scored and written to the verdict cache. The server is a process of its
own; the clients are threads of this one, each on a connection of its own. They share the machine's cores with
the server. Two ways are measured: every client asks again as soon as it has its answer (`most`, what the
server can do), and all together ask for a given number of scores a second (`paced`).
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=3600.0, help="scores/s of the paced clients")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "guerdon", "serve", "-r", "match=verify.match", "--port", "0"]
        command += ["--cache", str(Path(folder) / "v.sqlite"), "--workers", str(asked.workers)]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            line = next(line for line in server.stderr if line.startswith("serving "))
            port = int(line.split(" on ")[1].split(" ")[0].rpartition(":")[2])
            load(port, asked.clients, asked.batch, 2.0, None, "warm")
            load(port, asked.clients, asked.batch, asked.seconds, None, "most")
            load(port, asked.clients, asked.batch, asked.seconds, asked.rate, "paced")
        finally:
            server.terminate()
            server.wait(60)


def load(port: int, clients: int, batch: int, seconds: float, rate: float | None, name: str) -> None:
    """Ask for so long from so many connections and print what came of it."""
    end = time.perf_counter() + seconds
    times: list[float] = []
    failures: list[int] = []
    pause = 0.0 if rate is None else clients * batch / rate

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        due = time.perf_counter() + pause * number / clients
        for turn in count():
            time.sleep(max(0.0, due - time.perf_counter()))
            if time.perf_counter() > end:
                return
            answers = [f"{name} {number} {turn} {i}" for i in range(batch)]
            records = [{"prompt": "say it", "completion": a, "reference": a} for a in answers]
            body = json.dumps({"records": records}).encode()
            began = time.perf_counter()
            connection.request("POST", "/score", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            times.append(time.perf_counter() - began)
            if answer.status != 200 or content.count(b'"values": [1.0]') != batch:
                failures.append(answer.status)
            due += pause

    began = time.perf_counter()
    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    p50, p99 = np.quantile(times, [0.5, 0.99]) * 1000
    print(
        f"{name}: {len(times) * batch / elapsed:,.0f} scores/s, {len(times)} requests of {batch} from "
        f"{clients} clients, p50 {p50:.1f} ms, p99 {p99:.1f} ms, {len(failures)} failed",
        flush=True,
    )


if __name__ == "__main__":
    main()
