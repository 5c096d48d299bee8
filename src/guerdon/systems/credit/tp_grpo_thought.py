"""TP-GRPO on thoughts: labelled steps merge with their like, and rewards grow with the accuracy."""

from __future__ import annotations

from guerdon.credit.backups import RewardToGo
from guerdon.credit.baselines import MeanStd, at_least_zero
from guerdon.credit.compose import Credit, Level
from guerdon.credit.thoughts import ThoughtRewards
from guerdon.systems.catalogue import system


@system(
    "tp-grpo-thought",
    title="Good Learners Think Their Thinking: Generative PRM Makes Large Reasoning Model More Efficient "
    "Math Learner",
    arxiv="2507.23317",
    family="credit",
    kind="credit",
)
def tp_grpo_thought(alpha: float = 1.0, ddof: int = 1, eps: float = 1e-6) -> Credit:
    """A = o + sum of the rewards of the thoughts that end at or after the token.

    o is the outcome standardised over the prompt's rollouts, a thought a maximal run of steps with one label.
    In a right solution it earns +r_c or -r_c, r_c = alpha * accuracy of the prompt's rollouts; in a wrong one
    o where it matches the wrong answer, else -o; the last thought earns 0. Hence A = o in correct thoughts,
    o - r_c in incorrect ones, o in matched thoughts and 0 in uncertain ones.

    Args:
        alpha: size of process rewards; they are not normalised.
        ddof, eps: of the outcome's standard deviation; equal outcomes or a group of one give o = 0.

    Inputs: `outcome` (rollout, +1 or -1), `label` (step: 1 correct, -1 incorrect in right solutions; -1
    matched, 0 uncertain in wrong ones; the last step is the answer text, 1 or -1).

    Reference: arXiv 2507.23317. That the last thought earns nothing follows from the stated consequence.
    """
    at_least_zero(alpha, "alpha")
    return Credit(
        [
            Level("outcome", span="rollout", baseline=MeanStd(ddof, eps, singleton="zero")),
            Level(ThoughtRewards(alpha, ddof, eps), then=(RewardToGo(),)),
        ],
        name="tp-grpo-thought",
    )
