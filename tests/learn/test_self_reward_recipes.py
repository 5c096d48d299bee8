"""What self-rewards train with beyond the reward: each a recipe, and the same run after a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import small_recipe

from guerdon import registry
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.engines.lab import LabEngine
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.tails import with_tails
from guerdon.learn.evaluation import vote_outcomes
from guerdon.learn.loop import Training, train
from guerdon.learn.objective import Objective
from guerdon.learn.preferences import Preferences, dpo
from guerdon.learn.recipe import Recipe
from guerdon.learn.self_knowledge import SelfKnowledge
from guerdon.learn.update import update
from guerdon.registry import build
from guerdon.store import Run
from guerdon.systems.intrinsic import laser
from guerdon.systems.intrinsic.laser import Calibration

EXAMPLES = Path(__file__).parents[2] / "examples" / "self_rewards"
SEEDS = [{"task": "1+1", "label": "feasible"}, {"task": "fly", "label": "infeasible"}]
SELF = {"use": "laser", "token": 259}
CASES: dict[str, dict[str, Any]] = {
    "crew": {
        "rewards": {"outcome": "coin", "confidence": {"use": "coin", "salt": 1}},
        "objective": {"use": "dpo", "pairs": {"use": "confidence", "top_k": 2}},
        "minibatches": 2,
    },
    "flr": {
        "rewards": {"outcome": {"use": "flr", "dimensions": "correctness", "opening": "?"}},
        "objective": {"use": "dpo", "pairs": "best_and_worst", "reference": "batch"},
    },
    "likelihood-rewards": {
        "rewards": {"outcome": {"use": "likelihood-rewards", "opening": "", "reduce": "mean"}},
        "credit": "rloo",
        "losses": [{"use": "likelihood", "opening": "", "reduce": "mean"}, SELF | {"c_ref": -6.0}],
    },
    "laser": {
        "rewards": {"outcome": "coin", "self": SELF},
        "credit": {"use": "laser", "after": 2},
        "losses": [SELF | {"c_ref": -6.0, "alpha": 1.0}],
        "eval": {"every": 2, "problems": 4, "k": 3, "vote": "self"},
    },
    "rlpr": {
        "rewards": {"outcome": {"use": "rlpr", "opening": "", "baseline": ""}},
        "filters": [{"use": "deviation", "warm": 1, "start": 1}],
    },
    "dro-r3": {
        "rewards": {"outcome": {"use": "dro-r3", "opening": "", "masked": None}},
        "filters": [{"use": "reflective", "opening": "", "top_k": 300}],
    },
    "rlfr": {
        "rewards": {
            "outcome": "coin",
            "flow": {"use": "rlfr", "hidden": 8, "blocks": 1, "lr": 1e-2, "warm": 1},
        },
        "credit": {
            "use": "levels",
            "levels": [{"source": "outcome", "span": "rollout", "baseline": "loo"}, {"source": "flow"}],
        },
    },
    "rlp": {
        "task": {
            "use": "plain_text",
            "text": "to be or not to be, that is the question",
            "ahead": 2,
            "window": 9,
        },
        "rewards": {"outcome": {"use": "rlp", "tau": 0.5}},
        "credit": "rloo",
        "objective": {"use": "ppo", "aggregate": "seq_mean_token_mean"},
    },
    "knowrl": {
        "engine": {"use": "lab", "dim": 16, "layers": 1, "heads": 2, "context": 256},
        "task": {"use": "knowrl", "seeds": SEEDS, "max_new_tokens": 4, "threshold": 0.0},
        "rewards": {"outcome": "knowrl"},
        "credit": "reinforce_pp_baseline",
    },
}


def coin(salt: int = 0) -> Any:
    """Half of all texts are right: something to learn for a policy that cannot do the task."""

    def outcome(rollouts: Rollouts, ctx: Any = None) -> Signal:
        texts = [rollouts.text(i) for i in range(len(rollouts))]
        return Signal(
            [float((sum(t.encode()) + salt * len(t)) % 2 == 0) for t in texts], "rollout", "outcome"
        )

    return outcome


@pytest.fixture(autouse=True)
def quick_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(registry._ADDED, "reward", {"coin": coin})
    monkeypatch.setattr(Run, "plot", lambda self: [])
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recipe_of(case: str, **more: Any) -> Recipe:
    return small_recipe(
        **{
            "steps": 4,
            "eval": {"every": 0},
            "save_rollouts_every": 0,
            "credit": "grpo",
            **CASES[case],
            **more,
        }
    ).validate()


def files(run: Run) -> dict[str, bytes]:
    """Everything in the newest checkpoint, by name."""
    _, folder = run.latest_checkpoint()
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_is_the_same_run(case: str, tmp_path: Any):
    recipe = recipe_of(case)
    recipe.to_yaml(tmp_path / "recipe.yaml")
    assert Recipe.from_yaml(tmp_path / "recipe.yaml") == recipe
    with Run.create(tmp_path / "whole", recipe.to_dict()) as whole:
        train(recipe, whole)
    cut = recipe_of(case, steps=2)
    with Run.create(tmp_path / "cut", cut.to_dict()) as run:
        train(cut, run)
    with Run.resume(tmp_path / "cut", recipe.to_dict()) as run:
        train(recipe, run, resume=True)
    metrics = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == metrics
    assert files(run) == files(whole)
    lines = [json.loads(line) for line in metrics.splitlines()]
    assert len(lines) == 5 and lines[-1]["rollout/kept"] <= 1.0


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_run(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(EXAMPLES.parents[1])
    recipe = Recipe.from_yaml(file).validate()
    smaller = ["sampler.prompts=2", "sampler.group=2", "sampler.max_new_tokens=4", "engine.dim=16"]
    training = Training.build(recipe.override([*smaller, "engine.heads=2", "device=cpu"]))
    metrics, _ = training.step(0)
    assert metrics["rollout/tokens"] > 0
    if recipe.eval.every:
        assert training.task.problems(recipe.eval.split, recipe.eval.problems)
    assert len(list(EXAMPLES.glob("*.yaml"))) == len(CASES)


def test_what_each_recipe_leaves_in_its_log(tmp_path: Any):
    seen = {}
    for case in ("crew", "laser", "rlfr", "knowrl"):
        training = Training.build(recipe_of(case))
        for step in range(2):
            seen[case], _ = training.step(step)
        if case == "laser":
            seen[case] |= training.evaluate(2)
    assert seen["crew"]["preference/pairs"] > 0 and "credit/outcome/mean" not in seen["crew"]
    assert seen["laser"]["loss/laser"] > 0
    assert {"eval/maj@3", "eval/vote@3"} <= set(seen["laser"])
    assert seen["rlfr"]["models/flow/loss"] > 0
    assert {"task/pool", "task/consistency", "task/consensus"} <= set(seen["knowrl"])


# -- preference pairs -----------------------------------------------------------------------------


def scored(engine: LabEngine, texts: list[str], **columns: Any) -> Rollouts:
    rollouts = engine.rollouts_from_text(["q"] * len(texts), texts)
    ones = Ragged(np.ones(rollouts.tokens.total, bool), rollouts.tokens.offsets)
    return rollouts.replace(
        acted=ones, logprobs=engine.logprobs(rollouts), group=np.zeros(len(texts), np.int64), **columns
    )


def test_the_step_is_that_of_dpo_also_in_micro_batches():
    pairs = np.array([[0, 1], [0, 2], [3, 1]])
    beta, moved = 0.3, []
    for micro in (None, 1):
        engine = LabEngine(dim=16, layers=1, heads=2, context=32, device="cpu")
        reference = LabEngine(dim=16, layers=1, heads=2, context=32, device="cpu", seed=1)
        rollouts = scored(engine, ["ab", "c", "ddd", "ef"])
        rollouts = rollouts.replace(ref_logprobs=reference.logprobs(rollouts))
        gradients = expected_gradient(engine, rollouts, pairs, beta)
        metrics = Preferences(lambda _: pairs, beta).learn(
            engine, rollouts, np.random.default_rng(0), lr=1e-3, micro_rollouts=micro, max_grad_norm=1e9
        )
        norm = torch.sqrt(sum((g**2).sum() for g in gradients.values()))
        assert metrics["policy/grad_norm"] == pytest.approx(float(norm), rel=1e-4)
        assert metrics["loss"] == pytest.approx(float(gradients.loss), rel=1e-5)
        moved.append(engine.state_dict())
    for name, value in moved[0].items():
        torch.testing.assert_close(value, moved[1][name], atol=1e-6, rtol=1e-4)


class Gradients(dict):
    loss: float


def expected_gradient(engine: LabEngine, rollouts: Rollouts, pairs: np.ndarray, beta: float) -> Gradients:
    """By automatic differentiation of the loss as it is written."""
    stats = engine.forward(rollouts, entropy=False)
    ratio = stats.logprobs - torch.from_numpy(rollouts.ref_logprobs.values)
    q = torch.stack([part.sum() for part in torch.split(ratio, rollouts.tokens.lengths.tolist())])
    loss = -torch.nn.functional.logsigmoid(beta * (q[pairs[:, 0]] - q[pairs[:, 1]])).mean()
    names, weights = zip(*engine.parameters().items(), strict=True)
    out = Gradients(zip(names, torch.autograd.grad(loss, weights), strict=True))
    out.loss = float(loss.detach())
    return out


def test_pairs_and_their_refusals():
    engine = LabEngine(dim=16, layers=1, heads=2, context=32, device="cpu")
    rollouts = scored(engine, ["ab", "c", "d", "e"]).replace(
        signals={
            "outcome": Signal([1.0, 1.0, 0.0, np.nan], "rollout", "outcome"),
            "confidence": Signal([0.9, 0.4, 0.1, 0.2], "rollout", "confidence"),
        }
    )
    chosen = build("pairs", {"use": "confidence"})(rollouts)
    assert chosen.tolist() == [[0, 2], [1, 2]]
    assert build("pairs", {"use": "best_and_worst", "source": "confidence"})(rollouts).tolist() == [[0, 2]]
    assert build("pairs", {"use": "outcome"})(rollouts).tolist() == [[0, 2], [1, 2]]
    with pytest.raises(DataError, match="by the signal 'absent'"):
        build("pairs", {"use": "outcome", "source": "absent"})(rollouts)
    nothing = dpo("outcome").learn(engine, rollouts.select([0, 1]), np.random.default_rng(0), lr=1e-3)
    assert nothing == {"preference/pairs": 0.0}
    with pytest.raises(DataError, match="reference's log-probs"):
        dpo("outcome").learn(engine, rollouts, np.random.default_rng(0), lr=1e-3)
    for wrong in ({"beta": 0}, {"reference": "x"}, {"pairs": "nobody"}):
        with pytest.raises(RecipeError):
            dpo(**{"pairs": "outcome", **wrong})


def test_truncated_rollouts_leave_the_pairs_where_they_are_masked():
    engine = LabEngine(dim=16, layers=1, heads=2, context=32, device="cpu")
    rollouts = scored(engine, ["ab", "c", "d"])
    rollouts = rollouts.replace(signals={"outcome": Signal([1.0, 0.0, 0.0], "rollout", "outcome")})
    found = dpo("outcome", reference="batch").learn(
        engine, rollouts, np.random.default_rng(0), lr=1e-3, drop=np.array([False, True, False])
    )
    assert found["preference/pairs"] == 1.0


# -- further losses -------------------------------------------------------------------------------


def test_tails_are_seen_by_their_own_loss_only():
    engine = LabEngine(dim=16, layers=1, heads=2, context=32, device="cpu")
    rollouts = scored(engine, ["ab", "c"])
    longer = with_tails(rollouts, [(259,), ()])
    assert [row.tolist() for row in longer.tokens] == [
        [*rollouts.tokens[0], 259],
        rollouts.tokens[1].tolist(),
    ]
    assert longer.acted.values.tolist() == [True] * 3 + [False] + [True] * 2
    assert longer.logprobs.values[3] == 0.0


def test_the_calibration_joins_the_policy_loss_and_leaves_it_alone():
    """Gradients of both losses add up; with alpha 0 the policy's update is what it was."""
    results = []
    for losses in ([], [Calibration(259, alpha=0.0)], [Calibration(259, alpha=5.0, c_ref=-6.0)] * 2):
        engine = LabEngine(dim=16, layers=1, heads=2, context=32, device="cpu")
        rollouts = scored(engine, ["ab", "c"])
        rollouts = rollouts.replace(
            signals={"outcome": Signal([1.0, 0.0], "rollout", "outcome")},
            advantages=Ragged(np.repeat([1.0, -1.0], rollouts.tokens.lengths), rollouts.tokens.offsets),
        )
        metrics = update(engine, rollouts, Objective(), np.random.default_rng(0), lr=1e-2, losses=losses)
        results.append((metrics, engine.state_dict(), laser_score(engine, rollouts)))
    (plain, weights, before), (idle, same, _), (both, other, after) = results
    assert idle["policy/entropy"] == pytest.approx(plain["policy/entropy"], rel=1e-5)
    for name, value in weights.items():
        torch.testing.assert_close(same[name], value, atol=1e-6, rtol=1e-4)
    assert both["loss/laser"] > 0 and after[0] > before[0]
    assert any(not torch.equal(other[name], weights[name]) for name in weights)


def laser_score(engine: LabEngine, rollouts: Rollouts) -> np.ndarray:
    from guerdon.context import Context

    reward = build("reward", {"use": "laser", "token": 259, "c_ref": -6.0})
    return reward(rollouts.replace(truncated=np.zeros(2, bool)), Context(engines={"policy": engine})).values


def test_calibration_leaves_out_what_was_cut_or_has_no_room():
    engine = LabEngine(dim=16, layers=1, heads=2, context=8, device="cpu")
    rollouts = scored(engine, ["ab", "abcde", "c"])
    rollouts = rollouts.replace(
        truncated=np.array([False, False, True]),
        signals={"outcome": Signal([1.0, 0.0, 0.0], "rollout", "outcome")},
    )
    longer, _ = Calibration(259)(rollouts, engine)
    assert (longer.tokens.lengths - rollouts.tokens.lengths).tolist() == [1, 0, 0]
    with pytest.raises(RecipeError, match="token 999"):
        Calibration(999)(rollouts, engine)
    with pytest.raises(DataError, match="signal 'truth'"):
        Calibration(259, source="truth")(rollouts, engine)


def test_the_reference_learns_with_its_own_gradient():
    """The same step as on -1/N sum of mean log-probs of the references alone."""
    texts, references = ["ab#x", "c", "d#"], ["42", "7", None]
    steps = []
    for way in ("recipe", "by hand"):
        engine = LabEngine(dim=16, layers=1, heads=2, context=32, device="cpu")
        rollouts = scored(engine, texts).replace(reference=references)
        nothing = Ragged(np.zeros(rollouts.tokens.total), rollouts.tokens.offsets)
        rollouts = rollouts.replace(advantages=nothing)
        if way == "recipe":
            extra = build("loss", {"use": "likelihood", "opening": "#", "reduce": "mean"})
            metrics = update(
                engine,
                rollouts,
                Objective(),
                np.random.default_rng(0),
                lr=1e-2,
                losses=[extra],
                micro_rollouts=2,
            )
            value = metrics["loss/likelihood"]
        else:
            ids = engine.tokenizer.encode("ab#42")
            alone = Rollouts(prompt=["q"], tokens=Ragged.from_lists([ids], dtype=np.int32))
            value = engine.train_step(
                alone, lambda stats, rows: (-stats.logprobs[3:].mean(), {}), lr=1e-2, entropy=False
            )["loss"]
        steps.append((value, engine.state_dict()))
    assert steps[0][0] == pytest.approx(steps[1][0], rel=1e-5)
    for name, value in steps[0][1].items():
        torch.testing.assert_close(value, steps[1][1][name], atol=1e-5, rtol=1e-3)
    with pytest.raises(RecipeError, match="reducer"):
        build("loss", {"use": "likelihood", "reduce": "perplexity"})


def test_laser_credit_by_hand():
    rollouts = Rollouts(
        completion=["a", "b", "c"],
        tokens=Ragged.from_lists([[1]] * 3, dtype=np.int32),
        group=np.zeros(3, np.int64),
        signals={
            "outcome": Signal([1.0, 0.0, 0.0], "rollout", "outcome"),
            "self": Signal([0.9, 0.1, -0.2], "rollout", "self"),
        },
    )
    from guerdon.context import Context

    mixed = build("credit", {"use": "laser"})(rollouts, None, Context(step=0)).values
    np.testing.assert_allclose(mixed, [1.1541, -0.5669, -0.5872], atol=1e-4)
    waiting = build("credit", {"use": "laser", "after": 1})(rollouts, None, Context(step=0)).values
    np.testing.assert_allclose(waiting, [1.1547, -0.5774, -0.5774], atol=1e-4)
    with pytest.raises(DataError, match="no signal 'other'"):
        laser.credit(source="other")(rollouts)


def test_a_weighted_vote_beats_numbers():
    """One confident right answer against two others, and a group in which nobody answers."""
    answers = ["7", "8", "8", None, None]
    plain, weighed = vote_outcomes(
        answers,
        np.array([0, 0, 0, 1, 1]),
        np.array([1.0, 0, 0, 0, 0]),
        np.array([0.9, 0.2, np.nan, 1.0, 1.0]),
    )
    assert plain.tolist() == [0.0, 0.0] and weighed.tolist() == [1.0, 0.0]


# -- tasks that change along ----------------------------------------------------------------------


class Writer:
    """An engine that writes what it is told to."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.prompts = texts, []

    def generate(self, prompts: list[str], n: int, sampling: Any) -> Rollouts:
        self.prompts = prompts
        return Rollouts(completion=list(self.texts))


def test_the_pool_grows_by_consensus_on_the_intended_label():
    from guerdon.context import Context

    task = SelfKnowledge(SEEDS, threshold=0.7)
    writer = Writer("2+2\nmore", "lift a house")
    ctx = Context(engines={"policy": writer})
    task.begin_step(ctx, 2)
    assert "1+1" in writer.prompts[0] and "fly" in writer.prompts[1]
    problems = task.problems("train", 2)
    assert [p.meta["task"] for p in problems] == ["2+2", "lift a house"]
    rollouts = Rollouts(
        completion=["feasible"] * 3 + ["infeasible"] + ["feasible"] * 4,
        group=np.repeat([0, 1], 4),
        meta=[problems[0].meta] * 4 + [problems[1].meta] * 4,
    )
    report = task.end_step(rollouts, ctx)
    assert report == {"task/pool": 1.0, "task/consistency": 0.5, "task/consensus": 0.875}
    assert task.pool.grown == (("2+2", "feasible"),)
    assert task.outcome(rollouts).missing == 8
    other = SelfKnowledge(SEEDS)
    other.load_state_dict(json.loads(json.dumps(task.state_dict())))
    assert other.pool.grown == task.pool.grown
    held = other.problems("valid", 3)
    assert [p.reference for p in held] == ["feasible", "infeasible", "feasible"]
    assert task.outcome(Rollouts(completion=["it is feasible"], reference=["feasible"])).values == [1.0]


def test_seeds_need_both_labels(tmp_path: Any):
    for wrong in ([{"task": "a", "label": "maybe"}], SEEDS[:1], [{"task": " ", "label": "feasible"}]):
        with pytest.raises(RecipeError, match="knowrl"):
            SelfKnowledge(wrong)
    with pytest.raises(DataError, match="JSON Lines"):
        SelfKnowledge(str(tmp_path / "absent.jsonl"))
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in SEEDS))
    assert len(SelfKnowledge(str(tmp_path / "seeds.jsonl")).pool.seeds) == 2


def test_plain_text_has_places_and_no_answers(tmp_path: Any):
    task = build("task", {"use": "plain_text", "text": "abcdefghij" * 5, "ahead": 2, "window": 4})
    problems = task.problems("train", 5)
    for problem in problems:
        at = problem.meta["at"]
        assert (
            problem.prompt == task.whole[max(0, at - 4) : at] and problem.reference == task.whole[at : at + 2]
        )
    assert problems == task.problems("train", 5) and problems != task.problems("train", 5, seed=1)
    assert task.outcome(Rollouts(completion=["x"], reference=["y"])).missing == 1
    (tmp_path / "text.txt").write_text("to be or not to be")
    assert build("task", {"use": "plain_text", "path": str(tmp_path / "text.txt")}).whole.startswith("to be")
    for wrong in ({}, {"text": "a", "path": "b"}, {"text": "abc", "ahead": 0}):
        with pytest.raises(RecipeError):
            build("task", {"use": "plain_text", **wrong})
    with pytest.raises(DataError, match="expected at least"):
        build("task", {"use": "plain_text", "text": "a"}).problems("train", 1)
    with pytest.raises(DataError, match="cannot be read"):
        build("task", {"use": "plain_text", "path": "absent.txt"}).problems("train", 1)


def test_pairs_take_no_further_losses():
    with pytest.raises(RecipeError, match="no further losses"):
        Training.build(recipe_of("crew", losses=[SELF]))


def test_a_vote_needs_a_reward():
    with pytest.raises(RecipeError, match=r"eval\.vote: no reward of that name"):
        recipe_of("crew", eval={"every": 0, "vote": "selfish"})
