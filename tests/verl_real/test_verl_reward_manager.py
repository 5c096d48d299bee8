"""guerdon's reward manager, made by verl from verl's own configuration."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed; `make verl` tests in an environment that has it")

import torch
from omegaconf import OmegaConf, open_dict
from verl import DataProto
from verl.trainer.ppo.reward import load_reward_manager, resolve_reward_manager_cls

import guerdon as gd
from guerdon import registry
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError, TrainingError


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    at = Path(__file__).parents[1] / "adapters" / "tiny_policy.py"
    spec = importlib.util.spec_from_file_location("tiny_policy", at)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.tiny_policy()[1]


@gd.reward(name="strict", on_error="raise")
def strict(completion: str, reference: Any) -> float:
    """1 where equal; breaks on "boom"."""
    if "boom" in completion:
        raise ValueError("the checker broke")
    return float(completion == reference)


STRICT = f"{__file__}:strict"


def config(estimator: str = "guerdon_rloo", **guerdon: Any) -> Any:
    import verl

    at = Path(verl.__file__).parent / "trainer" / "config" / "_generated_ppo_trainer.yaml"
    found = OmegaConf.load(at)
    with open_dict(found):
        found.algorithm.adv_estimator = estimator
        found.reward.reward_manager.name = "guerdon"
        found.reward.guerdon = guerdon
    return found


def data(tokenizer: Any, texts: list[str], references: list[Any], pad: int = 2) -> DataProto:
    """Responses as verl pads them, prompts as messages."""
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    width = max(map(len, ids)) + pad
    prompt = tokenizer.encode("what?", add_special_tokens=False)
    n = len(texts)
    responses = torch.zeros(n, width, dtype=torch.int64)
    attention = torch.zeros(n, len(prompt) + width, dtype=torch.int64)
    for row, own in enumerate(ids):
        responses[row, : len(own)] = torch.as_tensor(own)
        attention[row, : len(prompt) + len(own)] = 1
    messages = np.empty(n, dtype=object)
    messages[:] = [[{"role": "user", "content": "what?"}]] * n
    others = {
        "raw_prompt": messages,
        "data_source": np.array(["mine"] * n, dtype=object),
        "reward_model": np.array([{"ground_truth": r} for r in references], dtype=object),
        "extra_info": np.array([{"solution": r, "split": "train"} for r in references], dtype=object),
    }
    return DataProto.from_dict(
        tensors={
            "prompts": torch.as_tensor([prompt] * n),
            "responses": responses,
            "attention_mask": attention,
        },
        non_tensors=others,
    )


def score(manager: Any, batch: DataProto) -> list[Any]:
    """All samples at once, as verl's reward worker asks for them."""

    async def run() -> list[Any]:
        calls = (manager.run_single(batch[i : i + 1]) for i in range(len(batch)))
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(run())


def test_equals_the_native_call(tokenizer: Any) -> None:
    texts, references = ["so x = 12", "0.50", "13", ""], ["12", "1/2", "12", "1"]
    manager = load_reward_manager(config(use="verify.math", on_error=0.0), tokenizer)
    found = score(manager, data(tokenizer, texts, references))
    rollouts = gd.Rollouts(prompt=["what?"] * 4, completion=texts, reference=references)
    own = registry.build("reward", {"use": "verify.math"}, "reward")(rollouts).values
    assert [one["reward_score"] for one in found] == np.nan_to_num(own).tolist()
    assert {tuple(one["reward_extra_info"]) for one in found} == {("outcome", "missing", "guerdon")}


def test_a_sample_whose_reward_dies_is_worth_what_the_user_chose(tokenizer: Any) -> None:
    batch = data(tokenizer, ["a", "boom", "b"], ["a", "a", "a"])
    raising = score(load_reward_manager(config(use=STRICT), tokenizer), batch)
    assert [one["reward_score"] for one in (raising[0], raising[2])] == [1.0, 0.0]
    assert isinstance(raising[1], TrainingError) and "the checker broke" in str(raising[1])
    dropped = score(load_reward_manager(config(use=STRICT, on_error="drop"), tokenizer), batch)
    assert [one["reward_score"] for one in (dropped[0], dropped[2])] == [1.0, 0.0]
    assert math.isnan(dropped[1]["reward_score"]) and dropped[1]["reward_extra_info"]["missing"] == 1.0
    valued = score(load_reward_manager(config(use=STRICT, on_error=-1), tokenizer), batch)
    assert [one["reward_score"] for one in valued] == [1.0, -1.0, 0.0]


def test_drop_needs_an_estimator_that_can_leave_out(tokenizer: Any) -> None:
    with pytest.raises(RecipeError, match="'grpo' would spread over the group"):
        load_reward_manager(config("grpo", use="verify.math", on_error="drop"), tokenizer)


def test_parts_keep_their_names_and_weights(tokenizer: Any) -> None:
    rewards = {"right": {"use": STRICT}, "again": {"use": STRICT, "weight": 0.5}}
    manager = load_reward_manager(config(rewards=rewards), tokenizer)
    found = score(manager, data(tokenizer, ["a"], ["a"]))[0]
    parts = found["reward_extra_info"]
    assert found["reward_score"] == 1.5 and (parts["right"], parts["again"]) == (1.0, 1.0)
    assert json.loads(parts["guerdon"])["signals"]["right"] == {"level": "rollout", "values": [1.0]}


def test_step_scores_are_carried_and_placed(tokenizer: Any) -> None:
    spec = {"rewards": {"process": {"use": "verify.step_checks"}}, "steps": "newline"}
    manager = load_reward_manager(config(**spec), tokenizer)
    texts = ["1 + 1 = 2\n2 + 2 = 5\n", "1 + 1 = 2"]
    batch = data(tokenizer, texts, [None, None])
    found = score(manager, batch)
    records = [json.loads(one["reward_extra_info"]["guerdon"]) for one in found]
    assert records[0]["steps"] == [10, 20] and records[1]["steps"] == [9]
    assert records[0]["signals"]["process"] == {"level": "step", "values": [1.0, 0.0]}
    assert [one["reward_score"] for one in found] == [1.0, 1.0]
    manager_cls = resolve_reward_manager_cls(config(**spec))
    rewards = manager_cls.assemble_rm_scores(batch, [one["reward_score"] for one in found])
    assert rewards.shape == batch.batch["responses"].shape and rewards.dtype == torch.float32
    assert rewards.nonzero().tolist() == [[0, 9], [1, 8]]
    plain = manager_cls.assemble_rm_scores(batch, [2.0, 3.0])  # numbers from elsewhere go to the end
    assert plain[0, 19] == 2.0 and plain[1, 8] == 3.0 and plain.sum() == 5.0


def test_a_dense_score_survives_pickling(tokenizer: Any) -> None:
    import pickle

    from guerdon.adapters.verl_scoring import DenseScore

    back = pickle.loads(pickle.dumps(DenseScore.of([(2, 0.5), (4, 1.0)], 1.5)))
    assert back == 1.5 and back.rewards == ((2, 0.5), (4, 1.0))


def test_samples_that_wait_are_scored_together_in_one_thread(tokenizer: Any) -> None:
    sizes, threads = [], set()

    class Counts:
        name, version = "counts", "1"

        def __call__(self, rollouts: Any, ctx: Any = None) -> Signal:
            sizes.append(len(rollouts))
            threads.add(threading.get_ident())
            return Signal(np.ones(len(rollouts)), "rollout")

    manager = load_reward_manager(config(use=STRICT), tokenizer)
    manager.scorer.rewards = {"outcome": Counts()}
    found = score(manager, data(tokenizer, ["a"] * 16, ["a"] * 16))
    assert [one["reward_score"] for one in found] == [1.0] * 16
    assert sum(sizes) == 16 and len(sizes) < 16 and len(threads) == 1


def test_references_from_another_column(tokenizer: Any) -> None:
    batch = data(tokenizer, ["a"], ["a"])
    batch.non_tensor_batch["reward_model"][0] = {}
    manager = load_reward_manager(config(use=STRICT, reference="solution"), tokenizer)
    assert score(manager, batch)[0]["reward_score"] == 1.0
    absent = load_reward_manager(config(use=STRICT, reference="answer"), tokenizer)
    error = score(absent, batch)[0]
    assert isinstance(error, DataError) and "no column 'answer'" in str(error)
    assert "solution" in str(error)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "name one reward"),
        ({"use": "verify.math", "rewards": {"a": {"use": "verify.math"}}}, "name one reward"),
        ({"use": "verify.maths"}, "did you mean 'verify.math'"),
        ({"use": "verify.math", "on_error": "skip"}, "expected 'raise', 'drop' or a number, got 'skip'"),
        ({"use": "verify.math", "on_eror": "drop"}, "did you mean 'on_error'"),
    ],
)
def test_settings_that_say_nothing_sensible(tokenizer: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_reward_manager(config(**given), tokenizer)


def test_verls_reward_worker_runs_it(tokenizer: Any, tmp_path: Path) -> None:
    """`RewardLoopWorker` is what verl runs as a Ray actor; here without Ray."""
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    tokenizer.save_pretrained(tmp_path)
    settings = config(use=STRICT, on_error="drop")
    with open_dict(settings):
        settings.actor_rollout_ref.model.path = str(tmp_path)
        settings.actor_rollout_ref.model.tokenizer_path = None
    batch = data(tokenizer, ["a", "boom", "b"], ["a", "a", "a"])

    async def run() -> list[Any]:
        return await RewardLoopWorker(settings).compute_score_batch(batch)

    found = [one["reward_score"] for one in asyncio.run(run())]
    assert found[0] == 1.0 and math.isnan(found[1]) and found[2] == 0.0


def test_verls_reward_loop_in_ray_to_credit(tokenizer: Any, tmp_path: Path) -> None:
    """Reward actors, dense rewards placed on tokens, records, and PURE over them."""
    import ray
    from verl.experimental.reward_loop.reward_loop import RewardLoopManager

    from guerdon.adapters.verl import compute_advantage

    tokenizer.save_pretrained(tmp_path)
    rewards = {"outcome": {"use": "verify.math"}, "process": {"use": "verify.step_checks"}}
    settings = config("guerdon_pure", rewards=rewards, steps="newline", on_error="drop")
    with open_dict(settings):
        settings.actor_rollout_ref.model.path = str(tmp_path)
        settings.actor_rollout_ref.model.tokenizer_path = None
        settings.reward.num_workers = 2
    texts = ["1 + 1 = 2\n2 + 2 = 4\n", "1 + 1 = 2\n2 + 2 = 5\n", "4"]
    batch = data(tokenizer, texts, ["4", "4", "4"])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    try:
        out = RewardLoopManager(settings).compute_rm_score(batch)
    finally:
        ray.shutdown()
    assert out.batch["rm_scores"].sum(1).tolist() == [1.0, 0.0, 1.0]
    assert out.batch["rm_scores"][0, 19] == 1.0  # the outcome stands on the last token
    assert out.non_tensor_batch["missing"].tolist() == [0.0, 0.0, 0.0]
    batch = batch.union(out)
    batch.batch["response_mask"] = batch.batch["attention_mask"][:, batch.batch["prompts"].size(1) :]
    batch.non_tensor_batch["uid"] = np.array(["a"] * 3, dtype=object)
    found = compute_advantage(batch, "pure").batch["advantages"]
    assert found[1, 10:20].max() < found[0, 10:20].min()  # the wrong step of row 1 gets less
    assert torch.isfinite(found).all()
