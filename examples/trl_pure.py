"""TRL with token-level credit: PURE over a step verifier.

    pip install 'guerdon[trl,math]'
    python examples/trl_pure.py MODEL OUT_FOLDER [STEPS]

MODEL is a causal language model of transformers, a path or a name. The final answer is checked by
`verify.math`; every step (a line) is checked by exact arithmetic. PURE gives a token the credit of the worst
step still to come, and TRL trains on one advantage per token.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.verify.steps.reward import findings

QUESTIONS = [(f"What is {a} + {b} * 2?\n", str(a + 2 * b)) for a in range(2, 10) for b in range(2, 10)]


class CheckedSteps:
    """Per step: 0 where nothing is wrong with it, -1 where its arithmetic or its numbers do not hold."""

    name, version = "process", "1"

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, rollouts: Rollouts, ctx: Any = None) -> Signal:
        assert rollouts.tokens is not None and rollouts.prompt is not None
        values: list[float] = []
        for prompt, tokens, ends in zip(
            rollouts.prompt, rollouts.tokens, rollouts.partitions["step"], strict=True
        ):
            spans = zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)
            steps = [self.tokenizer.decode(tokens[a:b], skip_special_tokens=True) for a, b in spans]
            values += [0.0 if found is None else -1.0 for found in findings(prompt, steps)]
        return Signal(np.array(values), "step")


def main(model: str, folder: str, steps: int) -> None:
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig

    from guerdon.adapters.trl import GRPOTrainer, reward_func

    tokenizer = AutoTokenizer.from_pretrained(model)
    trainer = GRPOTrainer(
        model,
        reward_funcs=[
            reward_func("verify.math", "correct", reference="solution"),
            reward_func(CheckedSteps(tokenizer), reduce="min"),
        ],
        args=GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=16,
            num_generations=8,
            max_completion_length=64,
            max_steps=steps,
            logging_steps=1,
            report_to="none",
            use_cpu=not torch.cuda.is_available(),
            bf16=torch.cuda.is_available(),
        ),
        train_dataset=Dataset.from_list([{"prompt": q, "solution": a} for q, a in QUESTIONS]),
        processing_class=tokenizer,
        credit="pure",
        steps="newline",
    )
    trainer.train()
    trainer.save_model(folder)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) == 4 else 100)
