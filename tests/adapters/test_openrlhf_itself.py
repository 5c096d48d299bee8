"""OpenRLHF's own executor with a reward file; `make openrlhf` gets the package, without its GPU parts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("openrlhf.utils.agent", reason="OpenRLHF is not installed (make openrlhf)")

import torch
from openrlhf.utils.agent import SingleTurnAgentExecutor

import guerdon as gd


class Tokenizer:
    """A character a token; 1 begins a text, as many tokenizers put it there."""

    def __call__(self, text: str, add_special_tokens: bool, return_tensors: str) -> Any:
        return {"input_ids": torch.tensor([[1, *(ord(c) for c in text)]])}

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join("<s>" if i == 1 else chr(i) for i in ids)


class Engine:
    """Answers what it is told to."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    async def generate(self, ids: list[int], params: Any, multi_modal_data: Any = None) -> Any:
        tokens = [ord(c) for c in self.answer]
        output = SimpleNamespace(token_ids=tokens, text=self.answer, finish_reason="stop", logprobs=None)
        return SimpleNamespace(outputs=[output])


def executed(path: Path, answer: str, label: Any) -> dict[str, Any]:
    executor = SingleTurnAgentExecutor(str(path))
    params = SimpleNamespace(max_tokens=16, logprobs=None)
    return asyncio.run(executor.execute("2 + 2 = ", label, params, 64, Tokenizer(), Engine(answer)))


def reward_file(folder: Path, arguments: str) -> Path:
    path = folder / "reward.py"
    path.write_text(
        "from guerdon.adapters.openrlhf import make_reward_func\n"
        f"reward_func = make_reward_func({arguments})\n"
    )
    return path


def test_rewards_are_those_of_the_native_call(tmp_path: Path) -> None:
    path = reward_file(tmp_path, "'verify.match', {'length': {'use': 'verify.length'}}")
    for answer in ("4", "5"):
        out = executed(path, answer, "4")
        native = gd.verify.match()(gd.Rollouts(completion=[answer], reference=["4"]))
        # what its sample generator makes of them
        assert torch.tensor([out["reward"]]).tolist() == native.values.tolist()
        assert torch.tensor([out["scores"]]).shape == (1,)
        logged = {name: value.flatten()[0].item() for name, value in out["extra_logs"].items()}
        assert logged["missing"] == 0.0 and "length" in logged


def test_a_sample_without_a_verdict(tmp_path: Path) -> None:
    assert executed(reward_file(tmp_path, "'verify.match'"), "4", None)["reward"] is None
    out = executed(reward_file(tmp_path, "'verify.match', on_missing=-1.0"), "4", None)
    assert out["reward"].tolist() == [-1.0] and out["extra_logs"]["missing"].tolist() == [1.0]
