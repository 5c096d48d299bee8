"""Episodes sampled in turns: what is recorded, what ends them, and that batches do not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds_for_tests import CORRIDOR, MAZE, WORLD, Script, letters_engine

from guerdon import credit
from guerdon.data import Signal
from guerdon.engines.protocol import Sampling
from guerdon.engines.tokenizer import ByteTokenizer
from guerdon.errors import EngineError, RecipeError
from guerdon.learn.episodes import from_transcripts
from guerdon.learn.evaluation import evaluate
from guerdon.learn.sampling import sample
from guerdon.learn.turns import play

FOUR = Sampling(max_new_tokens=3, seed=7)


def test_a_worked_episode():
    engine = Script(["r\n", "x\n", "r\n", "r\n"])
    rollouts = play(engine, WORLD, [CORRIDOR], 1, FOUR)
    assert rollouts.completion == ["r\n.@.G\n>x\n.@.G\n>r\n..@G\n>r\n"]
    assert rollouts.partitions["step"].to_lists() == [[8, 16, 24, 26]]
    assert rollouts.partitions["turn"] == rollouts.partitions["step"]
    acted = "110000001100000011000000" + "11"
    assert "".join(map(str, rollouts.acted.values.astype(int))) == acted
    assert rollouts.logprobs.values.tolist() == [-0.5 * int(c) for c in acted]
    assert rollouts.signals["env"].values.tolist() == [0, 0, 0, 1]
    assert rollouts.signals["call_ok"].values.tolist() == [1, -1, 1, 1]
    assert rollouts.signals["grounded"].values.tolist() == [1, 0, 1, 1]
    assert rollouts.signals["outcome"].values.tolist() == [1] and "useful" not in rollouts.signals
    assert rollouts.state[1] == rollouts.state[2] and len(set(rollouts.state.tolist())) == 3
    meta = rollouts.meta[0]
    assert meta["actions"] == ["r", "x", "r", "r"] and meta["success"] is True
    assert meta["final_state"] not in rollouts.state and not rollouts.truncated[0]
    assert engine.calls == [1] * 4


def test_one_call_per_turn_and_rows_leave_when_they_end():
    engine = Script(["r\n"] * 3, ["l\n"] * 6, ["r\n", "l\n", "r\n", "r\n", "r\n"])
    rollouts = play(engine, WORLD, [CORRIDOR], 3, FOUR)
    assert engine.calls == [3, 3, 3, 2, 2, 1]
    assert rollouts.truncated.tolist() == [False, True, False]
    assert rollouts.signals["outcome"].values.tolist() == [1, 0, 1]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_limit_of_turns_truncates(turns):
    rollouts = play(Script(["r\n"] * 6), WORLD, [CORRIDOR], 1, FOUR, turns=turns)
    assert np.diff(rollouts.offsets("turn")).tolist() == [turns]
    assert rollouts.truncated.tolist() == [turns < 3]
    assert WORLD.check(rollouts.completion[0], None, rollouts.meta[0]) == float(turns == 3)


def test_a_full_context_truncates():
    engine = Script(["l\n"] * 6, context=6 + 1 + 20)
    rollouts = play(engine, WORLD, [CORRIDOR], 1, FOUR)
    assert rollouts.truncated[0] and rollouts.lengths[0] == 18  # a third reply would leave no room
    assert 7 + rollouts.lengths[0] <= engine.context


def test_turns_without_a_line_break_or_without_text():
    rollouts = play(Script(["\0", "up", "r\0", "r\nr", "r", "\0"]), WORLD, [CORRIDOR], 1, FOUR)
    assert rollouts.meta[0]["actions"] == ["", "u", "r", "r", "r"]
    assert rollouts.signals["call_ok"].values.tolist() == [-1, 1, 1, 1, 1]
    assert rollouts.completion == ["\n@..G\n>up\n@..G\n>r\n.@.G\n>r\n..@G\n>r"]
    assert np.diff(rollouts.partitions["step"].values).min() > 0
    assert WORLD.outcome(rollouts).values.tolist() == [1]
    ended_by_silence = play(Script(["r\n", "\0"]), WORLD, [CORRIDOR], 1, FOUR, turns=2)
    assert WORLD.steps(ended_by_silence).values.tolist() == [1, 0]
    assert WORLD.rewards(ended_by_silence).missing == 0


def test_prompts_that_do_not_fit_are_named():
    with pytest.raises(EngineError, match="prompt 0"):
        play(letters_engine(context=8), WORLD, [MAZE], 2, FOUR)
    with pytest.raises(RecipeError, match="turns"):
        play(Script(["r\n"]), WORLD, [CORRIDOR], 1, FOUR, turns=0)


@pytest.fixture(scope="module")
def batch():
    engine = letters_engine()
    problems = WORLD.problems("train", 3)
    return engine, problems, sample(engine, WORLD, problems, 5, FOUR)


def test_what_is_recorded_is_what_the_world_does(batch):
    engine, _, rollouts = batch
    assert {0.0, 1.0} == set(rollouts.signals["grounded"].values)
    decoded = [engine.tokenizer.decode(row) for row in rollouts.tokens.to_lists()]
    assert decoded == rollouts.completion
    replayed = WORLD.outcome(rollouts)
    assert replayed.missing == 0 and replayed.values.tolist() == rollouts.signals["outcome"].values.tolist()
    assert WORLD.rewards(rollouts).values.tolist() == rollouts.signals["env"].values.tolist()
    assert WORLD.steps(rollouts).values.tolist() == rollouts.signals["grounded"].values.tolist()
    assert rollouts.acted.values[rollouts.tokens.offsets[:-1]].all()
    assert (rollouts.logprobs.values[~rollouts.acted.values] == 0).all()
    again = engine.logprobs(rollouts).values[rollouts.acted.values]
    np.testing.assert_allclose(again, rollouts.logprobs.values[rollouts.acted.values], atol=1e-4)


def test_order_and_size_of_the_batch_do_not_change_a_sample(batch):
    engine, problems, whole = batch
    backwards = sample(engine, WORLD, problems[::-1], 3, FOUR)
    rows = [10, 11, 12, 5, 6, 7, 0, 1, 2]
    assert backwards.tokens == whole.tokens.select(rows)
    assert backwards.state.tolist() == whole.select(rows).state.tolist()
    assert sample(engine, WORLD, problems, 5, FOUR) == whole
    other = sample(engine, WORLD, problems, 5, Sampling(max_new_tokens=3, seed=8))
    assert other.tokens != whole.tokens


def test_draws_of_one_problem_differ(batch):
    assert len({tuple(row) for row in batch[2].tokens.to_lists()}) == len(batch[2])


def with_longer_replies(rollouts, extra, rng):
    """The same episodes where every reply has up to `extra` more tokens; what the policy did is untouched."""
    ids = rollouts.tokens.row_ids()
    last = np.append(rollouts.acted.values[1:] | (ids[1:] != ids[:-1]), True)
    reply_ends = ~rollouts.acted.values & last
    copies = np.where(reply_ends, 1 + rng.integers(1, extra + 1, len(ids)), 1)
    grown = np.cumsum(copies)
    start = rollouts.tokens.offsets[:-1]
    before = np.concatenate([[0], grown])[start]
    lengths = np.diff(np.concatenate([before, grown[-1:]]))
    ends = {
        name: part.with_values(
            grown[part.values + np.repeat(start, part.lengths) - 1] - np.repeat(before, part.lengths)
        )
        for name, part in rollouts.partitions.items()
    }
    from guerdon.data import Ragged

    columns = {
        name: Ragged.from_lengths(np.repeat(getattr(rollouts, name).values, copies), lengths)
        for name in ("tokens", "acted", "logprobs")
    }
    return rollouts.replace(**columns, partitions=ends)


def scored(rollouts):
    """Random rewards and values on what the policy did, nonsense on what it did not."""
    rng, acted = np.random.default_rng(1), rollouts.acted.values
    outcome = rng.normal(size=len(rollouts))
    reward, value = np.zeros(len(acted)), np.full(len(acted), 77.0)
    reward[acted], value[acted] = rng.normal(size=(2, acted.sum()))
    return rollouts.replace(
        values=rollouts.tokens.with_values(value),
        signals={
            "outcome": Signal(outcome, "rollout", "outcome"),
            "reward": Signal(reward, "token", "reward"),
        },
    )


METHODS = {
    "grpo": credit.grpo(),
    "grpo by batch": credit.grpo(scale="batch"),
    "dr_grpo": credit.dr_grpo(),
    "rloo": credit.rloo(),
    "opo": credit.opo(),
    "reinforce_pp": credit.reinforce_pp(gamma=0.9),
    "gae": credit.gae(gamma=0.9, lam=0.8),
    "steps": credit.Credit(
        [
            credit.Level("env", backup=credit.RewardToGo(0.9), group=credit.by("prompt", "state")),
            credit.Level("grounded", group=credit.by("prompt"), baseline=credit.MeanStd()),
        ],
        whiten=credit.Whiten(),
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_tokens_of_the_environment_enter_no_statistic(batch, name):
    rollouts = batch[2]
    longer = scored(with_longer_replies(rollouts, 5, np.random.default_rng(0)))
    rollouts = scored(rollouts)
    assert longer.tokens.total > rollouts.tokens.total + 40
    a, b = METHODS[name](rollouts).values, METHODS[name](longer).values
    assert np.abs(a[rollouts.acted.values]).max() > 0 and (a[~rollouts.acted.values] == 0).all()
    np.testing.assert_allclose(b[longer.acted.values], a[rollouts.acted.values], rtol=1e-9)
    assert (b[~longer.acted.values] == 0).all()


OBJECTIVES = [
    {"use": use, **rest}
    for use in ("reinforce", "ppo", "gspo", "cispo", "minirl")
    for rest in ({"aggregate": "token_mean"}, {"aggregate": "seq_mean_token_mean"}, {"aggregate": "constant"})
]


def step_of(rollouts, spec):
    import torch

    from guerdon.data import Ragged
    from guerdon.learn.update import _Step
    from guerdon.registry import build

    advantage = np.zeros(rollouts.tokens.total)
    advantage[rollouts.acted.values] = np.linspace(-1, 1, int(rollouts.acted.values.sum()))
    batch = rollouts.replace(
        advantages=Ragged(advantage, rollouts.tokens.offsets), ref_logprobs=rollouts.logprobs
    )
    return _Step(batch, build("objective", spec, "objective"), 12, None, torch.device("cpu"))


@pytest.mark.parametrize("spec", OBJECTIVES, ids=lambda s: f"{s['use']}-{s['aggregate']}")
def test_tokens_of_the_environment_get_no_gradient_and_do_not_change_the_loss(batch, spec):
    import torch

    from guerdon.engines.protocol import TokenStats

    rng = np.random.default_rng(2)
    spec = {**spec, "kl": {"coef": 0.1, "estimator": "k3"}, "entropy": 0.01}
    drift = rng.normal(size=int(batch[2].acted.values.sum())) * 0.3
    found = []
    for rollouts in (batch[2], with_longer_replies(batch[2], 4, rng)):
        acted = rollouts.acted.values
        now = rng.normal(size=len(acted)) - 5.0  # whatever the policy thinks of the replies
        now[acted] = rollouts.logprobs.values[acted] + drift
        logp = torch.tensor(now, dtype=torch.float32, requires_grad=True)
        entropy = torch.tensor(np.where(acted, 0.7, 9.0), dtype=torch.float32, requires_grad=True)
        loss, _ = step_of(rollouts, spec)(TokenStats(logp, entropy), np.arange(len(rollouts)))
        loss.backward()
        for gradient in (logp.grad, entropy.grad):
            assert gradient[torch.tensor(~acted)].abs().max() == 0
        assert logp.grad[torch.tensor(acted)].abs().max() > 0
        found.append((float(loss.detach()), logp.grad[torch.tensor(acted)].numpy()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["u\n", "r\n", "d", "xx\n", "\0", "l\n"]), min_size=6, max_size=6),
        min_size=1,
        max_size=3,
    )
)
def test_any_script_gives_valid_rollouts_that_replay(scripts):
    rollouts = play(Script(*scripts), WORLD, [MAZE, CORRIDOR], len(scripts), FOUR)
    assert rollouts.validate() and (np.diff(rollouts.offsets("step")) >= 1).all()
    assert WORLD.outcome(rollouts).values.tolist() == rollouts.signals["outcome"].values.tolist()
    assert WORLD.steps(rollouts).values.tolist() == rollouts.signals["grounded"].values.tolist()
    seen = {}
    offsets = rollouts.offsets("step")
    for row in range(len(rollouts)):
        state = WORLD.start(rollouts.meta[row])
        for at, action in enumerate(rollouts.meta[row]["actions"]):
            key, text = rollouts.state[offsets[row] + at], WORLD.observe(state)
            assert seen.setdefault(key, text) == text
            state = WORLD.act(state, action).state
    assert len(seen) == len(set(seen.values()))


def test_worked_solutions_become_rollouts_whose_replies_are_not_learnt():
    problems = WORLD.problems("train", 5)
    given = from_transcripts(WORLD, problems, [p.solution for p in problems], ByteTokenizer())
    assert given.completion == [p.solution for p in problems]
    assert [ByteTokenizer().decode(row) for row in given.tokens.to_lists()] == given.completion
    assert given.signals["outcome"].values.tolist() == [1.0] * 5 and not given.truncated.any()
    assert given.acted.values.sum() == 2 * sum(p.reference["moves"] for p in problems)
    assert given.count("step") == sum(p.reference["moves"] for p in problems)


def test_success_is_evaluated():
    script = Script(["r\n"] * 6, ["l\n"] * 6)

    class Corridors(type(WORLD)):
        def problems(self, split, n, seed=0, start=0):
            return [CORRIDOR] * n

    found = evaluate(script, Corridors(max_turns=6), problems=3, k=2, max_new_tokens=3)
    assert found.pass_1.mean == 0.5 and found.pass_k.mean == 1.0
    assert found.steps.mean == 0.5 and found.truncated == 0.5
