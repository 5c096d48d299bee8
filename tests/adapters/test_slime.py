"""slime's hooks, called as slime calls them (`rm_hub`, `RolloutManager`, `compute_advantages_and_returns`).

slime has no package for CPU machines; `Sample` and the calls around the hooks are stand-ins with the fields
and the order of its release 0.3.1.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra 'lab' is not installed")

import torch

import guerdon as gd
from guerdon.adapters.slime import make_credit, make_rm, rollouts_of, use_credit
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError


class Status(Enum):
    COMPLETED = "completed"
    TRUNCATED = "truncated"


@dataclass
class Sample:
    group_index: int | None = None
    prompt: Any = ""
    tokens: list[int] = field(default_factory=list)
    response: str = ""
    response_length: int = 0
    label: str | None = None
    reward: Any = None
    loss_mask: list[int] | None = None
    rollout_log_probs: list[float] | None = None
    remove_sample: bool = False
    status: Status = Status.COMPLETED
    metadata: dict[str, Any] = field(default_factory=dict)


def sample(group: int, mask: list[int], reward: Any = None, **more: Any) -> Sample:
    about = {"response": "4", "label": "4", "prompt": "2 + 2?"} | more
    tokens = [1, 2, *range(10, 10 + len(mask))]
    return Sample(group, tokens=tokens, response_length=len(mask), loss_mask=mask, reward=reward, **about)


def train(args: Namespace, samples: list[Sample], credit: Any, parts: list[list[int]]) -> list[Any]:
    """From samples to advantages by rank, through what slime does to its fields in between."""
    raw, rewards = credit(args, samples)
    assert len(raw) == len(rewards) == len(samples)
    ranks = []
    for part in parts:
        lengths = [samples[i].response_length for i in part]
        data = {
            "rewards": [rewards[i] for i in part],
            "raw_reward": raw,
            "response_lengths": lengths,
            "total_lengths": [len(samples[i].tokens) for i in part],
            "kl": [torch.zeros(n) for n in lengths],
        }
        use_credit(args, data)
        ranks.append(data)
    return ranks


ARGS = Namespace(reward_key=None, advantage_estimator="grpo")


def test_a_reward_for_one_sample_and_for_a_group() -> None:
    rm = make_rm("verify.match")
    samples = [sample(0, [1], response=text) for text in ("4", "5", "four")]
    assert asyncio.run(rm(ARGS, samples[0])) == 1.0
    native = gd.verify.match()(gd.Rollouts(completion=["4", "5", "four"], reference=["4"] * 3))
    assert asyncio.run(rm(ARGS, samples)) == native.values.tolist()


def test_a_verdict_that_is_missing() -> None:
    unknown = sample(0, [1], label=None)
    with pytest.raises(DataError, match="'match' has no verdict on sample 0: "):
        asyncio.run(make_rm("verify.match")(ARGS, unknown))
    assert np.isnan(asyncio.run(make_rm("verify.match", on_missing="nan")(ARGS, unknown)))
    assert asyncio.run(make_rm("verify.match", on_missing=-1)(ARGS, [unknown, sample(0, [1])])) == [-1.0, 1.0]
    with pytest.raises(RecipeError, match="on_missing"):
        make_rm("verify.match", on_missing="zero")


def test_credit_of_groups_that_are_cut_between_ranks() -> None:
    samples = [sample(0, [1, 1], 1.0), sample(0, [1], 0.0), sample(1, [1, 0, 1], 0.5), sample(1, [1], 1.0)]
    one, two = train(ARGS, samples, make_credit("rloo"), [[0, 3], [2, 1]])
    assert [row.tolist() for row in one["advantages"]] == [[1, 1], [0.5]]
    assert [row.tolist() for row in two["advantages"]] == [[-0.5, 0, -0.5], [-1]]
    assert one["returns"][0].tolist() == [1, 1] and one["returns"][0] is not one["advantages"][0]
    assert one["raw_reward"] == [1.0, 0.0, 0.5, 1.0]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([1, 1, 0]), min_size=1, max_size=6), st.sampled_from([0.0, 1.0, 0.25])
        ),
        min_size=2,
        max_size=6,
    ),
    st.sampled_from(["grpo", "rloo", "opo", "dr_grpo", "gpg"]),
)
def test_equal_to_the_native_call_bit_for_bit(rows: list[Any], method: str) -> None:
    samples = [sample(i // 2, mask, reward) for i, (mask, reward) in enumerate(rows)]
    (data,) = train(ARGS, samples, make_credit(method), [list(range(len(rows)))])
    native = gd.Rollouts(
        tokens=gd.Ragged.from_lists([[0] * len(mask) for mask, _ in rows], np.int32),
        acted=gd.Ragged.from_lists([[bool(m) for m in mask] for mask, _ in rows], bool),
        group=[i // 2 for i in range(len(rows))],
        signals={"outcome": Signal(np.array([reward for _, reward in rows]), "rollout")},
    )
    expected = getattr(gd.credit, method)()(native)
    assert torch.cat(data["advantages"]).tolist() == np.float32(expected.values).tolist()


def test_components_and_steps() -> None:
    mask = [1, 1, 0, 1]
    samples = [
        sample(0, mask, {"score": 1.0, "process": [0.5, 1.0], "style": 0.25}),
        sample(0, mask, {"score": 0.0, "process": [0.0, None], "style": None}),
    ]
    seen = []

    def credit(rollouts: Any) -> Any:
        seen.append(rollouts)
        return gd.credit.rloo()(rollouts)

    args = Namespace(reward_key="score")
    train(args, samples, make_credit(credit), [[0, 1]])
    (rollouts,) = seen
    assert rollouts.partitions["step"].to_lists() == [[3, 4]] * 2
    assert rollouts.signals["outcome"].values.tolist() == [1, 0]
    np.testing.assert_array_equal(rollouts.signals["process"].values, [0.5, 1, 0, np.nan])
    np.testing.assert_array_equal(rollouts.signals["style"].values, [0.25, np.nan])
    assert rollouts.signals["process"].level == "step" and "score" not in rollouts.signals
    with pytest.raises(DataError, match="sample 0: its reward has the entries score, process, style"):
        train(ARGS, samples, make_credit("rloo"), [[0, 1]])
    samples[1].reward["process"] = [1.0]
    with pytest.raises(DataError, match="sample 1: reward 'process': expected a list of 2"):
        train(args, samples, make_credit("rloo"), [[0, 1]])


def test_what_a_sample_says_of_itself() -> None:
    one = sample(3, [1, 1, 1], metadata={"steps": [1, 3]}, rollout_log_probs=[-1.0, -2.0, -3.0])
    one.status = Status.TRUNCATED
    rollouts = rollouts_of([one, sample(4, [1], rollout_log_probs=[-1.0])])
    assert rollouts.tokens is not None and rollouts.tokens.to_lists() == [[10, 11, 12], [10]]
    assert rollouts.partitions["step"].to_lists() == [[1, 3], [1]]
    assert rollouts.truncated.tolist() == [True, False] and rollouts.group.tolist() == [3, 4]
    assert rollouts.logprobs is not None and rollouts.logprobs[0].tolist() == [-1, -2, -3]
    one.loss_mask = [1]
    with pytest.raises(DataError, match="sample 0: 1 entries of loss_mask, but a response of 3 tokens"):
        rollouts_of([one])


def test_a_missing_reward_leaves_its_group_alone() -> None:
    samples = [sample(0, [1], 1.0), sample(0, [1], float("nan")), sample(0, [1], 0.0), sample(0, [1], None)]
    (data,) = train(ARGS, samples, make_credit("rloo"), [[0, 1, 2, 3]])
    assert torch.cat(data["advantages"]).tolist() == [1, 0, -1, 0]


def test_hooks_that_do_not_go_together() -> None:
    data = {"rewards": [1.0], "response_lengths": [2], "total_lengths": [3], "kl": [torch.zeros(2)]}
    with pytest.raises(RecipeError, match="custom-reward-post-process-path"):
        use_credit(ARGS, data)
    with pytest.raises(RecipeError, match="did you mean 'rloo'"):
        make_credit("rlo")
