"""ProRAG: outcome plus step scores against the outcome alone, where answers can be guessed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from guerdon import credit
from guerdon.claims import kit
from guerdon.claims.claim import Claim, Measured
from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.systems.credit.prorag import prorag
from guerdon.tasks.hop_world import HopQuestions
from guerdon.tasks.mdp import MDP, tabulate


def _sound(mdp: MDP) -> np.ndarray:
    """1 for searches that find a missing hop and for right answers with every hop found, float64 (S, A)."""
    good = np.nan_to_num(mdp.useful)
    for (state, action), notes in mdp.notes.items():
        good[state, action] *= bool(notes.get("supported"))
    return good


def _supported(policy: TabularPolicy) -> float:
    """Exact chance of a right answer with every hop found before."""
    exact = [replace(mdp, success=mdp.done & (_sound(mdp) > 0)) for mdp in policy.mdps]
    return float(np.mean([mdp.success_rate(policy.probabilities(i)) for i, mdp in enumerate(exact)]))


def _warmed(mdps: list[MDP]) -> np.ndarray:
    """Logits of a policy that was shown some searches: useful ones are likelier, answers less likely."""
    width = max(mdp.n_actions for mdp in mdps)
    rows = []
    for mdp in mdps:
        answers = np.array([action.startswith("answer") for action in mdp.actions])
        logits = np.where(answers, -1.0, 1.5 * _sound(mdp))
        rows.append(np.pad(logits, ((0, 0), (0, width - mdp.n_actions))))
    return np.concatenate(rows)


def _judged(seed: int) -> kit.Prepare:
    """Step scores of a reward model whose logit is +-2 with unit noise; the format is always right."""

    def prepare(rollouts: Rollouts, policy: TabularPolicy, step: int) -> Rollouts:
        good = kit.at_steps(policy, rollouts, _sound)
        logit = 4 * good - 2 + np.random.default_rng([seed, 3, step]).standard_normal(len(good))
        return kit.with_signals(rollouts, step_score=("step", 1 / (1 + np.exp(-logit)) + 1.0))

    return prepare


def _curve(arm: str, rate: float, seed: int, steps: int = 30) -> np.ndarray:
    world = HopQuestions(hops=2, people=4, kin=1, aspects=1)
    questions = [tabulate(world, problem) for problem in world.problems("train", 4, seed=seed)]
    method, prepare = (prorag(), _judged(seed)) if arm == "prorag" else (credit.grpo(), None)
    policy = TabularPolicy(questions, _warmed(questions))
    return kit.learn(questions, method, steps, 8, rate, seed, prepare, policy=policy, measure=_supported)[0]


_tuned = kit.tuned(_curve, (10.0, 40.0, 160.0, 320.0, 640.0, 1280.0))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Mean chance of a supported right answer of one arm."""
    return kit.measured(_curve(arm, 10.0, seed, 3) if smoke else _tuned(arm, seed))


CLAIM = Claim(
    slug="prorag",
    claim="Step scores next to the outcome teach retrieval that supports its answers, where the outcome alone"
    " also rewards right answers reached without it (arXiv 2601.21912).",
    metric="mean exact chance of a right answer with every hop found, over 30 updates, %",
    baseline="grpo",
    system="prorag",
    run=run,
    margin=5.0,
    seeds=20,
    notes="Four two-hop questions per seed over eight facts, at most 8 turns, groups of 8; the policy starts "
    "out searching. A guess is right in about one of three cases, and both arms are rewarded for it. "
    "The step reward model has a logit of +2 for searches that find a missing hop and supported right "
    "answers, -2 for the rest, unit noise. Each arm takes the best of six step sizes, by this metric, "
    "on three other seeds.",
)
