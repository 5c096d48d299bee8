"""One RL step: guerdon's loop against TRL's `GRPOTrainer`, same weights, prompts, lengths and reward.

    pip install trl==1.16.0 -c constraints.txt        # beside guerdon[hf]
    python benchmarks/rl_step_vs_trl.py --steps 40 --seeds 3

Both start from one checkpoint (4 layers x 128 wide, about 0.9M parameters, warm-started on chain
arithmetic), see the same 16 prompts x 8 draws of at most 24 tokens per step, and use the same AdamW,
clipping, token-mean loss and group-normalised advantages in float32. TRL runs without gradient
checkpointing and without logging of completions. Steps are timed from one step's end to the next, without
evaluation; the first two are left out. The learning curves are the mean rewards of the sampled batches;
sampling noise differs, so they agree within it.

The last line times the matrix products of one step alone, in float32 on this machine: 24 decoding steps of
128 rows, one forward and one backward pass over all tokens. No implementation in that precision is faster
than those, so TRL's time divided by them bounds the ratio that can be reached here.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")

PROMPTS, GROUP, LIMIT, LR = 16, 8, 24, 1e-4
TASK = {"use": "chain", "terms": 4, "modulus": 10}


def warm_checkpoint(folder: Path, seed: int, steps: int) -> None:
    """A mediocre policy, saved as a folder both sides load."""
    from guerdon.engines.lab import LabEngine
    from guerdon.learn.warm import warm_start
    from guerdon.registry import build

    engine = LabEngine(dim=128, layers=4, heads=4, context=64, device="cpu", seed=seed)
    warm_start(engine, build("task", TASK), steps, seed=seed)
    engine.save(folder)


def guerdon_curve(checkpoint: Path, steps: int, seed: int) -> tuple[list[float], list[float]]:
    """Mean reward of every step, and its seconds."""
    from guerdon.learn.loop import Training
    from guerdon.learn.recipe import Recipe

    recipe = Recipe.from_dict(
        {
            "engine": {"use": "lab", "init": str(checkpoint)},
            "task": TASK,
            "sampler": {"prompts": PROMPTS, "group": GROUP, "max_new_tokens": LIMIT},
            "credit": {"use": "grpo", "eps": 1e-4},
            "objective": {"use": "ppo", "clip": 0.2},
            "optim": {"lr": LR, "betas": [0.9, 0.999]},
            "steps": steps,
            "seed": seed,
            "device": "cpu",
        }
    )
    training = Training.build(recipe)
    rewards, seconds = [], []
    for step in range(steps):
        began = time.perf_counter()
        metrics, _ = training.step(step)
        seconds.append(time.perf_counter() - began)
        rewards.append(metrics["reward/outcome"])
    return rewards, seconds


def trl_curve(checkpoint: Path, steps: int, seed: int, folder: Path) -> tuple[list[float], list[float]]:
    """The same with TRL."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from guerdon.registry import build

    task = build("task", TASK)
    problems = [
        p for s in range(steps) for p in task.problems("train", PROMPTS, seed=seed, start=s * PROMPTS)
    ]
    data = Dataset.from_dict(
        {
            "prompt": [p.prompt for p in problems],
            "reference": [p.reference for p in problems],
            "expression": [p.meta["expression"] for p in problems],
        }
    )

    def reward(completions, reference, expression, **_):
        checked = zip(completions, reference, expression, strict=True)
        return [task.check(c, r, {"expression": e}) for c, r, e in checked]

    class Ends(TrainerCallback):
        at: list[float] = []  # noqa: RUF012

        def on_step_end(self, *args, **kwargs):
            self.at.append(time.perf_counter())

    config = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=PROMPTS * GROUP,
        num_generations=GROUP,
        max_completion_length=LIMIT,
        max_steps=steps,
        learning_rate=LR,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        epsilon=0.2,
        beta=0.0,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        shuffle_dataset=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=seed,
    )
    ends = Ends()
    ends.at = []
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32),
        reward_funcs=reward,
        args=config,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(checkpoint, padding_side="left"),
        callbacks=[ends],
    )
    logging.disable(logging.WARNING)
    trainer.train()
    rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    return rewards, [b - a for a, b in zip(ends.at, ends.at[1:], strict=False)]


def products_alone(dim: int = 128, layers: int = 4, hidden: int = 384, vocab: int = 264) -> float:
    """Seconds that the matrix products of one step take, nothing else: the best of several tries."""
    import torch

    shapes = [(3 * dim, dim), (dim, dim), (2 * hidden, dim), (dim, hidden)] * layers + [(vocab, dim)]
    few, many = PROMPTS * GROUP, PROMPTS * GROUP * LIMIT
    sets = [
        (torch.randn(out, into), torch.randn(few, into), torch.randn(many, into), torch.randn(many, out))
        for out, into in shapes
    ]
    best = float("inf")
    with torch.inference_mode():
        for _ in range(10):
            began = time.perf_counter()
            for weight, token, inputs, outputs in sets:
                for _ in range(LIMIT):
                    torch.mm(token, weight.T)
                torch.mm(inputs, weight.T)
                torch.mm(outputs, weight)
                torch.mm(outputs.T, inputs)
            best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--warm", type=int, default=300, help="updates of the warm start")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    import contextlib
    import sys

    rows = []
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        for seed in range(options.seeds):
            checkpoint = Path(scratch) / f"warm{seed}"
            warm_checkpoint(checkpoint, seed, options.warm)
            ours, our_seconds = guerdon_curve(checkpoint, options.steps, seed)
            theirs, their_seconds = trl_curve(checkpoint, options.steps, seed, Path(scratch) / "trl")
            shutil.rmtree(Path(scratch) / "trl", ignore_errors=True)
            third = max(options.steps // 3, 1)
            rows.append(
                {
                    "seed": seed,
                    "guerdon_s": statistics.median(our_seconds[2:]),
                    "trl_s": statistics.median(their_seconds[2:]),
                    "guerdon_first": statistics.fmean(ours[:third]),
                    "trl_first": statistics.fmean(theirs[:third]),
                    "guerdon_last": statistics.fmean(ours[-third:]),
                    "trl_last": statistics.fmean(theirs[-third:]),
                }
            )
    ratio = statistics.median(row["trl_s"] / row["guerdon_s"] for row in rows)
    gaps = [row["guerdon_last"] - row["trl_last"] for row in rows]
    spread = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
    floor = products_alone()
    result = {
        "rows": rows,
        "products_alone_s": floor,
        "bound": statistics.median(row["trl_s"] for row in rows) / floor,
        "ratio": ratio,
        "last_third_gap": statistics.fmean(gaps),
        "gap_standard_error": spread,
    }
    if options.json:
        print(json.dumps(result))
        return
    print("seed  guerdon s/step  TRL s/step  ratio   mean reward, first and last third: guerdon, TRL")
    for row in rows:
        curves = [f"{row[f'{side}_first']:.3f} -> {row[f'{side}_last']:.3f}" for side in ("guerdon", "trl")]
        times = f"{row['guerdon_s']:14.3f}  {row['trl_s']:10.3f}  {row['trl_s'] / row['guerdon_s']:5.1f}"
        print(f"{row['seed']:4d}  {times}   {', '.join(curves)}")
    gap = f"{statistics.fmean(gaps):+.3f} ± {spread:.3f}"
    print(f"TRL / guerdon: {ratio:.1f}x; reward gap in the last third {gap}")
    print(f"matrix products alone: {floor:.3f} s, so at most {result['bound']:.1f}x can be reached here")


if __name__ == "__main__":
    main()
