"""What a guerdon credit method adds to a step of TRL's GRPOTrainer, in one run.

    pip install 'guerdon[trl]'
    python benchmarks/trl_credit_overhead.py [--steps 12] [--rounds 3]

Two trainers of equal weights train the same tiny policy (4 layers x 128 wide) on 8 prompts x 8 draws of 32
tokens. One has TRL's own advantages, the other PURE's from a value per step (a cheap one: what a reward costs
is not the question). They train in turns; the medians of their step times are compared, by the clock and by
the processor time of the process, which others on the machine disturb less. Last comes what guerdon's methods
take of a step by the clock, TRL's own inside them taken off: the one number that load hardly touches.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "adapters"))


class StepLengths:
    """Characters of every step, by 10."""

    name, version = "process", "1"

    def __call__(self, rollouts: Any, ctx: Any = None) -> Any:
        import numpy as np

        from guerdon.data.signal import Signal

        ends = rollouts.partitions["step"]
        return Signal(np.diff(ends.values, prepend=0).clip(0) / 10, "step")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    seconds: dict[str, list[tuple[float, float]]] = {"trl": [], "guerdon": []}
    own = time_own_methods()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(asked.rounds):
            for name, times in seconds.items():
                times += train(name == "guerdon", asked.steps, folder)[2:]
    for i, clock in enumerate(("wall", "processor")):
        plain, ours = (statistics.median(t[i] for t in seconds[name]) for name in ("trl", "guerdon"))
        print(
            f"median step ({clock}): trl {plain * 1000:.0f} ms, with credit {ours * 1000:.0f} ms, "
            f"ratio {ours / plain:.3f} over {len(seconds['trl'])} steps each"
        )
    steps = asked.rounds * asked.steps
    share = own["ours"] - own["theirs"]
    print(
        f"in a step: {share / steps * 1000:.1f} ms are guerdon's, of {own['steps'] / steps * 1000:.0f} ms: "
        f"ratio {1 / (1 - share / own['steps']):.3f}"
    )


def time_own_methods() -> dict[str, float]:
    """Has the seconds counted that steps with credit take, and in them guerdon's methods and TRL's."""
    import trl

    from guerdon.adapters.trl import GRPOTrainer

    spent = {"ours": 0.0, "theirs": 0.0, "steps": 0.0}

    def counted(owner: type, name: str, account: str) -> None:
        method = getattr(owner, name)

        def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            found = method(self, *args, **kwargs)
            if self._guerdon_credit is not None:
                spent[account] += time.perf_counter() - start
            return found

        setattr(owner, name, timed)

    # Scoring runs inside TRL's generation, so its own part is counted there and once more by itself.
    counted(trl.GRPOTrainer, "_calculate_rewards", "theirs")
    counted(trl.GRPOTrainer, "_generate_and_score_completions", "theirs")
    counted(GRPOTrainer, "_calculate_rewards", "ours")
    counted(GRPOTrainer, "_generate_and_score_completions", "ours")
    counted(GRPOTrainer, "training_step", "steps")
    return spent


def train(with_credit: bool, steps: int, folder: str) -> list[tuple[float, float]]:
    """Wall and processor seconds of every step of a short training."""
    from datasets import Dataset
    from tiny_policy import tiny_policy
    from transformers import TrainerCallback
    from trl import GRPOConfig

    from guerdon.adapters.trl import GRPOTrainer, reward_func

    times: list[tuple[float, float]] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append((time.perf_counter(), time.process_time()))

    model, tokenizer = tiny_policy(hidden_size=128, intermediate_size=256, num_hidden_layers=4)
    splitter = {"use": "regex", "pattern": "[aeiou]"}
    reward = reward_func(StepLengths(), steps=splitter, tokenizer=tokenizer)
    GRPOTrainer(
        model,
        reward_funcs=[reward],
        args=GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=64,
            num_generations=8,
            max_completion_length=32,
            max_steps=steps,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict({"prompt": [f"say {i}" for i in range(16)] * 20}),
        processing_class=tokenizer,
        credit="pure" if with_credit else None,
        steps=splitter if with_credit else None,
        callbacks=[Clock()],
    ).train()
    return [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(times)]


if __name__ == "__main__":
    main()
