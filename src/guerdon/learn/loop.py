"""The on-policy loop: sample -> score -> shape -> credit -> update, in that order, in one function.

Enters: a recipe and a run folder. Leaves: metrics, sampled rollouts, checkpoints and plots in that folder.
Everything random is derived from (seed, step), so a resumed run repeats the steps a crash took away
exactly. Left out on purpose: several machines (use the adapters) and asynchronous sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.io import write
from guerdon.data.rollouts import Rollouts
from guerdon.engines.protocol import Sampling
from guerdon.errors import RecipeError, TrainingError
from guerdon.intrinsic.collapse import CollapseWatch, watch
from guerdon.learn import cotrained, filters, signals
from guerdon.learn.evaluation import Evaluation, evaluate
from guerdon.learn.extra_losses import build_losses
from guerdon.learn.interrupts import StopRequest
from guerdon.learn.laps import Clock
from guerdon.learn.policy_loss import reward_penalty
from guerdon.learn.recipe import Recipe
from guerdon.learn.sampling import check_sampler, longest, sample
from guerdon.learn.schedule import learning_rate
from guerdon.learn.update import update
from guerdon.registry import build
from guerdon.store import Run

Progress = Callable[[int, dict[str, float]], None]


@dataclass
class Training:
    """A recipe brought to life: what the loop needs, built once."""

    recipe: Recipe
    engine: Any
    task: Any
    rewards: dict[str, Any]
    shapes: dict[str, list[Any]]
    filters: list[Any]
    credit: Any
    objective: Any
    models: dict[str, Any] = field(default_factory=dict)
    reference: Any = None
    losses: list[Any] = field(default_factory=list)
    collapse: CollapseWatch = field(default_factory=CollapseWatch)
    warning: str | None = None
    batch: Rollouts = field(init=False, repr=False)
    evaluations: dict[int, Evaluation] = field(default_factory=dict)

    @classmethod
    def build(cls, recipe: Recipe, engine: Any = None) -> Training:
        """Construct every part the recipe names.

        Raises:
            RecipeError: an unknown name or parameter.
        """
        task = build("task", recipe.task, "task")
        if engine is None:
            optim = {
                "lr": recipe.optim.lr,
                "betas": recipe.optim.betas,
                "weight_decay": recipe.optim.weight_decay,
            }
            engine = build("engine", recipe.engine, "engine", device=recipe.device, seed=recipe.seed, **optim)
        check_sampler(task, recipe.sampler.turns, recipe.sampler.branch)
        objective = build("objective", recipe.objective, "objective")
        if recipe.losses and hasattr(objective, "learn"):
            raise RecipeError("losses: an objective that learns from pairs takes no further losses")
        return cls(
            recipe=recipe,
            engine=engine,
            task=task,
            rewards=signals.build_rewards(recipe.rewards, task, engine),
            models=cotrained.build_models(recipe.models, task, engine),
            shapes=signals.build_shapes(recipe.shape),
            filters=filters.build_filters(recipe.filters),
            credit=build("credit", recipe.credit, "credit"),
            objective=objective,
            reference=engine.clone() if objective.needs_reference else None,
            losses=build_losses(recipe.losses),
        )

    def step(self, step: int) -> tuple[dict[str, float], dict[str, float]]:
        """One update. Returns metrics and seconds per phase; leaves what was learnt from in `batch`."""
        recipe, clock = self.recipe, Clock()
        ctx = Context(
            progress=step / recipe.steps,
            step=step,
            rng=np.random.default_rng([recipe.seed, step]),
            engines={"policy": self.engine, "reference": self.reference},
        )
        sampler = recipe.sampler
        cotrained.begin_step(self.task, ctx, sampler.prompts)
        problems = self.task.problems(
            "train", sampler.prompts, seed=recipe.seed, start=step * sampler.prompts
        )
        limits = Sampling(
            max_new_tokens=sampler.max_new_tokens,
            temperature=sampler.temperature,
            top_p=sampler.top_p,
            top_k=sampler.top_k,
            stop=tuple(sampler.stop),
            seed=recipe.seed * 1_000_003 + step,
        )
        rollouts = sample(
            self.engine, self.task, problems, sampler.group, limits, sampler.turns, sampler.branch
        )
        clock.lap("sample")

        if self.reference is not None:
            rollouts = rollouts.replace(
                ref_logprobs=self.reference.logprobs(rollouts, limits.scoring_temperature)
            )
        rollouts, taught = cotrained.score(rollouts, self.rewards, ctx)
        taught |= cotrained.end_step(self.task, rollouts, ctx)
        taught |= self._watch(rollouts, ctx)
        clock.lap("score")

        rollouts = signals.shape(rollouts, self.shapes, ctx)
        metrics = signals.report(rollouts) | taught
        rollouts = signals.apply_truncation(rollouts, recipe.truncated)
        rollouts = signals.pay_for_distance(rollouts, reward_penalty(self.objective.kl))
        rollouts = cotrained.attach(rollouts, self.models, ctx)
        learnt = filters.select(rollouts, self.filters, ctx)
        metrics["rollout/kept"] = len(learnt) / len(rollouts)
        if len(learnt) == 0:  # every group was filtered out: nothing to learn from this batch
            self.batch = rollouts
            return metrics, clock.laps
        if not hasattr(self.objective, "learn"):  # one that learns from pairs has no use for advantages
            advantage, diagnostics = self.credit.explain(learnt, learnt.signals, ctx)
            for source, numbers in diagnostics.items():
                metrics |= {f"credit/{source}/{key}": value for key, value in numbers.items()}
            learnt = signals.keep_advantage(learnt, advantage)
        self.batch = learnt
        clock.lap("credit")

        metrics |= cotrained.observe(learnt, self.models, ctx)
        metrics |= self._update(learnt, step, limits.scoring_temperature)
        clock.lap("update")
        return metrics, clock.laps

    def _update(self, learnt: Rollouts, step: int, temperature: float) -> dict[str, float]:
        """Passes of the objective over a batch; what it logs."""
        recipe = self.recipe
        rate = learning_rate(recipe.optim, step, recipe.steps)
        settings: dict[str, Any] = {
            "rng": np.random.default_rng([recipe.seed, step, 1]),
            "lr": rate,
            "epochs": recipe.epochs,
            "minibatches": recipe.minibatches,
            "micro_rollouts": recipe.micro_rollouts,
            "max_grad_norm": recipe.optim.max_grad_norm,
            "max_length": longest(self.task, recipe.sampler.max_new_tokens, recipe.sampler.turns),
            "drop": learnt.truncated if recipe.truncated == "mask" else None,
            "temperature": temperature,
        }
        if hasattr(self.objective, "learn"):
            return {"lr": rate} | self.objective.learn(self.engine, learnt, **settings)
        return {"lr": rate} | update(self.engine, learnt, self.objective, losses=self.losses, **settings)

    def _watch(self, rollouts: Rollouts, ctx: Context) -> dict[str, float]:
        """How a self-reward stands to the truth; a warning once it rises while that falls."""
        metrics = watch(rollouts, self.rewards, self.task, ctx)
        self.warning = self.collapse.add(metrics) if metrics else None
        return metrics | ({"collapse/warning": float(self.warning is not None)} if metrics else {})

    def evaluate(self, step: int) -> dict[str, float]:
        """Evaluate the policy as it is after `step` updates."""
        e = self.recipe.eval
        result = evaluate(
            self.engine,
            self.task,
            split=e.split,
            problems=e.problems,
            k=e.k,
            temperature=e.temperature,
            max_new_tokens=self.recipe.sampler.max_new_tokens,
            stop=tuple(self.recipe.sampler.stop),
            seed=self.recipe.seed,
            turns=self.recipe.sampler.turns,
            vote=self.rewards[e.vote] if e.vote else None,
            ctx=Context(step=step, engines={"policy": self.engine, "reference": self.reference}),
        )
        self.evaluations[step] = result
        return result.metrics()

    def save(self, folder: Path) -> None:
        """Write everything a resumed run needs."""
        self.engine.save(folder, optimizer=True)
        signals.save_states(self._stateful(), folder)
        cotrained.save(self.rewards, self.models, folder)

    def load(self, folder: Path) -> None:
        """Inverse of `save`."""
        self.engine.load(folder)
        signals.load_states(self._stateful(), folder)
        cotrained.load(self.rewards, self.models, folder)

    def _stateful(self) -> dict[str, Any]:
        """Whatever may carry a state besides the weights, by its place in the recipe."""
        kept = {f"filters.{i}": keep for i, keep in enumerate(self.filters)}
        return {
            **signals.stateful(self.rewards, self.shapes, self.credit),
            **kept,
            "task.": self.task,
            "collapse.": self.collapse,
        }


def train(
    recipe: Recipe,
    run: Run,
    engine: Any = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Training:
    """Run a recipe to its end, or to the next Ctrl-C.

    Metrics line t (from 1) is written after update t; line 0 is the evaluation before training.

    Args:
        run: where everything is written.
        engine: a policy to train in place of the recipe's.
        resume: go on from the newest checkpoint.
        progress: called after every step with its number and metrics.

    Raises:
        KeyboardInterrupt: after the step in flight was finished and saved.
        TrainingError: a loss that is not finite; the last good weights are saved as a checkpoint first.
    """
    training = Training.build(recipe, engine)
    done = _resume(training, run) if resume else 0
    try:
        with StopRequest() as stop:
            if done == 0:
                _log(run, 0, training.evaluate(0) if recipe.eval.every else {}, {})
            for step in range(done, recipe.steps):
                metrics, seconds = training.step(step)
                done, last = step + 1, step + 1 == recipe.steps
                if recipe.eval.every and (done % recipe.eval.every == 0 or last):
                    clock = Clock()
                    metrics |= training.evaluate(done)
                    seconds["evaluate"] = clock.lap("evaluate")
                if recipe.save_rollouts_every and (done % recipe.save_rollouts_every == 0 or last):
                    run.save_rollouts(done, training.batch)
                _log(run, done, metrics, seconds)
                if training.warning is not None:
                    run.warn(done, training.warning)
                stopping = stop.asked and not last
                if last or stopping or done % recipe.checkpoint.every == 0:
                    run.checkpoint(done, training.save, keep=recipe.checkpoint.keep)
                if progress is not None:
                    progress(done, metrics)
                if stopping:
                    raise KeyboardInterrupt
    except TrainingError as error:
        run.checkpoint(done, training.save, keep=recipe.checkpoint.keep, pin="last_good")
        write(training.batch, run.path / "failed_batch.parquet")
        run.finish("failed", reason=f"step {done + 1}: {error}")
        raise TrainingError(
            f"step {done + 1}: {error}. The weights before it are kept in the checkpoint of step {done}, "
            f"the batch in {run.path / 'failed_batch.parquet'}"
        ) from error
    except KeyboardInterrupt:
        run.finish("interrupted", reason=f"stopped after step {done}; go on with --resume")
        raise
    run.plot()
    run.finish("finished")
    return training


def _resume(training: Training, run: Run) -> int:
    """Load the newest checkpoint (`Run.resume` cut the log back to it); returns the step to go on from."""
    found = run.latest_checkpoint()
    if found is None:
        return 0
    step, folder = found
    if step > training.recipe.steps:
        raise RecipeError(f"steps: {run.path} is at step {step} already, beyond {training.recipe.steps}")
    training.load(folder)
    return step


def _log(run: Run, step: int, metrics: dict[str, float], seconds: dict[str, float]) -> None:
    run.log(step, metrics)
    run.log(step, seconds, stream="timing")
