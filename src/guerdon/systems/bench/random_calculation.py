"""RandomCalculation: arithmetic no model can have seen (arXiv 2507.10532)."""

from __future__ import annotations

from guerdon.systems.catalogue import system
from guerdon.tasks.random_calculation import PREFIX, RandomCalculation


@system(
    "random-calculation",
    title="Reasoning or Memorization? Unreliable Results of Reinforcement Learning Due to Data Contamination",
    arxiv="2507.10532",
    family="bench",
    kind="task",
)
def random_calculation(
    operations: int | tuple[int, int] = 5,
    elements: tuple[str, ...] = ("integer", "fraction", "square", "cube"),
    max_integer: int = 100,
    max_denominator: int = 9,
    notation: str = "latex",
    prefix: str = PREFIX,
    reward: str = "distance",
    max_digits: int = 30,
) -> RandomCalculation:
    """The task: random expressions of 1 to 20 operations with exact results, graded by distance.

    r = 1 - 0.5 min(|a - b|, 1) - 0.5 min(|a - b| / (|b| + 1e-6), 1), in [0, 1], 1 where a = b exactly.
    Random and inverted rewards of the paper's comparison: `guerdon.tasks.Corrupted`. In recipes the task is
    `{use: random_calculation}`.

    Args:
        operations, elements, max_integer, max_denominator, notation, prefix, reward, max_digits: see
            `guerdon.tasks.RandomCalculation`, which lists the differences from the published generator too.

    Reference: Wu et al., arXiv 2507.10532.
    """
    return RandomCalculation(
        operations=operations,
        elements=elements,
        max_integer=max_integer,
        max_denominator=max_denominator,
        notation=notation,
        prefix=prefix,
        reward=reward,
        max_digits=max_digits,
    )
