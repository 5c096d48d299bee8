"""`verify.code` against HumanEval's official harness: same verdicts, how many candidates a second.

The comparator does what `human_eval.execution.check_correctness` (openai/human-eval, MIT) does, step by step:
a `multiprocessing.Manager`, a forked process per candidate that works in a temporary directory, disables a
list of functions, redirects the standard streams, sets an interval timer and executes prompt + completion +
test + check; four threads, 3 seconds. Candidates: the reference solutions, and mutants of them that differ in
one token.

    python benchmarks/code_vs_harness.py --data HumanEval.jsonl.gz [--mutants 3] [--heavy torch]

Both sides run alternately in this one process, `--rounds` times; the figure is the median of the ratios.
`--heavy` imports modules first, as a process that trains has: the harness forks the caller, guerdon does not.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib
import io
import json
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import tokenize
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Candidate = tuple[dict[str, Any], str]

# --- the official harness, restated

_DISABLED = {
    "os": "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames "
    "truncate replace unlink fchmod fchown chmod chown chroot lchown getcwd chdir",
    "shutil": "rmtree move chown",
    "subprocess": "Popen",
    "builtins": "exit quit help",
}


class _Mute(io.StringIO):
    def read(self, *_: Any) -> str:
        raise OSError

    readline = readlines = read  # type: ignore[assignment]

    def readable(self) -> bool:
        return False


class _TimedOut(Exception):
    pass


def _alarm(*_: Any) -> None:
    raise _TimedOut


class _RedirectStdin(contextlib._RedirectStream):  # type: ignore[type-arg]
    _stream = "stdin"


def _execute(problem: dict[str, Any], completion: str, timeout: float, result: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        import shutil

        kept = shutil.rmtree, os.rmdir, os.chdir, os.getcwd, os.unlink
        os.chdir(folder)
        for module, names in _DISABLED.items():
            for name in names.split():
                setattr(importlib.import_module(module), name, None)
        program = f"{problem['prompt']}{completion}\n{problem['test']}\ncheck({problem['entry_point']})"
        mute = _Mute()
        try:
            with contextlib.redirect_stdout(mute), contextlib.redirect_stderr(mute), _RedirectStdin(mute):
                signal.setitimer(signal.ITIMER_REAL, timeout)
                signal.signal(signal.SIGALRM, _alarm)
                try:
                    exec(program, {})
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            result.append("passed")
        except _TimedOut:
            result.append("timed out")
        except BaseException as error:
            result.append(f"failed: {error}")
        shutil.rmtree, os.rmdir, os.chdir, os.getcwd, os.unlink = kept
        os.chdir("/")


def check_correctness(problem: dict[str, Any], completion: str, timeout: float) -> str:
    """One candidate, as the official harness judges it."""
    manager = multiprocessing.Manager()
    result = manager.list()
    process = multiprocessing.Process(target=_execute, args=(problem, completion, timeout, result))
    process.start()
    process.join(timeout=timeout + 1)
    if process.is_alive():
        process.kill()
    return str(result[0]) if result else "timed out"


def harness(candidates: list[Candidate], timeout: float) -> list[str]:
    """All candidates, as `evaluate_functional_correctness` runs them: four threads."""
    with ThreadPoolExecutor(max_workers=4) as executor:
        futures = [executor.submit(check_correctness, problem, code, timeout) for problem, code in candidates]
        return [future.result() for future in futures]


# --- candidates

_PAIRS = ("+ -", "+= -=", "< <=", "> >=", "== !=", "and or", "True False", "min max", "any all")
_SWAPS = {
    **{a: b for pair in map(str.split, _PAIRS) for a, b in (pair, pair[::-1])},
    **{"*": "+", "/": "*", "//": "/", "%": "*", "**": "*", "*=": "+=", "is": "is not"},
}


def mutants(problem: dict[str, Any], most: int, seed: int) -> list[str]:
    """Completions that differ from the reference solution in one token."""
    text = problem["canonical_solution"]
    tokens = [t for t in tokenize.generate_tokens(io.StringIO("if 1:\n" + text).readline) if t.start[0] > 1]
    lines = text.splitlines(True)
    found = []
    for token in tokens:
        new = _SWAPS.get(token.string)
        if token.type == tokenize.NUMBER and token.string.isdigit():
            new = str(int(token.string) + 1)
        if new is None or token.type in (tokenize.STRING, tokenize.COMMENT):
            continue
        row, column = token.start[0] - 2, token.start[1]
        line = lines[row]
        changed = line[:column] + new + line[column + len(token.string) :]
        found.append("".join([*lines[:row], changed, *lines[row + 1 :]]))
    random.Random(f"{seed}{problem['task_id']}").shuffle(found)
    return found[:most]


def read_problems(path: str) -> list[dict[str, Any]]:
    """HumanEval's records."""
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


# --- the comparison


def ours(reward: Any, candidates: list[Candidate]) -> list[float]:
    """Rewards of the candidates; reading them as rollouts is part of the time."""
    from guerdon.data.rollouts import Rollouts

    rollouts = Rollouts(
        completion=[code for _, code in candidates],
        prompt=[problem["prompt"] for problem, _ in candidates],
        reference=[problem for problem, _ in candidates],
    )
    return [float(value) for value in reward(rollouts).values]


def timed(call: Any, *args: Any) -> tuple[float, Any]:
    """Seconds and result."""
    start = time.perf_counter()
    result = call(*args)
    return time.perf_counter() - start, result


def compare(
    name: str, candidates: list[Candidate], reward: Any, rounds: int, timeout: float
) -> tuple[dict[str, Any], list[str]]:
    """Candidates a second on both sides, alternately, and where they differ; the harness's verdicts."""
    ours(reward, candidates[:4])
    ratios, rates = [], []
    theirs: list[str] = []
    mine: list[float] = []
    for _ in range(rounds):
        slow, theirs = timed(harness, candidates, timeout)
        fast, mine = timed(ours, reward, candidates)
        ratios.append(slow / fast)
        rates.append((len(candidates) / slow, len(candidates) / fast))
    differ = [
        {"task": candidates[i][0]["task_id"], "harness": verdict, "guerdon": value}
        for i, (verdict, value) in enumerate(zip(theirs, mine, strict=True))
        if (verdict == "passed") != (value == 1.0)
    ]
    best = sorted(range(rounds), key=lambda i: ratios[i])[rounds // 2]
    row = {
        "candidates": name,
        "count": len(candidates),
        "passed": sum(verdict == "passed" for verdict in theirs),
        "timed_out": sum(verdict == "timed out" for verdict in theirs),
        "harness_per_second": round(rates[best][0], 1),
        "guerdon_per_second": round(rates[best][1], 1),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "disagreements": differ,
        "load": round(os.getloadavg()[0], 1),
    }
    return row, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("GUERDON_DATA", ".")) / "humaneval" / "HumanEval.jsonl.gz"
    parser.add_argument("--data", default=str(default))
    parser.add_argument("--mutants", type=int, default=3, help="mutants of each reference solution")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--heavy", nargs="*", default=[], help="modules imported first, e.g. torch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=None, help="write the figures here as JSON")
    arguments = parser.parse_args()
    for module in ("numpy", *arguments.heavy):  # the official command imports numpy itself
        importlib.import_module(module)
    from guerdon.verify.programs import code

    reward = code(timeout=arguments.timeout, workers=arguments.workers)
    problems = read_problems(arguments.data)
    references = [(problem, problem["canonical_solution"]) for problem in problems]
    changed = [(p, text) for p in problems for text in mutants(p, arguments.mutants, arguments.seed)]
    settings = (reward, arguments.rounds, arguments.timeout)
    verdicts, theirs = compare("mutants", changed, reward, 1, arguments.timeout)
    ends = [candidate for candidate, verdict in zip(changed, theirs, strict=True) if verdict != "timed out"]
    figures = [
        compare("reference solutions", references, *settings)[0],
        compare("references and mutants that end", references + ends, *settings)[0],
        verdicts,
    ]
    for row in figures:
        print(json.dumps(row))
    if arguments.out:
        Path(arguments.out).write_text(
            json.dumps({"heavy": arguments.heavy, "figures": figures}, indent=1) + "\n"
        )
    sys.exit(any(row["disagreements"] for row in figures))


if __name__ == "__main__":
    main()
