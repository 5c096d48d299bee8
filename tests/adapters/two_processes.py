"""One process of a training by two, started by `test_trl_two_processes.py`: groups lie across both."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from tiny_policy import tiny_policy
from trl import GRPOConfig

import guerdon as gd
from guerdon.adapters.trl import GRPOTrainer, reward_func
from guerdon.data.signal import Signal


@gd.reward
def digits(completion: str) -> float:
    return sum(c.isdigit() for c in completion) / 12


class Rank:
    """The rank of a completion's digits in its group, from 0; ties by place."""

    name, version = "rank", "1"

    def __call__(self, rollouts: gd.Rollouts, ctx: Any = None) -> Signal:
        labels, n = rollouts.groups()
        counts = np.array([sum(c.isdigit() for c in rollouts.text(i)) for i in range(len(rollouts))])
        values = np.empty(len(rollouts))
        for group in range(n):
            rows = np.flatnonzero(labels == group)
            values[rows] = np.argsort(np.argsort(counts[rows], kind="stable"))
        return Signal(values, "rollout")


def main(folder: Path) -> None:
    model, tokenizer = tiny_policy()
    arguments = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        num_generations=4,
        max_completion_length=12,
        max_steps=2,
        reward_weights=[1.0, 0.0],
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    made = GRPOTrainer(
        model,
        reward_funcs=[reward_func(digits), reward_func(Rank(), groups=True)],
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": ["say 1", "say 22"] * 4}),
        processing_class=tokenizer,
        credit="rloo",
    )
    batches: list[dict[str, Any]] = []
    generate = made._generate_and_score_completions

    def recorded(inputs: Any) -> Any:
        out = generate(inputs)
        texts = tokenizer.batch_decode(out["completion_ids"], skip_special_tokens=True)
        first = [row[0].item() for row in out["advantages"]]
        logs = {"logged": list(made._logs["advantages"]), "ranks": list(made._logs["rewards"]["rank"])}
        batches.append({"texts": texts, "advantages": first} | logs)
        return out

    made._generate_and_score_completions = recorded
    made.train()
    rank = made.accelerator.process_index
    (folder / f"rank{rank}.json").write_text(json.dumps(batches))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
