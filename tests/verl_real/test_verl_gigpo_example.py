"""examples/verl_gigpo.py: its command against verl's configuration, and episodes played without a GPU."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed; `make verl` tests in an environment that has it")

import torch
from omegaconf import OmegaConf
from verl import DataProto
from verl.workers.rollout.replica import TokenOutput

from guerdon.adapters.verl import compute_advantage
from guerdon.adapters.verl_settings import Settings

HERE = Path(__file__).parents[1]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }};{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant;{% endif %}"
)


def module(at: Path) -> Any:
    spec = importlib.util.spec_from_file_location(at.stem, at)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[at.stem] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    yield module(HERE.parent / "examples" / "verl_gigpo.py")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """One token per byte."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    names = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    inner = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    made.chat_template = TEMPLATE
    return made


def test_verl_takes_the_command(example: Any, tmp_path: Path) -> None:
    from hydra import compose, initialize_config_module
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=example.overrides(str(tmp_path), tmp_path))
    assert Settings.of(config.algorithm).credit == {"gamma": 0.95, "weight": 1.0}
    validate_config(
        config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config)
    )
    example.write(tmp_path)
    [entry] = OmegaConf.load(tmp_path / "agent.yaml")
    assert (entry.name, entry["_target_"]) == ("guerdon_world", "verl_gigpo.WorldLoop")


class Server:
    """A policy that follows a list of moves, one token and the end of the message each."""

    def __init__(self, tokenizer: Any, moves: str) -> None:
        self.tokenizer, self.moves, self.asked = tokenizer, iter(moves), 0

    async def generate(self, request_id: str, prompt_ids: list[int], sampling_params: Any) -> TokenOutput:
        self.asked += 1
        ids = self.tokenizer.encode(next(self.moves), add_special_tokens=False)
        return TokenOutput(token_ids=[*ids, self.tokenizer.eos_token_id], log_probs=[-0.5] * (len(ids) + 1))


def play(example: Any, tokenizer: Any, row: dict[str, Any], moves: str, limit: int = 2000) -> Any:
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap

    config = OmegaConf.create(
        {
            "actor_rollout_ref": {"rollout": {"response_length": limit, "prompt_length": 2000}},
            "data": {},
        }
    )

    async def run() -> Any:  # verl makes the loop inside a running event loop
        loop = example.WorldLoop(
            DictConfigWrap(config),
            Server(tokenizer, moves),
            tokenizer,
            None,
            None,
            DictConfigWrap(config.data),
        )
        return await loop.run({}, raw_prompt=row["prompt"], extra_info=row["extra_info"])

    return asyncio.run(run())


def test_episodes_become_gigpo_credit(example: Any, tokenizer: Any) -> None:
    [row] = example.rows("train", 1)
    meta = json.loads(row["extra_info"]["meta"])
    plan = [{"up": "u", "down": "d", "left": "l", "right": "r"}.get(m, m) for m in example.WORLD.expert(meta)]
    good = "".join(plan)
    detour = "x" + good  # an answer that is no move changes nothing: the first room is seen twice
    short = play(example, tokenizer, row, good[:1] + "x" * 40, limit=120)  # cut by the limit
    outputs = [play(example, tokenizer, row, good), play(example, tokenizer, row, detour), short]
    for output in outputs:
        turns = len(output.extra_fields["guerdon"]["state"])
        assert sum(np.diff([0, *output.response_mask]) == 1) == turns == output.num_turns // 2
        assert len(output.response_ids) == len(output.response_mask) == len(output.response_logprobs)
    assert outputs[0].reward_score == pytest.approx(1 - 0.01 * len(plan))
    assert outputs[1].reward_score == pytest.approx(1 - 0.01 * (len(plan) + 1) - 0.05)
    states = [output.extra_fields["guerdon"]["state"] for output in outputs]
    assert states[1][0] == states[1][1] == states[0][0] == states[2][0]

    data = batch(outputs)
    found = compute_advantage(data, "gigpo").batch["advantages"]
    assert found[0].sum() > 0 > found[2].sum()
    first = [int(np.flatnonzero(output.response_mask)[0]) for output in outputs]
    assert found[0, first[0]] > found[1, first[1]] > found[2, first[2]]
    assert not found[data.batch["response_mask"] == 0].any()


def batch(outputs: list[Any]) -> DataProto:
    """Outputs padded as verl pads them."""
    width = max(len(output.response_ids) for output in outputs)
    n = len(outputs)
    tensors = {
        name: torch.zeros(n, width, dtype=torch.int64)
        for name in ("responses", "response_mask", "attention_mask")
    }
    rewards = torch.zeros(n, width)
    for row, output in enumerate(outputs):
        length = len(output.response_ids)
        tensors["responses"][row, :length] = torch.tensor(output.response_ids)
        tensors["response_mask"][row, :length] = torch.tensor(output.response_mask)
        tensors["attention_mask"][row, :length] = 1
        rewards[row, length - 1] = output.reward_score
    extra = np.array([output.extra_fields for output in outputs], dtype=object)
    return DataProto.from_dict(
        tensors={**tensors, "rm_scores": rewards},
        non_tensors={"uid": np.array(["room"] * n, dtype=object), "extra_fields": extra},
    )
