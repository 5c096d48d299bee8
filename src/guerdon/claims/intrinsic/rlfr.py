"""RLFR: outcome rewards with a small price on tokens whose latents leave the flow of right reasoning."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon.audit.calibration import auroc
from guerdon.claims import kit_intrinsic as lab
from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.credit import grpo
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.learn.objective import Objective
from guerdon.learn.update import update
from guerdon.systems.intrinsic.rlfr import rlfr

LAYER, PRETRAINED = (1,), 150
QUESTIONS, GROUP, STEPS, IMITATED, RATE = 12, 8, 40, 400, 1e-3


def hops(chains: lab.Chains, rollouts: Rollouts) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of the letters that follow a letter, and whether each follows it in the map."""
    assert rollouts.tokens is not None and rollouts.prompt is not None
    at, right = [], []
    for i, first in enumerate(rollouts.tokens.offsets[:-1].tolist()):
        text, before = rollouts.text(i), str(rollouts.prompt[i])[0]
        for place in range(0, len(text), 2):
            if text[place] not in lab.LETTERS:
                break
            at.append(first + place)
            right.append(float(chains.next[lab.LETTERS.index(before)] == lab.LETTERS.index(text[place])))
            before = text[place]
    return np.array(at, np.int64), np.array(right)


def _field(engine: Any, rollouts: Rollouts, right: np.ndarray, steps: int, seed: int) -> Any:
    """A flow field that has seen the states of right solutions."""
    import torch

    from guerdon.intrinsic.flow import FlowField
    from guerdon.intrinsic.flow_learning import train_on_correct

    torch.manual_seed(seed)
    field = FlowField(engine.width, hidden=48, blocks=2)
    train_on_correct(field, engine, rollouts, right, LAYER, steps=steps, lr=2e-3, seed=seed)
    return field


def _refresh(field: Any, engine: Any, rollouts: Rollouts, right: np.ndarray, seed: int) -> None:
    """One more step of the field, on right samples."""
    from guerdon.intrinsic.flow_learning import train_on_correct

    train_on_correct(field, engine, rollouts, right, LAYER, seed=seed)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Chance of the right path on test questions, mean over the training."""
    chains, start = lab.chain_writer(seed, 5 if smoke else IMITATED)
    engine, more = kit.copy_of(start), {}
    reward: Any = None
    if arm == "rlfr":
        every = [chains.problem(k, n) for k, n in chains.train]
        first = lab.sampled(engine, every, 8, 12, seed)
        field = _field(engine, first, lab.last_letter_right(first) == 1, 2 if smoke else PRETRAINED, seed)
        reward = rlfr(field, LAYER)
        seen = rlfr(field, LAYER, coef=1.0, threshold=0.0, top_k=99)(
            first, Context(engines={"policy": engine})
        )
        at, right = hops(chains, first)
        more["auroc"] = auroc(1.0 + seen.values[at], right) if len(at) else float("nan")

    def step(engine: Any, number: int) -> None:
        asked = chains.drawn(np.random.default_rng([seed, number]), QUESTIONS)
        rollouts = lab.sampled(
            engine, [chains.problem(k, n) for k, n in asked], GROUP, 12, seed * 1000 + number
        )
        right = lab.last_letter_right(rollouts)
        scored = rollouts.with_signal(Signal(right, "rollout", "outcome"))
        advantages = grpo()(scored, scored.signals, Context()).values
        assert rollouts.tokens is not None
        if reward is not None:
            paid = reward(rollouts, Context(step=number, engines={"policy": engine}))
            total = np.repeat(rollouts.reduce(paid, "rollout", "sum").values, rollouts.lengths)
            sums = np.cumsum(paid.values)
            starts = np.repeat(np.r_[0.0, sums][rollouts.tokens.offsets[:-1]], rollouts.lengths)
            advantages = advantages + total - (sums - starts) + paid.values
            _refresh(field, engine, rollouts, right == 1, seed=number)
        learnt = rollouts.replace(advantages=Ragged(advantages, rollouts.tokens.offsets))
        update(engine, learnt, Objective(), np.random.default_rng(number), RATE)

    curve = lab.curve_of(engine, step, 2 if smoke else STEPS, chains.right_paths)
    return lab.shown(100 * float(curve.mean()), curve, **more)


CLAIM = Claim(
    slug="rlfr",
    claim="A small price on tokens whose hidden states leave a flow that was fitted to right reasoning "
    "improves on outcome rewards alone (RLFR, arXiv 2510.10201: gains over RLVR, and over shaping by "
    "entropy, on maths benchmarks).",
    metric="exact chance of the right path on test questions, mean over 40 updates, %",
    baseline="outcome",
    system="rlfr",
    run=run,
    margin=1.0,
    seeds=6,
    notes="A 2-layer byte-level decoder of width 32 first imitates a teacher who applies a secret map of "
    "letters two to four times and errs at every hop, more often at a quarter of the letters. 12 "
    "questions a step, 8 samples each, GRPO and one step size in both arms; RLFR adds the returns of "
    "its token rewards with the published price (0.01), threshold (0.6) and time (0.8), on the states "
    "of the first layer, from a field of two blocks fitted to right samples of the first policy and "
    "refreshed with one step on every batch. `auroc`: how well small deviations tell right hops from "
    "wrong ones before training.",
)
