"""Batches every credit method can read: uneven groups, empty and short rollouts, masks, missing scores."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from guerdon import credit
from guerdon.data import Ragged, Rollouts, Signal

nan = np.nan
OUTCOME = {
    "grpo": credit.grpo(),
    "grpo_batch": credit.grpo(scale="batch"),
    "grpo_none": credit.grpo(scale="none"),
    "grpo_zero": credit.grpo(singleton="zero", ddof=0),
    "dr_grpo": credit.dr_grpo(),
    "rloo": credit.rloo(),
    "reinforce_pp_baseline": credit.reinforce_pp_baseline(),
    "opo": credit.opo(),
    "remax": credit.remax(),
    "gpg": credit.gpg(),
    "pass_at_k": credit.pass_at_k(),
    "pass_at_k_none": credit.pass_at_k(scale="none"),
}
ANCHORED = credit.levels(
    [
        {"source": "outcome", "baseline": "mean_std"},
        {
            "source": "steps",
            "backup": {"use": "reward_to_go", "gamma": 0.9},
            "group": ["prompt", "state"],
            "baseline": {"use": "mean", "singleton": "zero"},
            "weight": 0.5,
        },
    ]
)
DENSE = {
    "reinforce_pp": credit.reinforce_pp(gamma=0.9),
    "gae": credit.gae(gamma=0.9, lam=0.8),
    "gae_raw": credit.gae(gamma=0.9, lam=0.8, whiten=False),
    "outcome_and_steps": credit.outcome_and_steps(weight=0.5),
    "steps_by_index": credit.outcome_and_steps(pool=("prompt", "index"), scale="none"),
    "anchored": ANCHORED,
    "steps_nonzero": credit.levels([{"source": "steps", "baseline": "nonzero_scale"}]),
    "pooled_tokens": credit.levels([{"source": "reward", "baseline": "mean_std"}]),
    "token_and_outcome": credit.levels(
        [{"source": "reward", "backup": "reward_to_go"}, {"source": "outcome", "baseline": "loo"}],
        whiten=True,
    ),
}
METHODS = OUTCOME | DENSE
BATCH_WIDE = {
    "grpo_batch",
    "gpg",
    "steps_nonzero",
    "reinforce_pp_baseline",
    "reinforce_pp",
    "gae",
    "token_and_outcome",
}


def make(lengths, group, seed=0, missing=0.0, masked=0.3):
    """A batch from its shape; the numbers come from `seed`."""
    rng = np.random.default_rng(seed)
    n, total = len(lengths), int(sum(lengths))
    steps = [[*range(2, length, 2), length] if length else [] for length in lengths]
    n_steps = sum(map(len, steps))

    def scores(size):
        return np.where(rng.random(size) < missing, nan, rng.choice([0.0, 0.5, 1.0, 2.0], size))

    def ragged(values):
        return Ragged.from_lengths(values, lengths)

    return Rollouts(
        tokens=ragged(np.arange(total)),
        acted=ragged(rng.random(total) >= masked),
        values=ragged(rng.normal(size=total)),
        group=np.asarray(group),
        partitions={"step": Ragged.from_lists(steps, np.int64)},
        state=rng.integers(0, 3, n_steps),
        signals={
            "outcome": Signal(scores(n), "rollout", "outcome"),
            "baseline": Signal(rng.normal(size=n), "rollout", "baseline"),
            "steps": Signal(scores(n_steps), "step", "steps"),
            "reward": Signal(rng.normal(size=total), "token", "reward"),
        },
    )


@st.composite
def batches(draw, missing=(0.0, 0.0, 0.3)):
    """Batches of one to eight rollouts in up to three groups; `missing` lists shares of missing scores."""
    lengths = draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 5]), min_size=1, max_size=8))
    group = draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    masked = draw(st.sampled_from([0.0, 0.4, 1.0]))
    return make(lengths, group, draw(st.integers(0, 10**6)), draw(st.sampled_from(missing)), masked)
