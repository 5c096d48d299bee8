"""Advantages of one batch by every credit system of the catalogue, against copying what goes in and out.

4096 rollouts of 1024 tokens in groups of 8, a quarter of the tokens written by tools, 16 steps and 4 turns a
rollout. `batch` is what a call is given: tokens, the mask of chosen tokens, ends of spans, keys and the
signals it reads; `ratio` is its time over the time `np.copy` takes for those arrays. `signals` leaves the
tokens and the mask out, although a system has to write a float64 for each of them: that ratio is no bound on
arithmetic for systems that read values per step, and is given for completeness. `with out` adds the
advantages to what is copied. Text is matched beforehand, but `salt` numbers its action texts in the timed
call. Times are medians; other programs on the machine make them noisy, so `cpu ms` gives processor time too.

`--grouping` times the grouping of a million steps instead: anchor states (the step level of gigpo) and merged
edges (salt), from keys and texts to normalised values per step. Compilation is not timed.

    python benchmarks/credit_systems.py [--grouping] [--json] [--only gigpo salt]

`benchmarks/credit_vs_verl.py` compares the estimators that verl has with its own functions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from guerdon.credit import Edges, Level, Mean, MeanStd, MergeMean, RewardToGo, View, by
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.registry import build

STEP = ("prm", "env", "step_score", "j", "q_policy", "forced_acc", "contribution", "grounded", "call_ok")
TURN = ("q1", "q2", "v1", "v2", "turn_reward", "answer_logprob")
ROW = ("outcome", "termination", "j_start", "q_root")
READS: dict[str, tuple[str, ...]] = {
    "archer": ("q1", "q2", "v1", "v2", "turn"),
    "capo": ("outcome", "critique_1", "critique_2", "critique_3", "critique_4", "step"),
    "gigpo": ("outcome", "env", "state", "step"),
    "igpo": ("answer_logprob", "outcome", "turn"),
    "matchtir": ("turn_reward", "turn"),
    "mrt": ("outcome", "termination", "j", "j_start", "step"),
    "oprl-istar": ("outcome", "implicit", "step"),
    "pav": ("q_policy", "q_root", "outcome", "step"),
    "portool": ("outcome", "call_ok", "node", "step"),
    "prime": ("outcome", "implicit"),
    "prorag": ("outcome", "step_score", "step"),
    "pure": ("prm", "outcome", "step"),
    "salt": ("outcome", "state", "step"),
    "spa-rl": ("contribution", "grounded", "values", "step"),
    "tp-grpo-thought": ("outcome", "label", "step"),
    "vsrm": ("forced_acc", "outcome", "step"),
}


def make(n: int, width: int, group: int, steps: int, turns: int, seed: int) -> Rollouts:
    """Random rollouts that carry every input."""
    rng = np.random.default_rng(seed)
    total, n_steps, n_turns = n * width, n * steps, n * turns
    choices = rng.integers(0, 4, n_steps).reshape(n, steps)
    path = np.zeros(n, np.int64)
    node = np.empty((n, steps), np.int64)
    for k in range(steps):
        path = path * 4 + choices[:, k] + 1
        node[:, k] = path
    signals = {name: Signal(rng.random(n_steps), "step", name) for name in STEP}
    signals |= {f"critique_{i}": Signal(rng.integers(0, 2, n_steps), "step") for i in range(1, 5)}
    signals["label"] = Signal(rng.integers(-1, 2, n_steps), "step")
    signals |= {name: Signal(rng.random(n_turns), "turn", name) for name in TURN}
    signals |= {name: Signal(rng.random(n), "rollout", name) for name in ROW}
    signals["outcome"] = Signal(rng.integers(0, 2, n), "rollout", "outcome")
    signals["implicit"] = Signal(rng.normal(size=total), "token", "implicit")
    columns = {name: Ragged.from_lengths(rng.normal(size=total), [width] * n) for name in ("values",)}
    words = np.array([f"action {i}" for i in range(8)])
    return Rollouts(
        tokens=Ragged.from_lengths(np.zeros(total, np.int32), [width] * n),
        acted=Ragged.from_lengths(np.arange(total) % 64 < 48, [width] * n),
        group=np.arange(n) // group,
        partitions={
            "step": Ragged.from_lengths(np.tile(np.arange(1, steps + 1) * (width // steps), n), [steps] * n),
            "turn": Ragged.from_lengths(np.tile(np.arange(1, turns + 1) * (width // turns), n), [turns] * n),
        },
        state=rng.integers(0, 50, n_steps),
        node=node.reshape(-1),
        meta=[{"actions": row, "final_state": 1} for row in words[rng.integers(0, 8, (n, steps))].tolist()],
        signals={name: signal.renamed(name) for name, signal in signals.items()},
        **columns,
    )


def arrays_of(slug: str, rollouts: Rollouts) -> list[np.ndarray]:
    """The signals, keys, columns and ends of spans that a system reads."""
    found = [rollouts.group]
    for name in READS[slug]:
        if name in rollouts.signals:
            found.append(rollouts.signals[name].values)
        elif name in rollouts.partitions:
            found.append(rollouts.partitions[name].values)
        else:
            column = getattr(rollouts, name)
            found.append(column.values if isinstance(column, Ragged) else column)
    return found


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median wall-clock of a call; one call before is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def processor(call: Callable[[], Any], repeats: int) -> float:
    """Processor seconds of a call, of all threads."""
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def measure(slug: str, rollouts: Rollouts, repeats: int) -> dict[str, Any]:
    """Times of one system and of the copies, in milliseconds."""
    credit = build("credit", {"use": slug})
    assert rollouts.tokens is not None and rollouts.acted is not None
    signals = arrays_of(slug, rollouts)
    batch = [rollouts.tokens.values, rollouts.acted.values, *signals]
    out = credit(rollouts).values
    ours = seconds(lambda: credit(rollouts), repeats)
    copies = {
        name: seconds(lambda arrays=arrays: [np.copy(array) for array in arrays], repeats)
        for name, arrays in (("batch", batch), ("signals", signals), ("with out", [*batch, out]))
    }
    return {
        "system": slug,
        "ms": 1e3 * ours,
        "cpu ms": 1e3 * processor(lambda: credit(rollouts), repeats),
        "batch MB": sum(array.nbytes for array in batch) / 1e6,
        "copy ms": 1e3 * copies["batch"],
        "ratio": ours / copies["batch"],
        "ratio with out": ours / copies["with out"],
        "ratio signals": ours / copies["signals"],
    }


def grouping(n_steps: int, repeats: int, seed: int) -> list[dict[str, Any]]:
    """A million steps grouped by state, and by edge, and normalised."""
    per = 50
    n = n_steps // per
    rng = np.random.default_rng(seed)
    words = np.array([f"go to place {i}" for i in range(20)])
    rollouts = Rollouts(
        tokens=Ragged.from_lengths(np.zeros(n_steps, np.int32), [per] * n),
        group=np.arange(n) // 8,
        partitions={"step": Ragged.from_lengths(np.tile(np.arange(1, per + 1), n), [per] * n)},
        state=rng.integers(0, 1 << 62, 4000)[rng.integers(0, 4000, n_steps)],
        meta=[{"actions": row, "final_state": 5} for row in words[rng.integers(0, 20, (n, per))].tolist()],
        signals={
            "env": Signal(rng.random(n_steps), "step", "env"),
            "outcome": Signal(rng.integers(0, 2, n), "rollout", "outcome"),
        },
    )
    view = View(rollouts, rollouts.signals, "rollout", "benchmark")
    anchor = {"backup": RewardToGo(0.95), "group": by("prompt", "state")}
    cases = {
        "anchor states, mean": Level("env", **anchor, baseline=Mean("zero")),
        "anchor states, mean and std": Level("env", **anchor, baseline=MeanStd(singleton="zero")),
        "merged edges": Level("env", group=Edges(), baseline=MergeMean()),
        "merged edges, whole past": Level("env", group=Edges(history_window=None), baseline=MergeMean()),
    }
    return [
        {
            "grouping": name,
            "steps": n_steps,
            "seconds": seconds(lambda level=level: level.part(view), repeats),
        }
        for name, level in cases.items()
    ]


def show(results: list[dict[str, Any]], title: str) -> None:
    """Results as a table."""
    table = Table(title=title)
    for name in results[0]:
        table.add_column(
            name.replace("_", " "), justify="left" if name == next(iter(results[0])) else "right"
        )
    for row in results:
        table.add_row(*(f"{x:.2f}" if isinstance(x, float) else str(x) for x in row.values()))
    Console(width=None if Console().is_terminal else 110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=4096)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--grouping", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.grouping:
        results = grouping(1_000_000, args.repeats, 0)
        title = f"1,000,000 steps, {os.cpu_count()} cores"
    else:
        rollouts = make(args.rollouts, args.width, 8, args.steps, args.turns, 0)
        results = [measure(slug, rollouts, args.repeats) for slug in args.only or sorted(READS)]
        title = f"{args.rollouts} rollouts of {args.width} tokens, {os.cpu_count()} cores"
    if args.json:
        print(json.dumps({"title": title, "results": results}, indent=2))
    else:
        show(results, title)


if __name__ == "__main__":
    main()
