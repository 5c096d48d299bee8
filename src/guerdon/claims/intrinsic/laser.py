"""LaSeR: reinforcement learning that also teaches the model to rate itself, and votes with the ratings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from guerdon.claims import kit_intrinsic as lab
from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.credit import grpo
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.intrinsic.votes import cluster, winner
from guerdon.systems.intrinsic.laser import calibration_loss, laser, mixed_advantages, verification

TOKEN, BETA = 262, 0.2
QUESTIONS, GROUP, STEPS, WARM, IMITATED, RATE = 12, 8, 40, 10, 400, 1e-3
VOTES = 4


def joint(engine: Any, rollouts: Rollouts, advantages: np.ndarray, right: np.ndarray, c_ref: float) -> None:
    """One step on policy gradient and calibration together, the reserved token behind every end."""
    assert rollouts.tokens is not None
    rows = [rollouts.tokens[i].tolist() for i in range(len(rollouts))]
    longer = [row if cut else [*row, TOKEN] for row, cut in zip(rows, rollouts.truncated, strict=True)]
    tokens = Ragged.from_lists(longer, dtype=np.int32)
    weight = np.concatenate(
        [
            np.pad(np.full(len(a), x), (0, len(b) - len(a)))
            for a, b, x in zip(rows, longer, advantages, strict=True)
        ]
    )
    calibration = calibration_loss(tokens.lengths, np.where(rollouts.truncated, np.nan, right), BETA, c_ref)
    total = rollouts.tokens.total

    def loss(stats: Any, chosen: np.ndarray) -> tuple[Any, Mapping[str, float]]:
        import torch

        push = torch.from_numpy(weight[tokens.positions(chosen)]).to(stats.logprobs)
        return calibration(stats, chosen)[0] - (push * stats.logprobs).sum() / total, {}

    extended = Rollouts(prompt=rollouts.prompt, tokens=tokens)
    engine.train_step(extended, loss, lr=RATE, entropy=False)


def voted(rollouts: Rollouts, weights: np.ndarray) -> float:
    """Share of weighted votes, `GROUP` samples each, for the right last letter."""
    assert rollouts.reference is not None
    ends = [
        None if cut else rollouts.text(i)[-1:]
        for i, cut in enumerate(np.asarray(rollouts.truncated).tolist())
    ]
    won = []
    for first in range(0, len(rollouts), GROUP):
        clusters = cluster(ends[first : first + GROUP], "text")
        best = winner(clusters, weights=weights[first : first + GROUP])
        won.append(best >= 0 and clusters.representatives[best] == rollouts.reference[first])
    return float(np.mean(won))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Accuracy of votes on test questions after training."""
    chains, start = lab.chain_writer(seed, 5 if smoke else IMITATED)
    engine = kit.copy_of(start)
    test = [chains.problem(k, hops) for k, hops in chains.test]
    ctx = Context(engines={"policy": engine})
    first = lab.sampled(engine, test, GROUP, 12, seed)
    prior = laser(TOKEN, beta=1.0, c_ref=0.0)(first, ctx).values
    c_ref = float(np.mean([-12.0, *prior[~np.isnan(prior)]]))
    rate = laser(TOKEN, BETA, c_ref)

    def step(engine: Any, at: int) -> None:
        asked = [chains.problem(k, n) for k, n in chains.drawn(np.random.default_rng([seed, at]), QUESTIONS)]
        rollouts = lab.sampled(engine, asked, GROUP, 12, seed * 1000 + at)
        right = lab.last_letter_right(rollouts)
        if arm == "grpo":
            lab.climb(engine, rollouts, right, grpo(), RATE, seed)
            return
        scored = rollouts.with_signal(Signal(right, "rollout", "outcome"))
        advantages = rollouts.reduce(grpo()(scored, scored.signals, ctx), "rollout", "mean").values
        if at >= WARM:
            advantages = mixed_advantages(advantages, rate(rollouts, ctx).values, rollouts.group)
        joint(engine, rollouts, advantages, right, c_ref)

    curve = lab.curve_of(engine, step, 2 if smoke else STEPS, chains.right_paths)
    rollouts = lab.sampled(engine, test * VOTES, GROUP, 12, seed + 7)
    right, plain = lab.last_letter_right(rollouts), voted(rollouts, np.ones(len(rollouts)))
    scores = np.nan_to_num(rate(rollouts, ctx).values)
    weighted = voted(rollouts, scores.clip(1e-6, 1.0))
    return lab.shown(
        100 * (plain if arm == "grpo" else weighted),
        curve,
        accuracy=float(right.mean()),
        plain_vote=plain,
        weighted_vote=weighted,
        f1=verification(scores, right)["f1"],
    )


CLAIM = Claim(
    slug="laser",
    claim="Training the log-prob of one reserved token behind the end to say whether the solution is right, "
    "beside the usual reinforcement learning, gives a model that reasons at least as well and votes "
    "better with its own ratings (LaSeR, arXiv 2510.14943: gains over GRPO on five maths benchmarks, "
    "verification F1 around 80 %).",
    metric="votes of 8 samples that are right after 40 updates, test questions, %",
    baseline="grpo",
    system="laser",
    run=run,
    margin=2.0,
    seeds=6,
    notes="A 2-layer byte-level decoder of width 32 first imitates a teacher who applies a secret map of "
    "letters two to four times and errs at every hop, more often at a quarter of the letters. 12 "
    "questions a step, 8 samples each, GRPO and one step size in both arms; LaSeR adds its "
    "calibration (weight 0.1, classes balanced) to the same step and, from the 11th on, a tenth of "
    "its own advantages. The constant is the reserved token's mean log-prob before training, beta "
    "0.2: this model never gives it less than about -17, against the published -23. GRPO's votes are "
    "plain, LaSeR's weighted by its ratings; four votes for each of 19 questions that were never "
    "trained on.",
)
