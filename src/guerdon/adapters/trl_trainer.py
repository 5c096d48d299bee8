"""TRL's GRPOTrainer with one advantage per token, from any guerdon credit method.

TRL computes one advantage per completion; its loss takes one per token as well. So the subclass lets TRL
generate and score, then replaces the advantages: rollouts and signals of all processes are gathered, credit
is assigned to the whole batch, and every process takes its own rows. Sampling and the loss are TRL's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import trl
from accelerate.utils import gather_object

from guerdon.adapters.columns import to_rollouts
from guerdon.adapters.given import built
from guerdon.adapters.trl_rewards import AsyncRewardFunction, RewardFunction, context_of, token_bytes_of
from guerdon.adapters.trl_version import check_methods, check_version
from guerdon.data import spans
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError


class GRPOTrainer(trl.GRPOTrainer):
    """TRL's trainer with token-level credit.

    Args:
        credit: a credit method, its registered name, or `{"use": name, parameter: value}`; None: TRL's own
            advantages. It sees one signal per reward function under its name (at its own level where the
            function was made by `reward_func`), and `outcome`: their weighted sum per completion.
        steps: a splitter (`guerdon.data.spans.split`), where the method or a reward needs steps; cut in
            tokens of the completion.
        args, kwargs: as for `trl.GRPOTrainer`. `scale_rewards` and `multi_objective_aggregation` have no
            effect on the advantages of a credit method.

    Raises:
        RecipeError: an unknown method or splitter.
        RecipeError: a reward cuts steps with another tokenizer than the policy's.
        TrainingError: the installed TRL is too old, or lacks what this builds upon.
    """

    def __init__(self, *args: Any, credit: Any = None, steps: Any = None, **kwargs: Any) -> None:
        check_version(trl.__version__)
        check_methods(trl.GRPOTrainer, trl.__version__)
        self._guerdon_credit = _credit_of(credit)
        self._guerdon_steps = steps
        self._guerdon_local: Rollouts | None = None
        super().__init__(*args, **kwargs)
        cut = [f for f in self.reward_funcs if isinstance(f, RewardFunction)]
        if steps is not None or any(function.steps is not None for function in cut):
            self._guerdon_tokenizer = token_bytes_of(self.processing_class)
            for function in cut:
                function.steps = function.steps if steps is None else steps
                if function.tokenizer is None:
                    function.tokenizer = self._guerdon_tokenizer
                _check_same(token_bytes_of(function.tokenizer), self._guerdon_tokenizer, function.__name__)

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> torch.Tensor:
        """TRL's rewards; what they were given is kept."""
        size = self.num_generations if self.model.training else self.num_generations_eval
        whole = len(prompts) % size == 0
        for function in self.reward_funcs:
            if isinstance(function, RewardFunction):
                function.captured = None
                function.group_size = size if whole or function.groups else None
                function.share = self._share(function) if function.groups and not whole else None
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self._guerdon_credit is not None:
            rollouts = to_rollouts(prompts, completions, {}, completion_ids_list)
            self._guerdon_local = self._with_signals(rollouts, rewards)
        return rewards

    def _share(self, function: RewardFunction) -> Callable[[dict[str, Any]], tuple[dict[str, Any], range]]:
        """What a reward of groups calls to see those rows of its groups that other processes hold."""
        if isinstance(function, AsyncRewardFunction):
            raise RecipeError(
                f"reward {function.__name__!r} is asynchronous and looks at groups, which lie across "
                "processes here; make it synchronous, or the batch of a process a multiple of num_generations"
            )

        def share(given: dict[str, Any]) -> tuple[dict[str, Any], range]:
            n = len(given["completions"])
            parts = gather_object([given])
            first = sum(len(part["completions"]) for part in parts[: self.accelerator.process_index])
            return {name: [row for part in parts for row in part[name]] for name in given}, range(
                first, first + n
            )

        return share

    def _with_signals(self, rollouts: Rollouts, rewards: torch.Tensor) -> Rollouts:
        """The local rollouts with steps, groups counted over all processes, and a signal per reward."""
        n, first = len(rollouts), self.accelerator.process_index * len(rollouts)
        size = self.num_generations if self.model.training else self.num_generations_eval
        rollouts = rollouts.replace(group=(first + np.arange(n)) // size)
        local = rewards[first : first + n].double().cpu().numpy()
        weights = self.reward_weights.double().cpu().numpy()
        signals = {}
        kept = (f.captured for f in self.reward_funcs if isinstance(f, RewardFunction))
        for captured in kept:
            if captured is not None:  # steps that a reward cut for itself
                rollouts = rollouts.replace(partitions={**captured[0].partitions, **rollouts.partitions})
        if self._guerdon_steps is not None and "step" not in rollouts.partitions:
            rollouts = spans.split(rollouts, self._guerdon_steps, tokenizer=self._guerdon_tokenizer)
        for i, (function, name) in enumerate(zip(self.reward_funcs, self.reward_func_names, strict=True)):
            own = function.captured if isinstance(function, RewardFunction) else None
            if own is not None and own[1].level in rollouts.levels and own[1].level != "group":
                signals[name] = own[1].renamed(name)
            else:
                signals[name] = Signal(local[:, i], "rollout", name)
        known = ~np.isnan(local).all(axis=1)
        outcome = np.where(known, np.nansum(local * weights, axis=1), np.nan)
        signals.setdefault("outcome", Signal(outcome, "rollout", "outcome"))
        return rollouts.replace(signals=signals)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """TRL's batch with advantages (B, T) aligned to `completion_mask`."""
        out = super()._generate_and_score_completions(inputs)
        if self._guerdon_credit is None:
            return out
        local, self._guerdon_local = self._guerdon_local, None
        assert local is not None and local.tokens is not None
        width = out["completion_ids"].shape[1]
        rollouts = self._with_token_columns(local, out)
        whole = Rollouts.concat(gather_object([rollouts]))
        advantage = self._guerdon_credit(whole, whole.signals, context_of(self.state))
        if advantage.level != "token" or whole.tokens is None:
            raise RecipeError(f"credit gave values per {advantage.level}, expected one per token")
        rows = self._transformed(Ragged(advantage.values, whole.tokens.offsets))
        first = self.accelerator.process_index * len(local)
        mine = rows.select(np.arange(first, first + len(local))).to_padded(0.0, width)
        own = out["advantages"]
        out["advantages"] = torch.as_tensor(mine, dtype=own.dtype, device=own.device)
        self._log_advantages(rows, whole)
        return out

    def _transformed(self, rows: Ragged) -> Ragged:
        """The advantages of all processes through `_transform_advantages`, where this trainer has that hook.

        TRL proposes it for one advantage per completion; here it gets them per token, (B, T), 0 behind a
        completion, and what it returns is used and logged.
        """
        hook = getattr(self, "_transform_advantages", None)
        if hook is None:
            return rows
        lengths = rows.lengths
        given = torch.as_tensor(rows.to_padded(0.0), device=self.accelerator.device)
        made = hook(given)
        if made.shape != given.shape:
            raise RecipeError(
                f"_transform_advantages returned the shape {tuple(made.shape)} for advantages per token "
                f"of shape {tuple(given.shape)}"
            )
        return Ragged.from_padded(made.double().cpu().numpy(), lengths)

    def _with_token_columns(self, rollouts: Rollouts, out: Mapping[str, Any]) -> Rollouts:
        """Who wrote each token, and log-probabilities where TRL has computed them."""
        assert rollouts.tokens is not None
        lengths, new = rollouts.tokens.lengths, {}
        named: list[tuple[str, str, Callable[[np.ndarray], np.ndarray]]] = [
            ("tool_mask", "acted", lambda values: values > 0),
            ("sampling_per_token_logps", "logprobs", lambda values: values),
            ("old_per_token_logps", "logprobs", lambda values: values),
            ("ref_per_token_logps", "ref_logprobs", lambda values: values),
        ]
        for theirs, ours, convert in named:
            if theirs in out:
                new[ours] = Ragged.from_padded(convert(out[theirs].float().cpu().numpy()), lengths)
        ends = [int(row[-1]) if len(row) else -1 for row in rollouts.tokens.to_lists()]
        stops = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        return rollouts.replace(truncated=np.array([end not in stops for end in ends]), **new)

    def _log_advantages(self, rows: Ragged, whole: Rollouts) -> None:
        """What is logged is what is used: per completion, the mean over the tokens the policy chose."""
        acted = whole.acted.values if whole.acted is not None else np.ones(rows.total, bool)
        owner = rows.row_ids()
        counts = np.bincount(owner, acted, minlength=len(rows))
        sums = np.bincount(owner, np.where(acted, rows.values, 0.0), minlength=len(rows))
        means = sums / np.maximum(counts, 1)
        logged = self._logs["advantages"]
        for _ in range(min(len(means), len(logged))):
            logged.pop()
        logged.extend(means.tolist())
        metrics = self._metrics["train" if self.model.training else "eval"]
        chosen = rows.values[acted]
        metrics["advantages/mean_abs"].append(float(np.abs(chosen).mean()) if len(chosen) else float("nan"))
        metrics["advantages/zero"].append(float((chosen == 0).mean()) if len(chosen) else float("nan"))


def _check_same(own: Any, policy: Any, name: str) -> None:
    """Raise RecipeError where two tokenizers read ids differently."""
    n = 0 if getattr(own, "inner", own) is policy.inner else policy.vocab_size
    for start in range(0, n, 4096):
        ids = range(start, min(start + 4096, n))
        try:
            theirs = own.token_bytes(ids)
        except (IndexError, OverflowError, TypeError, ValueError):  # ids it does not have
            theirs = [None] * len(ids)
        for i, mine, other in zip(ids, policy.token_bytes(ids), theirs, strict=True):
            if mine != other:
                raise RecipeError(
                    f"reward {name!r} cuts steps with another tokenizer than the policy's: id {i} is "
                    f"{other!r} for it and {mine!r} for the trainer; leave out its tokenizer, the trainer "
                    "sets it"
                )


def _credit_of(credit: Any) -> Any:
    credit = built("credit", credit, "credit")
    if credit is not None and not callable(credit):
        raise RecipeError(f"credit: expected a credit method or its name, got {type(credit).__name__}")
    return credit
