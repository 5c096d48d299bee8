"""RLPR against VeriFree: mean probability of a reworded reference over its baseline, or its probability."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon.claims import kit_intrinsic as lab
from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.credit import grpo
from guerdon.data.signal import Signal
from guerdon.systems.intrinsic.likelihood_rewards import likelihood_rewards
from guerdon.systems.intrinsic.rlpr import DeviationFilter, rlpr

QUESTIONS, GROUP, STEPS, IMITATED, RATE = 12, 6, 30, 400, 1e-3


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Chance of the right thought after training."""
    notes, start = lab.note_taker(seed, 3 if smoke else IMITATED, 6, 2)
    product = likelihood_rewards(reduce="prob", opening=notes.MARK)
    mean = rlpr(format_weight=0.0, repetition=False, opening=notes.MARK, baseline=notes.MARK)
    keep, kept = DeviationFilter(), []

    def step(engine: Any, at: int) -> None:
        asked = notes.problems(np.random.default_rng([seed, at]), QUESTIONS)
        rollouts = notes.sampled(engine, asked, GROUP, seed * 1000 + at)
        ctx = Context(step=at, engines={"policy": engine})
        if arm == "verifree":
            told = product(notes.opened(rollouts), ctx).values
            notes.climb_directly(engine, rollouts, told, "prob", RATE)
            return
        told = mean(notes.opened(rollouts), ctx).values
        chosen = keep(rollouts.with_signal(Signal(told, "rollout", "outcome")))
        kept.append(float(chosen.mean()))
        if chosen.any():
            lab.climb(engine, rollouts.select(chosen), told[chosen], grpo(), RATE, seed * 1000 + at)

    engine = kit.copy_of(start)
    curve = lab.curve_of(engine, step, 2 if smoke else STEPS, notes.right_thoughts)
    more = {"share kept": float(np.mean(kept))} if kept else {}
    return lab.shown(100 * float(curve[-1]), curve, **more)


CLAIM = Claim(
    slug="rlpr",
    claim="The mean probability of the reference's tokens, less that without a thought, is a better reward "
    "without verifiers than the probability of the whole reference (RLPR, arXiv 2506.18254: 7.6 "
    "points on TheoremQA and 7.5 on Minerva above VeriFree).",
    metric="exact chance of the right thought after 30 updates, %",
    baseline="verifree",
    system="rlpr",
    run=run,
    margin=3.0,
    seeds=8,
    notes="A 2-layer byte-level decoder of width 32 first imitates a teacher who thinks a right digit about "
    "30 % of the time. References are short, as VeriFree wants them: 6 characters, 2 of which name "
    "the digit, worded anew every time. 12 questions a step, 6 thoughts each, one step size for both. "
    "VeriFree: leave-one-out and the gradient of its reward; RLPR: GRPO, the deviation filter from "
    "the 11th update on, whose dropped questions are not refilled; no tags, so no format reward. Only "
    "thoughts are sampled: the answers that RLPR also writes, and learns, are left out. Ten seeds, "
    "after five had left it open, +8.1 (-1.2 to 17.4).",
)
