"""Advantages of one batch: guerdon's credit methods against verl 0.9.1's own functions, in one run.

4096 rollouts of up to 1024 tokens, groups of 8. Both sides get what they keep in memory: verl float32
tensors padded to 1024 columns and its int64 mask (`--mask float32` spares it a conversion), guerdon ragged
columns. First the numbers are compared, in float64, over the valid positions; then both are timed in turns
and the medians printed. `GB/s` counts the arrays guerdon reads and writes once; `copy` is what `np.copy` of
those same arrays reaches, read and write. Repeat the run where other programs share the cores.

    make verl    # builds .verl, where verl and guerdon are side by side
    .verl/bin/python benchmarks/credit_vs_verl.py [--full] [--json]

verl's functions are the released ones, imported, not rewritten; it pads to the longest rollout, so `--full`
(every rollout 1024 tokens long) is the batch without any padding to save.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from verl.trainer.ppo import core_algos as verl

from guerdon import credit
from guerdon.data import Ragged, Rollouts, Signal

GAMMA, LAM = 0.99, 0.95
TARGETS = {"gae": 30.0, "reinforce_pp": 30.0, "grpo (vectorised)": 1.0}


@dataclass(frozen=True)
class Case:
    """One comparison: verl's call on padded tensors, guerdon's method, and the columns it reads."""

    name: str
    theirs: Callable[[dict[str, Any]], torch.Tensor]
    ours: credit.Credit
    reads: tuple[str, ...] = ("outcome",)


class Config(dict):
    """What verl's functions read from its algorithm configuration."""

    gamma = GAMMA
    norm_adv_by_std_in_grpo = True


def outcome(function: Callable[..., Any], **extra: Any) -> Callable[[dict[str, Any]], torch.Tensor]:
    """A call of one of verl's outcome estimators."""

    def call(batch: dict[str, Any]) -> torch.Tensor:
        return function(batch["outcome"], batch["mask"], index=batch["index"], **extra)[0]

    return call


CASES = [
    Case(
        "gae",
        lambda b: verl.compute_gae_advantage_return(b["reward"], b["values"], b["mask"], GAMMA, LAM)[0],
        credit.gae(GAMMA, LAM),
        ("reward", "values"),
    ),
    Case(
        "reinforce_pp",
        lambda b: verl.compute_reinforce_plus_plus_outcome_advantage(b["reward"], b["mask"], Config())[0],
        credit.reinforce_pp(GAMMA),
        ("reward",),
    ),
    Case("grpo (loop)", outcome(verl.compute_grpo_outcome_advantage), credit.grpo()),
    Case("grpo (vectorised)", outcome(verl.compute_grpo_vectorized_outcome_advantage), credit.grpo()),
    Case("rloo (loop)", outcome(verl.compute_rloo_outcome_advantage), credit.rloo()),
    Case("rloo (vectorised)", outcome(verl.compute_rloo_vectorized_outcome_advantage), credit.rloo()),
    Case(
        "reinforce_pp_baseline",
        outcome(verl.compute_reinforce_plus_plus_baseline_outcome_advantage),
        credit.reinforce_pp_baseline(),
    ),
    Case("opo", outcome(verl.compute_opo_outcome_advantage), credit.opo()),
    Case("gpg", outcome(verl.compute_gpg_outcome_advantage), credit.gpg()),
    Case(
        "pass_at_k",
        outcome(verl.compute_grpo_passk_outcome_advantage, config=Config()),
        credit.pass_at_k(),
    ),
    Case(
        "remax",
        lambda b: verl.compute_remax_outcome_advantage(b["outcome"], b["baseline"], b["mask"])[0],
        credit.remax(),
        ("outcome", "baseline"),
    ),
]


def make(n: int, width: int, group: int, full: bool, seed: int) -> Rollouts:
    """Random rollouts: half of them right, a critic, token rewards with the outcome at the end."""
    rng = np.random.default_rng(seed)
    lengths = np.full(n, width) if full else rng.integers(1, width + 1, n)
    total = int(lengths.sum())
    right = rng.integers(0, 2, n) * (1.0 + 0.1 * rng.normal(size=n))
    reward = 0.01 * rng.normal(size=total)
    reward[np.cumsum(lengths) - 1] += right
    return Rollouts(
        tokens=Ragged.from_lengths(np.zeros(total, np.int32), lengths),
        group=np.arange(n) // group,
        values=Ragged.from_lengths(rng.normal(size=total), lengths),
        signals={
            "outcome": Signal(right, "rollout", "outcome"),
            "baseline": Signal(rng.random(n), "rollout", "baseline"),
            "reward": Signal(reward, "token", "reward"),
        },
    )


def padded(rollouts: Rollouts, dtype: torch.dtype, mask_dtype: torch.dtype) -> dict[str, Any]:
    """The same batch as verl keeps it."""
    assert rollouts.tokens is not None and rollouts.values is not None
    tokens = rollouts.tokens
    last = rollouts.spread(rollouts.signals["outcome"], "token", "last").values

    def pad(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(tokens.with_values(values).to_padded()).to(dtype)

    return {
        "reward": pad(rollouts.signals["reward"].values),
        "outcome": pad(last),
        "values": pad(rollouts.values.values),
        "baseline": torch.from_numpy(rollouts.signals["baseline"].values).to(dtype),
        "mask": pad(np.ones(tokens.total)).to(mask_dtype),
        "index": rollouts.group,
    }


def difference(case: Case, rollouts: Rollouts) -> float:
    """Largest absolute difference over the valid positions, computed in float64 on both sides."""
    theirs = case.theirs(padded(rollouts, torch.float64, torch.float64)).numpy()
    assert rollouts.tokens is not None
    valid = np.arange(theirs.shape[1])[None, :] < rollouts.lengths[:, None]
    return float(np.abs(theirs[valid] - case.ours(rollouts).values).max())


def seconds(call: Callable[[], Any]) -> float:
    """Wall-clock of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def arrays_of(case: Case, rollouts: Rollouts) -> list[np.ndarray]:
    """What guerdon reads and writes for this case."""
    columns = {name: signal.values for name, signal in rollouts.signals.items()}
    assert rollouts.values is not None
    columns["values"] = rollouts.values.values
    return [*(columns[name] for name in case.reads), case.ours(rollouts).values]


def measure(case: Case, rollouts: Rollouts, tensors: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Agreement and median times of one case; the two sides take turns."""
    gap = difference(case, rollouts)
    arrays = arrays_of(case, rollouts)
    size = sum(array.nbytes for array in arrays)
    calls = {
        "verl": lambda: case.theirs(tensors),
        "guerdon": lambda: case.ours(rollouts),
        "copy": lambda: [np.copy(array) for array in arrays],
    }
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        times["verl"].append(seconds(calls["verl"]))
        for _ in range(5):  # short calls: more of them, so that one interruption does not decide
            times["guerdon"].append(seconds(calls["guerdon"]))
            times["copy"].append(seconds(calls["copy"]))
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "method": case.name,
        "difference": gap,
        "verl_ms": 1e3 * median["verl"],
        "guerdon_ms": 1e3 * median["guerdon"],
        "ratio": median["verl"] / median["guerdon"],
        "target": TARGETS.get(case.name),
        "guerdon_gb_per_s": size / median["guerdon"] / 1e9,
        "copy_gb_per_s": 2 * size / median["copy"] / 1e9,
    }


def show(results: list[dict[str, Any]], setting: dict[str, Any]) -> None:
    """The results as a table."""
    table = Table(title=", ".join(f"{key} {value}" for key, value in setting.items()))
    for name in ("method", "verl ms", "guerdon ms", "ratio", "target", "GB/s", "copy GB/s", "difference"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for r in results:
        target = "" if r["target"] is None else f"{r['target']:.0f}x"
        table.add_row(
            r["method"],
            f"{r['verl_ms']:.2f}",
            f"{r['guerdon_ms']:.2f}",
            f"{r['ratio']:.1f}x",
            target if r["target"] is None or r["ratio"] >= r["target"] else f"[red]{target} missed[/]",
            f"{r['guerdon_gb_per_s']:.1f}",
            f"{r['copy_gb_per_s']:.1f}",
            f"{r['difference']:.1e}",
        )
    Console(width=None if Console().is_terminal else 110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=4096)
    parser.add_argument("--width", type=int, default=1024, help="longest rollout in tokens")
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--full", action="store_true", help="every rollout is `width` tokens long")
    parser.add_argument("--mask", choices=("int64", "float32"), default="int64", help="type of verl's mask")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of methods")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rollouts = make(args.rollouts, args.width, args.group, args.full, args.seed)
    tensors = padded(rollouts, torch.float32, getattr(torch, args.mask))
    cases = [case for case in CASES if not args.only or case.name in args.only]
    results = [measure(case, rollouts, tensors, args.repeats) for case in cases]
    if (args.rollouts, args.width, args.full) != (4096, 1024, False):  # the targets are for that batch
        results = [result | {"target": None} for result in results]
    setting = {
        "rollouts": args.rollouts,
        "tokens": rollouts.count("token"),
        "width": args.width,
        "mask": args.mask,
        "cores": os.cpu_count(),
    }
    if args.json:
        print(json.dumps({"setting": setting, "results": results}, indent=2))
    else:
        show(results, setting)
    if any(r["difference"] > 1e-5 for r in results):
        raise SystemExit("guerdon and verl disagree by more than 1e-5")


if __name__ == "__main__":
    main()
