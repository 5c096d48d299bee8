"""`guerdon score` on a million short records: records a second and memory, cold and from the verdict cache.

    python benchmarks/score_throughput.py [--records 1000000] [--workers 2] [--only jsonl,parquet]

The comparator is the script people write instead, in this process: a loop that parses a line, calls the same
function and writes the record with its value, without cache, workers, checks or a way to go on after a kill.
Each run of guerdon is the command line in a process of its own; memory is the sum of the resident sizes of
that process and its workers, the largest seen (pages that they share are counted several times). Seconds of
the main process are given too: on a machine that is busy otherwise they say more than the wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

REWARD = """
import re

BOXED = re.compile(r"\\\\boxed\\{(.*?)\\}")


def boxed(completion, reference):
    found = BOXED.search(completion)
    return float(found is not None and found[1] == reference)
"""


def make_records(path: Path, n: int) -> None:
    """Short records, no two with the same completion."""
    rng = random.Random(0)
    with open(path, "w", encoding="utf-8") as file:
        for i in range(n):
            a, b = rng.randrange(1000), rng.randrange(1000)
            record = {
                "id": f"r{i}",
                "group": f"p{i // 8}",
                "prompt": f"What is {a} + {b}?",
                "completion": f"Attempt {i}: the sum of both is \\boxed{{{a + b + (rng.random() < 0.3)}}}.",
                "reference": str(a + b),
                "meta": {"level": i % 5},
            }
            file.write(json.dumps(record) + "\n")


def naive(source: Path, out: Path) -> float:
    """Seconds of the loop people write."""
    space: dict[str, Any] = {}
    exec(REWARD, space)
    began = time.perf_counter()
    with open(source, encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as file:
        for line in lines:
            record = json.loads(line)
            value = space["boxed"](record["completion"], record["reference"])
            record.setdefault("signals", {})["boxed"] = {"level": "rollout", "values": [value]}
            file.write(json.dumps(record) + "\n")
    return time.perf_counter() - began


def run(source: Path, out: Path, reward: Path, cache: Path, workers: int) -> dict[str, Any]:
    """One run of the command: its report, wall-clock and processor seconds, and memory."""
    command = [sys.executable, "-m", "guerdon", "score", str(source), "--reward", f"{reward}:boxed"]
    command += ["--out", str(out), "--cache", str(cache), "--workers", str(workers), "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with tempfile.TemporaryFile() as printed:
        child = subprocess.Popen(command, stdout=printed)
        largest = 0
        while child.poll() is None:
            largest = max(largest, _resident(child.pid))
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        if child.returncode:
            raise SystemExit(f"guerdon score failed with exit code {child.returncode}")
        printed.seek(0)
        report = json.load(printed)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"report": report, "seconds": seconds, "cpu": used, "megabytes": largest / 1e6}


def _resident(process: int) -> int:
    """Bytes of a process and all below it."""
    children: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            sizes[int(entry.name)] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            continue
    total, waiting = 0, [process]
    while waiting:
        one = waiting.pop()
        total += sizes.get(one, 0)
        waiting += children.get(one, [])
    return total


def cache_alone(folder: Path, n: int) -> tuple[float, float, float]:
    """Verdicts written, looked up in the file, and looked up in memory, a second."""
    from guerdon.store.verdicts import VerdictCache

    names = [blake2b(str(i).encode(), digest_size=16).digest() for i in range(n)]
    rates = []
    with VerdictCache(folder / "alone.sqlite") as cache:
        reward = cache.reward(b"benchmark")

        def timed(action: Any) -> None:
            began = time.perf_counter()
            for start in range(0, n, 8192):
                action(names[start : start + 8192])
            rates.append(n / (time.perf_counter() - began))

        timed(lambda some: cache.put(reward, dict.fromkeys(some, 1.0)))
        cache.flush()
        timed(lambda some: cache.get(reward, some))
        cache.expect(reward, n)
        timed(lambda some: cache.get(reward, some))
    return rates[0], rates[1], rates[2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="jsonl,jsonl.gz,parquet")
    parser.add_argument("--folder", type=Path, help="Where to work; default: a temporary folder.")
    options = parser.parse_args()
    n = options.records
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        reward, plain = folder / "own_reward.py", folder / "in.jsonl"
        reward.write_text(REWARD)
        make_records(plain, n)
        loop = n / naive(plain, folder / "naive.jsonl")
        print(f"{n:,} records of {plain.stat().st_size // n} bytes, load {os.getloadavg()[0]:.1f}")
        print(f"{'the loop people write':32} {loop:12,.0f} records/s")
        for kind in options.only.split(","):
            source = folder / f"in.{kind}"
            if not source.exists():
                from guerdon.data import io

                io.write_batches(source, io.iter_batches(plain))
            cache = folder / f"{kind}.sqlite"
            for turn in ("cold", "from the cache"):
                found = run(source, folder / f"out.{kind}", reward, cache, options.workers)
                counts = found["report"]["rewards"]["boxed"]
                assert counts["cached"] == (0 if turn == "cold" else n), counts
                rate = n / found["seconds"]
                print(
                    f"{kind + ', ' + turn:32} {rate:12,.0f} records/s {rate / loop:6.2f}x the loop, "
                    f"{n / found['cpu']:10,.0f} per processor second, {found['megabytes']:5.0f} MB"
                )
        written, looked_up, in_memory = cache_alone(folder, min(n, 500_000))
        print(f"{'verdict cache, written':32} {written:12,.0f} verdicts/s")
        print(f"{'verdict cache, in the file':32} {looked_up:12,.0f} look-ups/s")
        print(f"{'verdict cache, in memory':32} {in_memory:12,.0f} look-ups/s")


if __name__ == "__main__":
    main()
