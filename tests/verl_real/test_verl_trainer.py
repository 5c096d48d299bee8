"""guerdon's trainer over verl's real transfer queue: what is put by agent loops comes out as credit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed; `make verl` tests in an environment that has it")

import torch
from omegaconf import OmegaConf

from guerdon.adapters.verl_batch import Columns, rollouts_of
from guerdon.systems.credit.gigpo import gigpo
from guerdon.systems.credit.pure import pure


@pytest.fixture(scope="module")
def queue() -> Iterator[Any]:
    import ray
    import transfer_queue as tq

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    tq.init()
    yield tq
    tq.close()
    ray.shutdown()


def trainer(estimator: str, **guerdon: Any) -> Any:
    """verl's trainer class with a configuration and nothing else: no model, no workers."""
    from verl.trainer.ppo.v1 import get_trainer_cls

    kind = get_trainer_cls("guerdon_sync")
    made = object.__new__(kind)
    algorithm = {"adv_estimator": estimator, "use_kl_in_reward": False, "gamma": 1.0, "lam": 1.0}
    made.config = OmegaConf.create(
        {
            "algorithm": {**algorithm, "guerdon": guerdon},
            "actor_rollout_ref": {"rollout": {"n": 2}},
        }
    )
    made.tokenizer, made.global_steps, made.total_training_steps = None, 3, 12
    return made


def put(tq: Any, partition: str, rows: list[dict[str, Any]]) -> Any:
    """Rows as `AgentLoopWorkerTQ` puts them."""
    from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    fields, keys, tags = [], [], []
    for row in rows:
        output = AgentLoopOutput(
            prompt_ids=[7, 7],
            response_ids=row["ids"],
            response_mask=row["mask"],
            reward_score=row["score"],
            num_turns=2,
            metrics=AgentLoopMetrics(),
            extra_fields=row.get("extra", {}),
        )
        field = output.as_dict()
        field.pop("metrics", None)
        fields.append({**field, "uid": row["uid"]})
        keys.append(row["key"])
        tags.append({"status": "success", "is_padding": row.get("padding", False)})
    return tq.kv_batch_put(
        keys=keys, fields=list_of_dict_to_tensordict(fields), tags=tags, partition_id=partition
    )


TURNS = [  # two turns each; rows 0, 1 and 2 see observation 50 before the second
    {"uid": "a", "key": "a_0_0", "ids": [1, 50, 2], "mask": [1, 0, 1], "score": 1.0},
    {"uid": "a", "key": "a_1_0", "ids": [3, 4, 50, 2, 5], "mask": [1, 1, 0, 1, 1], "score": 0.0},
    {"uid": "a", "key": "a_2_0", "ids": [3, 50, 9], "mask": [1, 0, 1], "score": 0.5},
    {"uid": "a", "key": "a_3_0", "ids": [3, 60, 9, 9], "mask": [1, 0, 1, 1], "score": 0.0},
]


def padded(rows: list[dict[str, Any]], name: str, width: int) -> np.ndarray:
    return np.array([row[name] + [0] * (width - len(row[name])) for row in rows])


def credited(tq: Any, batch: Any) -> list[list[float]]:
    data = tq.kv_batch_get(
        keys=batch.keys, partition_id=batch.partition_id, select_fields=["advantages", "response_mask"]
    )
    return [row.tolist() for row in data["advantages"].unbind()]


def rewards_of(rows: list[dict[str, Any]], width: int) -> np.ndarray:
    out = np.zeros((len(rows), width))
    for at, row in enumerate(rows):
        out[at, len(row["ids"]) - 1] = row["score"]
    return out


def test_gigpo_gets_its_states_from_the_queue(queue: Any) -> None:
    batch = put(queue, "turns", TURNS)
    metrics: dict[str, Any] = {}
    out = trainer("guerdon_gigpo")._compute_advantage(batch, metrics)
    mask, ids = padded(TURNS, "mask", 5) > 0, padded(TURNS, "ids", 5)
    rollouts = rollouts_of(rewards_of(TURNS, 5), mask, ["a"] * 4, Columns(responses=ids)).rollouts
    own = np.float32(gigpo()(rollouts).values)
    found = credited(queue, out)
    assert [len(row) for row in found] == [3, 5, 3, 4]
    assert list(chain.from_iterable(found)) == own.tolist() and np.abs(own).sum() > 0
    assert metrics["guerdon/missing_rewards"] == 0.0
    # second turns after observation 50 are compared with each other: 1, 0 and 0.5 with their mean
    episode = 1.0 - 0.375
    assert found[0][2] == pytest.approx(episode + 0.5) and found[2][2] == pytest.approx(0.125 + 0.0)
    assert found[3][2] == pytest.approx(-0.375)  # after 60, alone with its state


def test_step_scores_of_the_reward_manager_reach_pure(queue: Any) -> None:
    values = [[1.0, -1.0], [0.5, 1.0], [0.0, 0.0], [1.0, 1.0]]
    rows = []
    for row, own in zip(TURNS, values, strict=True):
        ends = [1, len(row["ids"])]
        record = {"steps": ends, "signals": {"process": {"level": "step", "values": own}}}
        rows.append({**row, "extra": {"reward_extra_info": {"guerdon": json.dumps(record)}}})
    batch = put(queue, "steps", rows)
    found = credited(queue, trainer("guerdon_pure")._compute_advantage(batch, {}))
    told = [json.loads(row["extra"]["reward_extra_info"]["guerdon"]) for row in rows]
    mask, ids = padded(TURNS, "mask", 5) > 0, padded(TURNS, "ids", 5)
    own = rollouts_of(
        rewards_of(TURNS, 5),
        mask,
        ["a"] * 4,
        Columns(responses=ids, records=told, lengths=np.array([3, 5, 3, 4])),
    ).rollouts
    assert list(chain.from_iterable(found)) == np.float32(pure()(own).values).tolist()


def test_rows_that_fill_up_and_missing_rewards(queue: Any) -> None:
    rows = [{**TURNS[0], "score": float("nan")}, *TURNS[1:]]
    rows.append({"uid": "padff", "key": "padff_0_0", "ids": [2], "mask": [0], "score": 0.0, "padding": True})
    batch = put(queue, "padding", rows)
    metrics: dict[str, Any] = {}
    found = credited(queue, trainer("guerdon_rloo")._compute_advantage(batch, metrics))
    assert metrics["guerdon/missing_rewards"] == 0.25
    assert found[0] == [0, 0, 0] and found[4] == [0]
    assert found[1] == pytest.approx([-0.25, -0.25, 0, -0.25, -0.25])  # 0 against the mean of 0.5 and 0
    assert found[2] == pytest.approx([0.5, 0, 0.5])


def test_sessions_with_several_outputs(queue: Any) -> None:
    first = {"uid": "a", "key": "a_0_0", "ids": [1, 2], "mask": [1, 1], "score": 1.0}
    rows = [first, {**TURNS[0], "key": "a_0_1"}, TURNS[1]]
    batch = put(queue, "sessions", rows)
    found = credited(queue, trainer("guerdon_rloo")._compute_advantage(batch, {}))
    assert found == [[1, 1], [1, 0, 1], [-1, -1, 0, -1, -1]]


def test_rays_workers_know_the_names(queue: Any) -> None:
    """Every process that imports verl loads the plugin, also those that Ray starts."""
    import ray

    @ray.remote
    def names() -> list[str]:
        from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, POLICY_LOSS_REGISTRY

        return [*ADV_ESTIMATOR_REGISTRY, *POLICY_LOSS_REGISTRY]

    assert {"guerdon_gigpo", "guerdon_ppo"} <= set(ray.get(names.remote()))


def test_verls_own_estimators_go_on_as_before(queue: Any) -> None:
    from verl.trainer.ppo.v1 import PPOTrainerSync

    batch = put(queue, "own", TURNS)
    made = trainer("rloo")
    found = credited(queue, made._compute_advantage(batch, {}))
    plain = credited(queue, PPOTrainerSync._compute_advantage(made, batch, {}))
    assert found == plain and any(any(row) for row in found)


@pytest.mark.parametrize("mode", ["sync", "colocate_async", "separate_async"])
def test_the_mode_is_verls_again(mode: str) -> None:
    """verl compares the mode with its own names; there is nothing here to train, so it stops later."""
    from verl.trainer.ppo.v1 import get_trainer_cls

    config = OmegaConf.create({"trainer": {"v1": {"trainer_mode": f"guerdon_{mode}"}}})
    OmegaConf.set_struct(config, True)
    with pytest.raises(Exception, match=r"Key '|not in struct"):
        get_trainer_cls(f"guerdon_{mode}")(config)
    assert config.trainer.v1.trainer_mode == mode


def test_steps_need_the_tokenizer_only_where_asked(queue: Any) -> None:
    batch = put(queue, "text", TURNS)

    class Letters:
        """Token 50 is a line break."""

        def token_bytes(self, ids: Any) -> list[bytes]:
            return [b"\n" if i == 50 else b"x" for i in ids]

    made = trainer("guerdon_rloo", steps="newline")
    made.tokenizer = Letters()
    columns = made._columns(batch)
    assert columns.tokenizer is made.tokenizer and columns.ctx is not None
    assert (columns.ctx.step, columns.ctx.progress) == (3, 0.25)
    assert torch.equal(torch.as_tensor(columns.lengths), torch.tensor([3, 5, 3, 4]))
