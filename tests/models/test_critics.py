"""Critics: what they are regressed on, that they learn it, and target networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import hf, lab, lab_as_hf, planted

from guerdon import credit, models
from guerdon.context import Context
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.errors import DataError, RecipeError
from guerdon.models.rewards import token_reward

ENGINES = {"lab": lab, "hf": hf}


def tools() -> Rollouts:
    """Two turns with a tool's text between them, an empty rollout and one of one token."""
    return Rollouts(
        prompt=["1+1=", "2+2=", "3+3="],
        tokens=Ragged.from_lists([[50, 51, 52, 53, 54], [], [55]], dtype=np.int32),
        acted=Ragged.from_lists([[1, 1, 0, 1, 1], [], [1]], dtype=bool),
        partitions={"turn": Ragged.from_lists([[3, 5], [], [1]], dtype=np.int64)},
        signals={"outcome": Signal([1.0, 0.5, np.nan], "rollout", "outcome")},
    )


def test_a_reward_is_paid_on_the_last_chosen_token_of_its_span():
    assert token_reward(tools(), "outcome").signals["reward"].values[:5].tolist() == [0, 0, 0, 0, 1]
    assert np.isnan(token_reward(tools(), "outcome").signals["reward"].values[5])
    turn = tools().with_signal(Signal([2.0, 3.0, 4.0], "turn", "env"))
    assert token_reward(turn, "env").signals["reward"].values.tolist() == [0, 2, 0, 0, 3, 4]
    own = tools().with_signal(Signal(np.arange(6), "token", "reward"))
    assert token_reward(own, "outcome").signals["reward"].values.tolist() == list(range(6))
    with pytest.raises(DataError, match=r"'score'.*outcome"):
        token_reward(tools(), "score")


@pytest.mark.parametrize("name", ENGINES)
def test_values_stand_before_their_tokens(name):
    engine = ENGINES[name]()
    critic = models.TokenCritic(engine, zero=False)
    rollouts = tools()
    values = critic(rollouts).values
    prefix = critic.outputs(rollouts)[:, 0]
    np.testing.assert_allclose(values, prefix[[0, 1, 2, 3, 4, 7]])  # of 0..5, 6, 7..8
    attached = critic.attach(rollouts)
    np.testing.assert_allclose(attached.values.values, values, atol=1e-6)


def test_returns_are_discounted_rewards_where_lam_is_one():
    critic = models.TokenCritic(lab(), gamma=0.5, zero=False)
    returns = critic.returns(critic.attach(tools())).values
    # the tool's token is passed over: it neither discounts nor has a return
    np.testing.assert_allclose(returns[[0, 1, 3, 4]], [0.125, 0.25, 0.5, 1.0], atol=1e-6)
    assert np.isnan(returns[[2, 5]]).all()  # and a missing reward gives no return


def test_returns_at_lam_zero_are_one_step_targets():
    critic = models.TokenCritic(lab(), gamma=0.5, lam=0.0, zero=False)
    rollouts = critic.attach(tools())
    v = rollouts.values.values
    np.testing.assert_allclose(
        critic.returns(rollouts).values[[0, 1, 3, 4]], [v[1] / 2, v[3] / 2, v[4] / 2, 1]
    )


@pytest.mark.parametrize("name", ENGINES)
def test_a_critic_learns_returns_and_gae_reads_it(name):
    engine = ENGINES[name]()
    rollouts = planted(engine, 16, seed=8)
    critic = models.TokenCritic(engine, lr=1e-3, head_lr=1e-2, clip=None)
    assert not critic(rollouts).values.any()
    untaught = critic.observe(critic.attach(rollouts))
    for _ in range(40):
        taught = critic.observe(critic.attach(rollouts))
    assert taught["loss"] < 0.5 * untaught["loss"] and taught["explained"] > 0.4
    attached = critic.attach(rollouts)
    advantage = credit.gae(whiten=False)(attached, attached.signals).values
    outcome = attached.spread(attached.signals["outcome"], "token").values
    np.testing.assert_allclose(advantage, outcome - attached.values.values, atol=1e-5)


def test_a_value_beyond_the_clip_is_not_pushed_further():
    rollouts = planted(lab(), 8, wrong=0.0)
    norms = []
    for clip in (1e-4, None):
        critic = models.TokenCritic(lab(), head_lr=1e-3, trunk=False, clip=clip)
        attached = critic.attach(rollouts)
        returns = critic.returns(attached)
        norms.append([critic.train_batch(attached, returns)["grad_norm"] for _ in range(2)])
    assert norms[0][0] == norms[1][0] > 0
    assert norms[0][1] < 0.6 * norms[1][1]  # those that moved the wrong way are still pulled back


def test_nothing_paid_nothing_learnt():
    critic = models.TokenCritic(lab())
    unpaid = critic.attach(tools().select([2]))
    assert critic.observe(unpaid) == {"skipped": 1.0}
    with pytest.raises(DataError, match="attach first"):
        critic.returns(tools())


# -- utterances ------------------------------------------------------------------------------------


def policy_context(engine) -> Context:
    return Context(engines={"policy": engine})


@pytest.mark.parametrize("name", ENGINES)
def test_utterances_are_read_before_and_after(name):
    engine = ENGINES[name]()
    critic = models.UtteranceCritic(engine, inner=(8,))
    found = critic.values(tools())
    assert {s.level for s in found.values()} == {"turn"} and len(found["q1"]) == 3
    states = torch.from_numpy(engine.prefix_states(tools()))
    with torch.no_grad():
        wanted = critic.head(states[[0, 3, 7]], states[[2, 5, 8]]).numpy()
    np.testing.assert_allclose(
        np.stack([found[n].values for n in ("q1", "q2", "v1", "v2")], 1), wanted, atol=1e-5
    )
    advantage = np.minimum(wanted[:, 0], wanted[:, 1]) - np.minimum(wanted[:, 2], wanted[:, 3])
    np.testing.assert_allclose(critic(tools()).values, advantage, atol=1e-5)
    attached = critic.attach(tools())
    np.testing.assert_array_equal(attached.signals["reward"].values, [0, 1, np.nan])


@pytest.mark.parametrize("name", ENGINES)
def test_targets_resample_every_utterance_and_learning_lowers_the_loss(name):
    engine = ENGINES[name]()
    critic = models.UtteranceCritic(engine, inner=(8,), max_new_tokens=4, lr=1e-3, epochs=2)
    targets = critic.targets(tools(), engine, seed=3)
    again = critic.targets(tools(), engine, seed=3)
    for signal in targets.values():
        assert np.isfinite(signal.values).all()
        np.testing.assert_array_equal(signal.values, again[signal.name].values)
    first = critic.observe(tools(), policy_context(engine))
    for _ in range(15):
        last = critic.observe(tools(), policy_context(engine))
    assert last["loss"] < first["loss"]


def test_the_regression_is_the_sum_of_four_squares():
    critic = models.UtteranceCritic(lab(), inner=(8,), gamma=0.5, trunk=False, head_lr=1e-9)
    rollouts = tools().select([0])
    targets = {f"target_{n}": Signal([1.0, 2.0], "turn", f"target_{n}") for n in ("v1", "v2", "q1", "q2")}
    reward = critic.rewards(rollouts)
    found = np.stack([s.values for s in critic.values(rollouts).values()], 1)
    wanted = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0]])  # 0 + .5 * 2; done: the reward alone
    loss = critic.train_batch(rollouts.replace(signals=targets), reward)["loss"]
    assert loss == pytest.approx(((found - wanted) ** 2).sum() / 2, rel=1e-5)


def test_the_target_follows_slowly():
    critic = models.UtteranceCritic(lab(), inner=(8,), tau=0.1)
    with torch.no_grad():
        for online, target in ((critic.head, critic.target_head),):
            for p, q in zip(online.parameters(), target.parameters(), strict=True):
                p.fill_(1.0), q.fill_(0.0)
        engine, slow = critic.engine.parameters(), critic.target_engine.parameters()
        for name in engine:
            engine[name].fill_(1.0), slow[name].fill_(0.0)
    for expected in (0.1, 0.19, 0.271):
        critic.follow()
        for p in (*critic.target_head.parameters(), *critic.target_engine.parameters().values()):
            assert torch.allclose(p, torch.full_like(p, expected), atol=1e-6)


def test_utterances_without_reward_or_rollouts_learn_nothing():
    critic = models.UtteranceCritic(lab(), inner=(8,), max_new_tokens=2)
    unpaid = (
        tools().replace(signals={"outcome": Signal(np.full(3, np.nan), "rollout", "outcome")}).select([1])
    )
    assert critic.observe(unpaid, policy_context(critic.engine)) == {"skipped": 1.0}
    with pytest.raises(RecipeError, match="tau"):
        models.UtteranceCritic(lab(), tau=0.0)


@pytest.mark.parametrize("name", ENGINES)
def test_it_comes_back_from_disk_with_its_targets(tmp_path, name):
    engine = ENGINES[name]()
    critic = models.UtteranceCritic(engine, inner=(8,), max_new_tokens=3, lr=1e-2, tau=0.5)
    critic.observe(tools(), policy_context(engine))
    back = models.load(critic.save(tmp_path / "critic"), device="cpu")
    np.testing.assert_array_equal(back(tools()).values, critic(tools()).values)
    mine, theirs = (m.targets(tools(), critic.engine, 1) for m in (critic, back))
    for signal in mine:
        np.testing.assert_array_equal(mine[signal].values, theirs[signal].values)


def test_lab_and_hf_agree_on_the_same_weights(tmp_path):
    engine = lab()
    ours = models.UtteranceCritic(engine, inner=(8,), max_new_tokens=3, lr=1e-3)
    theirs = models.UtteranceCritic(lab_as_hf(engine, tmp_path / "m"), inner=(8,), max_new_tokens=3, lr=1e-3)
    theirs.head.load_state_dict(ours.head.state_dict())
    theirs.target_head.load_state_dict(ours.target_head.state_dict())
    np.testing.assert_allclose(theirs(tools()).values, ours(tools()).values, atol=1e-4)
    a, b = (critic.observe(tools(), policy_context(engine)) for critic in (ours, theirs))
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


def test_utterance_batches_and_order_change_nothing():
    rollouts = Rollouts.concat([tools(), tools().select([2, 0])])
    losses = []
    for micro, order in ((1 << 12, np.arange(5)), (8, np.arange(5)), (1 << 12, np.array([4, 2, 0, 3, 1]))):
        critic = models.UtteranceCritic(lab(micro_tokens=micro), inner=(8,), max_new_tokens=2, lr=1e-3)
        part = rollouts.select(order)
        targets = critic.targets(part, critic.engine.clone())
        fixed = {n: Signal(np.linspace(0, 1, 6)[rank(part)], "turn", n) for n in targets}
        losses.append(critic.train_batch(part.replace(signals=fixed), critic.rewards(part))["loss"])
    np.testing.assert_allclose(losses[1:], losses[0], rtol=1e-4)


def rank(rollouts: Rollouts) -> np.ndarray:
    """A number for every turn that depends on what was written, not on where it stands."""
    return np.concatenate(
        [
            np.full(len(ends), len(row))
            for ends, row in zip(
                rollouts.partitions["turn"].to_lists(), rollouts.tokens.to_lists(), strict=True
            )
        ]
    ).astype(int)
