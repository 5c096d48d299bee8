"""Real GRPO training with TRL on CPU, with token-level credit; needs TRL, which the environment may lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl", reason="the extra 'trl' is not installed")
pytest.importorskip("torch", reason="the extra 'lab' is not installed")

import torch
from datasets import Dataset
from tiny_policy import tiny_policy
from trl import GRPOConfig

import guerdon as gd
from guerdon.adapters.trl import GRPOTrainer, reward_func
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError, TrainingError

pytestmark = pytest.mark.slow
G = 4


class Digits:
    """Per step: the share of its characters that are digits."""

    name, version = "digits", "1"

    def __call__(self, rollouts: gd.Rollouts, ctx: Any = None) -> Signal:
        values = []
        for i, ends in enumerate(rollouts.partitions["step"]):
            assert rollouts.tokens is not None
            for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
                ids = rollouts.tokens[i][start:end]
                values.append(float(np.mean((ids >= 3) & (ids < 13))))
        return Signal(np.array(values), "step")


@gd.reward
def digits(completion: str) -> float:
    return sum(c.isdigit() for c in completion) / 12


def trainer(
    folder: Path,
    credit: Any,
    rewards: Any = None,
    steps: Any = None,
    prompts: Any = None,
    chat: bool = False,
    rollout_func: Any = None,
    **settings: Any,
) -> Any:
    model, tokenizer = tiny_policy()
    if chat:  # messages are rendered as the text they hold
        tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    arguments = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 16,
        "num_generations": G,
        "max_completion_length": 12,
        "max_steps": 3,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "seed": 1,
        "disable_tqdm": True,
    }
    return GRPOTrainer(
        model,
        reward_funcs=rewards if rewards is not None else [reward_func(digits)],
        args=GRPOConfig(**(arguments | settings)),
        train_dataset=Dataset.from_dict({"prompt": prompts or ["say 1", "say 22", "say 333", "say 4"] * 4}),
        processing_class=tokenizer,
        rollout_func=rollout_func,
        credit=credit,
        steps=steps,
    )


def seen(made: Any) -> list[dict[str, Any]]:
    """Has every generated batch of a trainer recorded."""
    batches: list[dict[str, Any]] = []
    generate = made._generate_and_score_completions

    def recorded(inputs: Any) -> Any:
        out = generate(inputs)
        batches.append(
            {name: value.clone() if hasattr(value, "clone") else value for name, value in out.items()}
        )
        batches[-1]["logged"] = list(made._logs["advantages"])
        return out

    made._generate_and_score_completions = recorded
    return batches


def test_grpo_equals_trls_own_advantages(tmp_path: Path) -> None:
    runs = []
    for credit in (None, {"use": "grpo", "eps": 1e-4}):
        made = trainer(tmp_path, credit)
        batches = seen(made)
        made.train()
        runs.append(batches)
    for plain, ours in zip(*runs, strict=True):
        mask = ours["completion_mask"].bool()
        assert torch.equal(plain["completion_ids"], ours["completion_ids"])
        expected = plain["advantages"].unsqueeze(1).expand(mask.shape)
        torch.testing.assert_close(ours["advantages"][mask], expected[mask], atol=2e-5, rtol=2e-4)
        assert not ours["advantages"][~mask].any()
        np.testing.assert_allclose(ours["logged"], plain["logged"], atol=2e-5, rtol=2e-4)


def test_steps_get_the_advantages_of_the_native_call(tmp_path: Path) -> None:
    calls = []

    def credit(rollouts: gd.Rollouts, signals: Any, ctx: Any) -> Signal:
        advantage = gd.credit.outcome_and_steps()(rollouts, signals)
        calls.append((rollouts, signals, ctx.progress, advantage))
        return advantage

    made = trainer(
        tmp_path,
        credit,
        [reward_func(Digits(), "steps", reduce="mean")],
        steps={"use": "regex", "pattern": "[aeiou]"},
    )
    batches = seen(made)
    made.train()
    assert len(calls) == len(batches) == 3
    for (rollouts, signals, progress, advantage), batch in zip(calls, batches, strict=True):
        assert signals["steps"].level == "step" and signals["outcome"].level == "rollout"
        assert len(signals["steps"]) == rollouts.count("step") > len(rollouts)
        assert rollouts.groups()[1] == 16 // G
        mask = batch["completion_mask"].bool()
        assert batch["advantages"][mask].tolist() == np.float32(advantage.values).tolist()
        assert 0 <= progress < 1
    varied = [row[row != 0].unique().numel() > 1 for row in batches[0]["advantages"]]
    assert any(varied)


def test_training_learns_what_the_reward_pays(tmp_path: Path) -> None:
    made = trainer(tmp_path, "rloo", max_steps=25, logging_steps=1)
    made.train()
    rewards = [entry["reward"] for entry in made.state.log_history if "reward" in entry]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.1
    last = made.state.log_history[-2]
    assert last["rewards/digits/missing"] == 0.0
    assert last["advantages/mean_abs"] > 0


def test_missing_values_move_nothing(tmp_path: Path) -> None:
    @gd.reward
    def never(completion: str) -> None:
        return None

    made = trainer(tmp_path, "grpo", [reward_func(never)], max_steps=1)
    batches = seen(made)
    made.train()
    assert not batches[0]["advantages"].any()


def test_plain_functions_and_weights_make_the_outcome(tmp_path: Path) -> None:
    outcomes = []

    def credit(rollouts: gd.Rollouts, signals: Any, ctx: Any) -> Signal:
        outcomes.append(signals)
        return gd.credit.grpo()(rollouts, signals)

    def ones(completions: list[str], **_: Any) -> list[float]:
        return [1.0] * len(completions)

    made = trainer(tmp_path, credit, [reward_func(digits), ones], max_steps=1, reward_weights=[2.0, 0.5])
    made.train()
    (signals,) = outcomes
    expected = 2.0 * signals["digits"].values + 0.5 * signals["ones"].values
    np.testing.assert_allclose(signals["outcome"].values, expected, rtol=1e-6)


def test_a_hook_of_the_trainer_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trainer(tmp_path, "rloo", max_steps=1)
    before = seen(plain)
    plain.train()

    def doubled(self: Any, advantages: torch.Tensor) -> torch.Tensor:
        return 2 * advantages

    monkeypatch.setattr(GRPOTrainer, "_transform_advantages", doubled, raising=False)
    hooked = trainer(tmp_path, "rloo", max_steps=1)
    after = seen(hooked)
    hooked.train()
    assert torch.equal(after[0]["advantages"], 2 * before[0]["advantages"])
    assert after[0]["logged"] == (2 * np.array(before[0]["logged"])).tolist()
    monkeypatch.setattr(GRPOTrainer, "_transform_advantages", lambda self, a: a[:, 0])
    with pytest.raises(RecipeError, match="_transform_advantages returned the shape"):
        trainer(tmp_path, "rloo", max_steps=1).train()


class Dies:
    """Right once, then its service is gone."""

    name, version = "judge", "1"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, rollouts: gd.Rollouts, ctx: Any = None) -> Signal:
        self.calls += 1
        if self.calls > 1:
            raise ConnectionError("the judge is gone")
        return Signal(np.arange(len(rollouts), dtype=float), "rollout")


def test_a_reward_that_dies_in_the_middle_of_training(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="the judge is gone"):
        trainer(tmp_path, "rloo", [reward_func(Dies())]).train()
    for on_error, missing, reward in (("none", 1.0, None), (-2.0, 0.0, -2.0)):
        made = trainer(tmp_path, "rloo", [reward_func(Dies(), on_error=on_error)])
        batches = seen(made)
        made.train()
        history = [entry for entry in made.state.log_history if "reward" in entry]
        assert [entry["rewards/judge/missing"] for entry in history] == [0.0, missing, missing]
        assert history[1]["rewards/judge/mean"] == reward
        assert batches[0]["advantages"].any() and not batches[1]["advantages"].any()


def test_rewards_are_logged_each_by_itself_also_asynchronous_ones(tmp_path: Path) -> None:
    quick = reward_func(digits, "quick")
    slow = reward_func(digits, "slow", asynchronous=True)
    made = trainer(tmp_path, "rloo", [quick, slow], max_steps=1, reward_weights=[1.0, 3.0])
    made.train()
    entry = next(entry for entry in made.state.log_history if "reward" in entry)
    assert entry["rewards/quick/mean"] == entry["rewards/slow/mean"]
    assert entry["reward"] == pytest.approx(4 * entry["rewards/quick/mean"])
    assert list(made._logs["rewards"]["quick"]) == list(made._logs["rewards"]["slow"])


def test_messages_are_scored_and_cut_as_text_is(tmp_path: Path) -> None:
    batches = []
    for chat in (False, True):
        prompts = [[{"role": "user", "content": p}] if chat else p for p in ("say 1", "say 22")] * 8
        rewards = [reward_func(Digits(), "steps", reduce="mean"), reward_func(digits)]
        splitter = {"use": "regex", "pattern": "[aeiou]"}
        made = trainer(
            tmp_path, "outcome_and_steps", rewards, splitter, max_steps=1, prompts=prompts, chat=chat
        )
        batches.append(seen(made))
        made.train()
    text, chat = batches
    assert torch.equal(text[0]["completion_ids"], chat[0]["completion_ids"])
    assert torch.equal(text[0]["advantages"], chat[0]["advantages"]) and text[0]["advantages"].any()


def test_rewards_of_groups_across_processes_are_synchronous(tmp_path: Path) -> None:
    waits = reward_func(digits, "waits", asynchronous=True, groups=True)
    with pytest.raises(RecipeError, match="'waits' is asynchronous and looks at groups"):
        trainer(tmp_path, "rloo", [waits])._share(waits)


def test_what_an_environment_wrote_gets_no_credit(tmp_path: Path) -> None:
    def played(prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Two digits of the policy, two letters of an environment, then the policy again."""
        rows = [[3 + i % 10, 3, 20, 21, 3 + (3 * i) % 10, 2][: 5 + i % 2] for i in range(len(prompts))]
        return {
            "prompt_ids": trainer.processing_class(prompts).input_ids,
            "completion_ids": rows,
            "logprobs": [[-0.5 * (k + 1) for k in range(len(row))] for row in rows],
            "env_mask": [[1, 1, 0, 0, 1, 1][: len(row)] for row in rows],
        }

    @gd.reward
    def even(completion: str) -> float:
        return sum(c in "02468" for c in completion) / 2

    calls = []

    def credit(rollouts: gd.Rollouts, signals: Any, ctx: Any) -> Signal:
        calls.append((rollouts, gd.credit.reinforce_pp_baseline()(rollouts, signals)))
        return calls[-1][1]

    made = trainer(tmp_path, credit, [reward_func(even)], max_steps=1, rollout_func=played)
    batches = seen(made)
    made.train()
    (rollouts, advantage), (batch,) = calls[0], batches
    wrote = [[True, True, False, False, True, True][: 5 + i % 2] for i in range(16)]
    assert rollouts.acted is not None and rollouts.acted.to_lists() == wrote
    assert rollouts.logprobs is not None and rollouts.logprobs[1].tolist() == [-0.5, -1, -1.5, -2, -2.5, -3]
    mask = batch["completion_mask"].bool()
    assert batch["advantages"][mask].tolist() == np.float32(advantage.values).tolist()
    tools = batch["tool_mask"].bool() & mask
    assert not batch["advantages"][~tools].any() and batch["advantages"][tools].any()
    means = [row[keep].double().mean().item() for row, keep in zip(batch["advantages"], tools, strict=True)]
    np.testing.assert_allclose(batch["logged"], means, atol=1e-6)


def test_a_tokenizer_that_is_not_the_policys(tmp_path: Path) -> None:
    class Other:
        def token_bytes(self, ids: Any) -> list[bytes]:
            return [b"?" for _ in ids]

    cuts = reward_func(Digits(), steps="newline", tokenizer=Other())
    with pytest.raises(RecipeError, match=r"'digits' cuts steps with another tokenizer.*id 0 is b'\?'"):
        trainer(tmp_path, "rloo", [cuts])


def test_versions_and_methods_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trl.__version__", "1.15.2")
    with pytest.raises(TrainingError, match=r"trl >= 1\.16, and 1\.15\.2 is installed"):
        trainer(tmp_path, "rloo")
    monkeypatch.undo()
    with pytest.raises(RecipeError, match="did you mean 'grpo'"):
        trainer(tmp_path, "grpoo")
