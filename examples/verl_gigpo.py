"""GiGPO in verl: an agent that walks through rooms of text, compared step by step with its siblings.

    pip install 'guerdon[verl]' 'verl[vllm]'
    python examples/verl_gigpo.py MODEL OUT_FOLDER          # writes data, prints the command that trains
    $(python examples/verl_gigpo.py MODEL OUT_FOLDER)       # trains, on a machine with a GPU

`WorldLoop` is the agent loop: verl asks it to play one episode. What the agent saw before each turn goes
into `extra_fields["guerdon"]`; guerdon's trainer hands it to the estimator, where GiGPO compares the steps
that the samples of a prompt took from the same room. An agent loop that says nothing works too: then the
tokens that the environment wrote are the state.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

from guerdon.tasks.grid_world import GridWorld

WORLD = GridWorld(mode="key", size=5, moves=(3, 10), max_turns=16, cost=0.01, invalid=0.05)
RULES = (
    "You are @ in a room: # is a wall, k a key, C a chest. Fetch the key, then go to the chest. "
    "Answer each map with one move and nothing else: u, d, l or r.\n"
)

try:
    from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput
except ImportError:  # to write the data, verl is not needed
    AgentLoopBase = object


class WorldLoop(AgentLoopBase):
    """One episode: the policy moves, the world answers, until the chest is reached or the room is left."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> Any:
        """Tokens, mask and reward of an episode, with states and step rewards in `extra_fields`."""
        limit = self.rollout_config.response_length
        messages = [dict(message) for message in kwargs["raw_prompt"]]
        place = WORLD.start(json.loads(kwargs["extra_info"]["meta"]))
        ids = await self.ct_build_initial_tokens(messages)
        prompt, mask, logprobs = list(ids), [], []
        states, rewards = [], []
        for turn in range(WORLD.max_turns):
            output = await self.server_manager.generate(
                request_id=uuid4().hex, prompt_ids=ids, sampling_params=sampling_params
            )
            merged, mask, logprobs = await self.ct_merge_assistant_token(
                ids, output.token_ids, mask, logprobs, assistant_logprobs=output.log_probs or None
            )
            ids = merged.token_ids
            answer = self.tokenizer.decode(output.token_ids, skip_special_tokens=True).strip()
            states.append(WORLD.observe(place))
            reply = WORLD.act(place, answer)
            place = reply.state
            rewards.append(reply.reward)
            if reply.done or len(mask) >= limit or turn + 1 == WORLD.max_turns:
                break
            messages.append({"role": "assistant", "content": answer})
            seen = [*messages, {"role": "user", "content": reply.text}]
            merged, longer, more = await self.ct_merge_context_msg(messages, seen, ids, mask, logprobs)
            if len(longer) >= limit:
                break
            ids, mask, logprobs, messages = merged.token_ids, longer, more or [], seen
        record = {"state": states, "signals": {"env": {"level": "step", "values": rewards}}}
        return AgentLoopOutput(
            prompt_ids=prompt,
            response_ids=ids[len(prompt) :][:limit],
            response_mask=mask[:limit],
            response_logprobs=logprobs[:limit] or None,
            reward_score=sum(rewards),
            num_turns=2 * len(states),
            metrics={},
            extra_fields={"guerdon": record, "turn_scores": rewards, "tool_rewards": []},
        )


def rows(split: str, count: int) -> list[dict[str, Any]]:
    """Rooms as verl's data sets want them."""
    return [
        {
            "prompt": [{"role": "user", "content": RULES + problem.prompt}],
            "data_source": "grid_world",
            "reward_model": {"style": "rule", "ground_truth": ""},
            "extra_info": {"index": i, "split": split, "meta": json.dumps(problem.meta)},
        }
        for i, problem in enumerate(WORLD.problems(split, count))
    ]


def write(folder: Path) -> None:
    """Data and the entry that tells verl where `WorldLoop` is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows("train", 512)), folder / "train.parquet")
    pq.write_table(pa.Table.from_pylist(rows("test", 64)), folder / "test.parquet")
    entry = "- name: guerdon_world\n  _target_: verl_gigpo.WorldLoop\n"
    (folder / "agent.yaml").write_text(entry, encoding="utf-8")


def overrides(model: str, folder: Path) -> list[str]:
    """What is different from verl's defaults."""
    rollout = "actor_rollout_ref.rollout"
    return [
        "algorithm.adv_estimator=guerdon_gigpo",
        "trainer.v1.trainer_mode=guerdon_sync",
        "+algorithm.guerdon.credit.gamma=0.95",
        "+algorithm.guerdon.credit.weight=1.0",
        f"data.train_files={folder / 'train.parquet'}",
        f"data.val_files={folder / 'test.parquet'}",
        "data.train_batch_size=16",
        "data.max_prompt_length=512",
        "data.max_response_length=1024",
        f"actor_rollout_ref.model.path={model}",
        f"{rollout}.name=vllm",
        f"{rollout}.n=8",
        f"{rollout}.gpu_memory_utilization=0.5",
        f"{rollout}.calculate_log_probs=True",
        f"{rollout}.log_prob_micro_batch_size_per_gpu=8",
        f"{rollout}.agent.default_agent_loop=guerdon_world",
        f"{rollout}.agent.agent_loop_config_path={folder / 'agent.yaml'}",
        "actor_rollout_ref.actor.ppo_mini_batch_size=16",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8",
        "actor_rollout_ref.actor.optim.lr=1e-6",
        "actor_rollout_ref.actor.policy_loss.loss_mode=guerdon_ppo",
        "trainer.n_gpus_per_node=1",
        "trainer.logger=console",
        "trainer.total_epochs=4",
    ]


def main(model: str, folder: Path) -> None:
    write(folder)
    path = f"PYTHONPATH={Path(__file__).resolve().parent}"
    print(shlex.join(["env", path, "python", "-m", "verl.trainer.main_ppo", *overrides(model, folder)]))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]).resolve())
