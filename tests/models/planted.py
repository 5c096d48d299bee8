"""Chain arithmetic with planted errors, engines to read it with, and a ranking score."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

import numpy as np

from guerdon.engines.lab import LabEngine
from guerdon.learn.sampling import attach_steps
from guerdon.tasks.chain import Chain

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
from small_hf import tiny_hf

TASK = Chain(terms=4, max_operand=4, modulus=5)


def lab(seed: int = 0, dim: int = 32, **options) -> LabEngine:
    shape = {"dim": dim, "layers": 2, "heads": 4, "context": 64, "device": "cpu", "seed": seed}
    return LabEngine(**shape | options)


def lab_as_hf(engine: LabEngine, folder):
    """The same weights in a transformers model."""
    from guerdon.engines.hf import HFEngine

    engine.save(folder)
    return HFEngine(model=folder, device="cpu")


def hf():
    return tiny_hf(scale=1.0)


def planted(engine, n: int, seed: int = 0, split: str = "train", wrong: float = 0.5):
    """Worked solutions, some with a wrong result and a wrong answer; signals `steps` and `outcome`."""
    rng = random.Random(seed)
    problems = TASK.problems(split, n, seed=seed)
    texts = []
    for problem in problems:
        texts.append(_worked(problem, rng if rng.random() < wrong else None))
    rollouts = engine.rollouts_from_text([p.prompt for p in problems], texts)
    rollouts = rollouts.replace(
        reference=[p.reference for p in problems], meta=[p.meta for p in problems], group=np.arange(n) // 2
    )
    rollouts = attach_steps(rollouts, TASK, engine.tokenizer)
    return rollouts.replace(signals={"steps": TASK.steps(rollouts), "outcome": TASK.outcome(rollouts)})


def _worked(problem, rng: random.Random | None) -> str:
    """The solution; with `rng` one result is off (perhaps out of range), and so is the answer."""
    links = [step.split("=")[0] for step in problem.solution.split(";")[:-1]]
    spoilt = rng.randrange(len(links)) if rng else -1
    value, text = None, ""
    for at, link in enumerate(links):
        symbol, right = re.fullmatch(r"\d+([+-])(\d+)", link).groups()
        left = link[: link.index(symbol)] if value is None else str(value)
        value = (int(left) + (int(right) if symbol == "+" else -int(right))) % TASK.modulus
        if at == spoilt:
            value = (value + rng.randrange(1, TASK.modulus)) % TASK.modulus + rng.choice([0, TASK.modulus])
        text += f"{left}{symbol}{right}={value};"
    return f"{text}#{value}"


def auroc(score: np.ndarray, label: np.ndarray) -> float:
    """Chance that a good one scores higher than a bad one; ties count one half."""
    good, bad = score[label > 0.5], score[label <= 0.5]
    return float(np.mean((good[:, None] > bad) + 0.5 * (good[:, None] == bad)))
