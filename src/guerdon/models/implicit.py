"""Implicit process rewards: a language model trained on outcomes alone, read as a log-ratio per token.

    q_t = log pi_phi(y_t | y_<t) - log pi_ref(y_t | y_<t)

Learning from outcomes: s(beta * sum_t q_t) is the chance of success. Learning from preferences: all pairs of
a success and a failure in a group, -log s(Q+ - Q-) with Q = beta * sum_t q_t, or the mean over steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from guerdon.context import Context
from guerdon.data.kernels import segment_reduce, segment_scan
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.reading import with_place_behind
from guerdon.errors import DataError, RecipeError
from guerdon.models import folders
from guerdon.models.head_model import as_tensor
from guerdon.models.losses import implicit_outcome, outcome_pairs, preference_weights
from guerdon.models.minibatches import any_rows, whole_groups
from guerdon.models.points import reading_points, token_bounds, with_tokens
from guerdon.models.step_classifier import check_unit, signal_of


class ImplicitPRM:
    """Token-level signal `implicit`: q_t on tokens the policy chose, 0 on the others; beta is not applied.

    Args:
        engine: pi_phi, trained in place (give a `clone(frozen=False)` to keep yours).
        reference: pi_ref, a frozen engine; default: a frozen copy of `engine` as it is now. "policy" takes
            the log-probs recorded with the rollouts, i.e. the policy that wrote them.
        loss: "outcome" (cross-entropy) or "preference" (all success-failure pairs of a group).
        beta: scale of the log-ratio in the loss.
        aggregate: Q of a rollout in the preference loss: "sum" over its tokens, or "mean" over its steps
            (spans of `level` with a chosen token) of their sums.
        source: signal with the outcomes, one per rollout: in [0, 1] for "outcome"; for "preference"
            success means greater than `success`.
        lr, max_grad_norm: of AdamW, and the bound on the gradient.
        epochs, batch: passes over a run's batch, and rollouts per optimiser step (None: all at once; with
            preferences groups stay whole).
        update: "after" scores a batch before learning from it, "before" the other way round.
        online: whether a training loop goes on training it.
        seed: of the order of the data.

    Reference: Yuan et al., Free Process Rewards without Process Labels, arXiv 2412.01981; Cui et al., PRIME,
        arXiv 2502.01456; Liu et al., iStar, arXiv 2509.19199 (preferences online).
    """

    kind = "implicit"
    name = "implicit"
    level = "token"
    version = "unsaved"

    def __init__(
        self,
        engine: Any,
        reference: Any = None,
        *,
        loss: Literal["outcome", "preference"] = "outcome",
        beta: float = 0.05,
        aggregate: Literal["sum", "mean"] = "sum",
        level: str = "step",
        source: str = "outcome",
        success: float = 0.0,
        lr: float = 1e-6,
        max_grad_norm: float = 10.0,
        epochs: int = 1,
        batch: int | None = None,
        update: str = "after",
        online: bool = False,
        seed: int = 0,
    ) -> None:
        for field, value, valid in (
            ("loss", loss, ("outcome", "preference")),
            ("aggregate", aggregate, ("sum", "mean")),
            ("update", update, ("after", "before")),
        ):
            if value not in valid:
                raise RecipeError(f"{field}: got {value!r}, expected {' or '.join(map(repr, valid))}")
        if not beta > 0:
            raise RecipeError(f"beta: got {beta!r}, expected a number > 0")
        self.engine = engine
        self.reference = engine.clone() if reference is None else reference
        self.loss, self.beta, self.aggregate, self.steps = loss, float(beta), aggregate, level
        self.source, self.success, self.lr, self.max_grad_norm = source, success, lr, max_grad_norm
        self.epochs, self.batch, self.update, self.online, self.seed = epochs, batch, update, online, seed
        self.settings: dict[str, Any] = {
            "reference": "policy" if isinstance(self.reference, str) else None,
            "loss": loss,
            "beta": beta,
            "aggregate": aggregate,
            "level": level,
            "source": source,
            "success": success,
            "lr": lr,
            "max_grad_norm": max_grad_norm,
            "epochs": epochs,
            "batch": batch,
            "update": update,
            "seed": seed,
        }
        if isinstance(self.reference, str) and self.reference != "policy":
            raise RecipeError(f"reference: got {self.reference!r}, expected an engine, 'policy' or nothing")

    # -- reading -----------------------------------------------------------------------------------

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        if rollouts.tokens is None:
            raise DataError("the implicit reward is per token; these rollouts are text: use prefix_rewards")
        return Signal(self._ratio(rollouts), "token", self.name)

    def prefix_rewards(self, rollouts: Rollouts, level: str = "step", accumulate: bool = False) -> Signal:
        """Rewards of spans, for ranking and search.

        With q(e) = beta * sum of the log-ratios up to token e: r_k = q(e_k) - q(e_{k-1}), or with
        `accumulate` q(e_k) itself. Text without tokens is encoded here.
        """
        points = reading_points(self.engine, rollouts, level)
        padded = with_place_behind(Ragged(self._ratio(points.rollouts), points.rollouts.offsets("token")))
        running = segment_scan(padded.values, padded.offsets, 1.0, reverse=False) - padded.values
        found = points.gather(self.beta * running, self.name)
        if accumulate:
            return found
        return Signal(found.values - self.beta * running[points.before], level, self.name, found.causes)

    def _ratio(self, rollouts: Rollouts) -> np.ndarray:
        """q_t of every token, 0 where the policy did not choose it, float64."""
        ratio = self.engine.logprobs(rollouts).values.astype(np.float64) - self._reference(rollouts)
        return np.where(_chosen(rollouts), ratio, 0.0)

    def _reference(self, rollouts: Rollouts) -> np.ndarray:
        """log pi_ref of every token, float64."""
        if not isinstance(self.reference, str):
            return self.reference.logprobs(rollouts).values.astype(np.float64)
        if rollouts.logprobs is None:
            raise DataError("reference='policy' reads the column 'logprobs', which these rollouts lack")
        return rollouts.logprobs.values.astype(np.float64)

    # -- training ----------------------------------------------------------------------------------

    def observe(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, float]:
        """Learn from the outcomes of a batch: `epochs` passes in steps of `batch` rollouts.

        Returns:
            mean loss and gradient norm; "accuracy": share of rollouts (pairs) on the right side of 1/2 (of
            each other) before the step that learnt from them; "skipped" where there was nothing to learn.

        Raises:
            DataError: no outcomes, or outcomes outside [0, 1] with the outcome loss.
        """
        rng = np.random.default_rng([self.seed, ctx.step if ctx else 0])
        logged = []
        for _ in range(self.epochs):
            for rows in self._minibatches(rollouts, rng):
                part = rollouts.select(rows)
                logged.append(self.train_batch(part, signal_of(part, self.source, "the implicit reward")))
        out = {"skipped": float(sum("loss" not in metrics for metrics in logged))}
        for key in ("loss", "grad_norm", "accuracy"):
            found = [metrics[key] for metrics in logged if key in metrics]
            if found:
                out[key] = float(np.mean(found))
        return out

    def fit(self, rollouts: Rollouts, targets: Signal, epochs: int = 1, batch: int = 64) -> list[float]:
        """Supervised training on outcomes (a pair: 1 and 0 in one group); the loss of every step."""
        carried = rollouts.replace(signals={"_targets": targets})
        rng = np.random.default_rng(self.seed)
        losses = []
        for _ in range(epochs):
            for rows in self._minibatches(rollouts, rng, batch):
                part = carried.select(rows)
                metrics = self.train_batch(part, part.signals["_targets"])
                if "loss" in metrics:
                    losses.append(metrics["loss"])
        if not losses:
            raise DataError(
                f"the outcomes {targets.name!r} hold nothing to learn from: all missing, or no pair"
            )
        return losses

    def _minibatches(
        self, rollouts: Rollouts, rng: np.random.Generator, batch: int | None = None
    ) -> list[np.ndarray]:
        """Rows of every optimiser step, in random order; with preferences, whole groups."""
        size = batch or self.batch or max(len(rollouts), 1)
        if self.loss == "outcome":
            return any_rows(len(rollouts), size, rng)
        return whole_groups(*rollouts.groups(), size, rng)

    def train_batch(self, rollouts: Rollouts, outcome: Signal) -> dict[str, float]:
        """One optimiser step on the outcomes (NaN left out); {} where there is nothing to learn."""
        if outcome.level != "rollout":
            raise DataError(
                f"the implicit reward learns from one outcome per rollout, not per {outcome.level}"
            )
        rollouts = with_tokens(self.engine, rollouts)
        keep = ~np.isnan(outcome.values) & (rollouts.lengths > 0)
        if not keep.any():
            return {}
        rollouts = rollouts.select(keep)
        values = outcome.values[keep]
        reference = self._reference(rollouts)
        learn = self._outcome_step if self.loss == "outcome" else self._preference_step
        return learn(rollouts, values, reference)

    def _outcome_step(
        self, rollouts: Rollouts, outcome: np.ndarray, reference: np.ndarray
    ) -> dict[str, float]:
        check_unit(Signal(outcome, "rollout", self.source))
        share = np.full(rollouts.count("token"), 1.0)
        seen: list[float] = []

        def loss(ratio: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
            wanted = as_tensor(outcome[rows], ratio.device)
            right = ((ratio.detach() > 0) == (wanted >= 0.5)).float()
            seen.append(float(right.sum()))
            return implicit_outcome(ratio, wanted, self.beta) / len(rollouts)

        metrics = self._step(rollouts, reference, share, loss)
        return metrics | {"accuracy": sum(seen) / len(rollouts)}

    def _preference_step(
        self, rollouts: Rollouts, outcome: np.ndarray, reference: np.ndarray
    ) -> dict[str, float]:
        good, bad = outcome_pairs(outcome, rollouts.groups()[0], self.success)
        if len(good) == 0:
            return {}
        share = self._shares(rollouts)
        ratio = np.where(_chosen(rollouts), self.engine.logprobs(rollouts).values - reference, 0.0)
        score = self.beta * segment_reduce(ratio * share, rollouts.offsets("token"), "sum")
        value, gradient = preference_weights(score, good, bad)

        def loss(ratio: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
            return self.beta * (as_tensor(gradient[rows], ratio.device) * ratio).sum()

        metrics = self._step(rollouts, reference, share, loss)
        return metrics | {"loss": value, "accuracy": float((score[good] > score[bad]).mean())}

    def _shares(self, rollouts: Rollouts) -> np.ndarray:
        """Weight of every token in Q: 1, or 1 over the number of its rollout's steps, float64."""
        if self.aggregate == "sum":
            return np.ones(rollouts.count("token"))
        acted = Signal(_chosen(rollouts).astype(np.float64), "token")
        ends = token_bounds(rollouts, self.steps)
        active = segment_reduce(acted.values, ends, "sum") > 0
        counts = segment_reduce(active.astype(np.float64), rollouts.offsets(self.steps), "sum")
        return 1.0 / np.maximum(np.repeat(counts, rollouts.lengths), 1.0)

    def _step(
        self, rollouts: Rollouts, reference: np.ndarray, share: np.ndarray, loss: Any
    ) -> dict[str, float]:
        """One AdamW step on a loss of every rollout's weighted sum of log-ratios."""
        assert rollouts.tokens is not None
        tokens = rollouts.tokens
        weight = np.where(_chosen(rollouts), share, 0.0)

        def micro(stats: Any, rows: np.ndarray) -> tuple[torch.Tensor, Mapping[str, float]]:
            at = tokens.positions(rows)
            device = stats.logprobs.device
            ratio = (stats.logprobs - as_tensor(reference[at], device)) * as_tensor(weight[at], device)
            local = torch.as_tensor(np.repeat(np.arange(len(rows)), tokens.lengths[rows]), device=device)
            return loss(ratio.new_zeros(len(rows)).index_add(0, local, ratio), rows), {}

        result = self.engine.train_step(
            rollouts, micro, lr=self.lr, max_grad_norm=self.max_grad_norm, entropy=False
        )
        return {"loss": result["loss"], "grad_norm": result["grad_norm"]}

    # -- disk --------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write a folder that `guerdon.models.load` restores."""
        return folders.save(self, path)

    def write(self, folder: Path, optimizer: bool = False) -> None:
        """Fill an existing folder; with `optimizer`, so that training goes on bit for bit."""
        folders.write_config(self, folder)
        self.engine.save(folder / "trunk", optimizer=optimizer)
        if not isinstance(self.reference, str):
            self.reference.save(folder / "reference")

    def read(self, folder: Path) -> None:
        """Take over what `write` wrote."""
        self.engine.load(folder / "trunk")
        if not isinstance(self.reference, str):
            self.reference.load(folder / "reference")


def _chosen(rollouts: Rollouts) -> np.ndarray:
    assert rollouts.acted is not None
    return rollouts.acted.values
