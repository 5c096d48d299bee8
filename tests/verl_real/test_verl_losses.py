"""guerdon's policy losses through verl's registry, against verl's own and against guerdon's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("verl", reason="verl is not installed; `make verl` tests in an environment that has it")

import torch
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.workers.config import FSDPActorConfig
from verl.workers.config.actor import PolicyLossConfig

from guerdon.learn import objective as objectives
from guerdon.learn.policy_loss import Counts, TokenBatch, policy_loss


def actor(**changes: Any) -> FSDPActorConfig:
    return FSDPActorConfig(
        strategy="fsdp", rollout_n=4, ppo_micro_batch_size_per_gpu=1, use_dynamic_bsz=False, **changes
    )


def arguments(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    n, width = 6, 9
    old = -torch.rand(n, width, dtype=torch.float64)
    lengths = torch.tensor([9, 4, 1, 7, 2, 5])
    mask = torch.arange(width)[None, :] < lengths[:, None]
    mask[0, 3:5] = False
    return {
        "old_log_prob": old,
        "log_prob": (old + 0.6 * torch.randn_like(old)).requires_grad_(),
        "advantages": torch.randn_like(old),
        "response_mask": mask,
    }


def value_and_gradient(name: str, given: dict[str, Any], **more: Any) -> tuple[torch.Tensor, torch.Tensor]:
    log_prob = given["log_prob"].detach().clone().requires_grad_()
    loss, _ = get_policy_loss_fn(name)(**{**given, "log_prob": log_prob}, **more)
    loss.backward()
    return loss.detach(), log_prob.grad


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"])
@pytest.mark.parametrize(("ours", "theirs"), [("ppo", "vanilla"), ("gspo", "gspo"), ("cispo", "cispo")])
@pytest.mark.parametrize("weighted", [False, True])
def test_agree_with_verls(ours: str, theirs: str, mode: str, weighted: bool) -> None:
    given = arguments()
    config = actor(clip_ratio_low=0.15, clip_ratio_high=0.3, loss_agg_mode=mode)
    if weighted:
        given["rollout_is_weights"] = torch.rand_like(given["old_log_prob"]) + 0.5
    own = value_and_gradient(f"guerdon_{ours}", given, config=config, loss_agg_mode=mode)
    other = value_and_gradient(theirs, given, config=config, loss_agg_mode=mode)
    torch.testing.assert_close(own[0], other[0])
    torch.testing.assert_close(own[1], other[1])


@pytest.mark.parametrize("name", ["reinforce", "ppo", "gspo", "cispo", "minirl"])
def test_agree_with_guerdons_own(name: str) -> None:
    given = arguments(1)
    config = actor(clip_ratio_low=0.2, clip_ratio_high=0.25)
    objective = getattr(objectives, name)(aggregate="token_mean")
    if name != "reinforce":
        objective = replace(objective, low=0.2, high=0.25)
    if name == "ppo":
        objective = replace(objective, dual=3.0)
    mask = given["response_mask"].double()
    log_prob = given["log_prob"].detach().clone().requires_grad_()
    batch = TokenBatch(
        old=given["old_log_prob"].reshape(-1),
        advantage=given["advantages"].reshape(-1),
        mask=mask.reshape(-1),
        row=torch.arange(6).repeat_interleave(9),
        lengths=mask.sum(1),
    )
    counts = Counts(tokens=int(mask.sum()), rollouts=6)
    loss, metrics = policy_loss(log_prob.reshape(-1), None, batch, objective, counts)
    loss.backward()
    own = value_and_gradient(f"guerdon_{name}", given, config=config)
    torch.testing.assert_close(own[0], loss.detach())
    torch.testing.assert_close(own[1], log_prob.grad)
    _, logged = get_policy_loss_fn(f"guerdon_{name}")(**given, config=config)
    assert logged["actor/pg_clipfrac"] == pytest.approx(float(metrics["policy/clip_fraction"]))
    assert logged["actor/ppo_kl"] == pytest.approx(float(metrics["policy/old_kl"]))


def test_minirl_reads_the_sampling_policy_from_verls_weights() -> None:
    """w = min(pi/mu, C), with pi_old/mu given by verl."""
    old = torch.tensor([[-1.0, -1.0, -1.0]], dtype=torch.float64)
    new = torch.tensor([[-0.9, -1.0, -1.0]], dtype=torch.float64)
    given = {
        "old_log_prob": old,
        "log_prob": new,
        "advantages": torch.ones_like(old),
        "response_mask": torch.ones_like(old),
        "rollout_is_weights": torch.tensor([[0.5, 2.0, 8.0]], dtype=torch.float64),
    }
    loss, _ = get_policy_loss_fn("guerdon_minirl")(**given, config=actor(), loss_agg_mode="token-mean")
    weights = torch.tensor([0.5 * torch.tensor(0.1, dtype=torch.float64).exp(), 2.0, 5.0])
    torch.testing.assert_close(loss, -(weights * new[0]).mean())


def test_micro_batches_add_up() -> None:
    given = arguments(2)
    whole = actor()
    tokens = int(given["response_mask"].sum())
    loss, _ = get_policy_loss_fn("guerdon_ppo")(**given, config=whole, loss_agg_mode="token-mean")
    parts = actor()
    parts.global_batch_info.update(dp_size=1, batch_num_tokens=tokens, global_batch_size=6)
    halves = [{name: value[rows] for name, value in given.items()} for rows in (slice(0, 2), slice(2, 6))]
    total = sum(get_policy_loss_fn("guerdon_ppo")(**half, config=parts)[0] for half in halves)
    torch.testing.assert_close(loss, total)


@pytest.mark.parametrize(("ours", "theirs"), [("guerdon_ppo", "vanilla"), ("guerdon_cispo", "cispo")])
def test_inside_verls_actor_loss(ours: str, theirs: str) -> None:
    """`ppo_loss` is what verl's workers call: nested tensors in, entropy and KL terms added, metrics out."""
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu
    from verl.workers.utils.losses import ppo_loss

    def nested(rows: list[torch.Tensor]) -> torch.Tensor:
        return torch.nested.as_nested_tensor(rows, layout=torch.jagged)

    torch.manual_seed(3)
    prompts, responses = [2, 3, 2, 4], [5, 1, 7, 3]
    old = [-torch.rand(n) for n in responses]
    batch = {
        "prompts": nested([torch.ones(n, dtype=torch.int64) for n in prompts]),
        "responses": nested([torch.ones(n, dtype=torch.int64) for n in responses]),
        "response_mask": nested([torch.ones(n, dtype=torch.int64) for n in responses]),
        "old_log_probs": nested(old),
        "ref_log_prob": nested([-torch.rand(n) for n in responses]),
        "advantages": nested([torch.randn(n) for n in responses]),
    }
    logits = -torch.rand(sum(prompts) + sum(responses))
    entropy = torch.rand_like(logits)
    found = []
    for mode in (ours, theirs):
        data = TensorDict(dict(batch), batch_size=4)
        tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=sum(responses), global_batch_size=4)
        log_probs = logits.clone().requires_grad_()
        config = actor(use_kl_loss=True, entropy_coeff=0.01, policy_loss=PolicyLossConfig(loss_mode=mode))
        loss, metrics = ppo_loss(config, {"log_probs": log_probs, "entropy": entropy}, data)
        loss.backward()
        assert {"actor/pg_loss", "actor/pg_clipfrac", "kl_loss"} <= set(metrics)
        found.append((loss.detach(), log_probs.grad))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])
    assert found[0][1].abs().sum() > 0
