"""A guerdon reward as one of TRL's `reward_funcs`.

Enters: what TRL calls a reward function with. Leaves: one number per completion, None where there is no
verdict. The signal at its own level (steps, tokens) is kept for `guerdon.adapters.trl.GRPOTrainer`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from guerdon.adapters.columns import REFERENCES, to_rollouts
from guerdon.adapters.given import built, check_worth, per_rollout
from guerdon.context import Context
from guerdon.data import spans
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError

_log = logging.getLogger("guerdon.trl")
Share = Callable[[dict[str, Any]], tuple[dict[str, Any], range]]
_OURS = frozenset(("trainer_state", "log_extra", "log_metric", "environments"))


class RewardFunction:
    """Called by TRL with `prompts`, `completions`, `completion_ids` and the dataset's columns.

    Attributes:
        reward: the guerdon reward.
        share: gathers rows of all processes, set by guerdon's trainer while a group lies across several.
        captured: rollouts and signal of the last call, at the signal's own level.
    """

    def __init__(
        self,
        reward: Any,
        name: str,
        reference: str | None,
        group_size: int | None,
        steps: Any,
        tokenizer: Any,
        reduce: str,
        on_error: str | float,
        needs: Sequence[str] = (),
        groups: bool = False,
        reads: str = "all",
    ) -> None:
        self.reward, self.__name__ = reward, name
        self.reference, self.group_size, self.reduce = reference, group_size, reduce
        self.steps, self.tokenizer, self.on_error = steps, tokenizer, on_error
        self.needs, self.groups, self.reads = tuple(needs), groups, reads
        self.share: Share | None = None
        self.captured: tuple[Rollouts, Signal] | None = None

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> list[float | None]:
        """One value per completion."""
        return self._score(prompts, completions, completion_ids, columns)

    def _score(self, prompts: Any, completions: Any, ids: Any, columns: dict[str, Any]) -> list[float | None]:
        told = {name: columns.pop(name) for name in _OURS if name in columns}
        self._check_columns(columns)
        mine = range(len(completions))
        if self.share is not None:
            given = {"prompts": prompts, "completions": completions, "completion_ids": ids, **columns}
            given, mine = self.share({name: rows for name, rows in given.items() if rows is not None})
            prompts, completions = given.pop("prompts"), given.pop("completions")
            ids, columns = given.pop("completion_ids", None), given
        rollouts = to_rollouts(prompts, completions, columns, ids, self.reference, self.group_size)
        if self.reads == "reply":
            rollouts = rollouts.replace(completion=[_reply(each) for each in completions])
        if self.steps is not None:
            cut = self._token_bytes(rollouts)
            if self.reads == "all":
                _check_tokenizer(rollouts, cut, self.__name__)
            rollouts = spans.split(rollouts, self.steps, tokenizer=cut)
        signal = self._signal(rollouts, context_of(told.get("trainer_state")))
        self._check_reference(rollouts, signal, columns)
        if self.share is not None:
            carried = rollouts.replace(signals={"own": signal}).select(list(mine))
            rollouts, signal = carried.replace(signals={}), carried.signals["own"]
        self.captured = rollouts, signal
        total = per_rollout(rollouts, signal, self.reduce)
        self._report(total, signal, told.get("log_metric"))
        return [None if math.isnan(value) else value for value in total.values.tolist()]

    def _signal(self, rollouts: Rollouts, ctx: Context) -> Signal:
        """The reward's signal; what it raises is settled as the user chose."""
        try:
            return self.reward(rollouts, ctx).renamed(self.__name__)
        except Exception as error:
            if self.on_error == "raise":
                raise
            worth = math.nan if self.on_error == "none" else float(self.on_error)
            cause = f"{type(error).__name__}: {error}"
            _log.warning("reward %r failed on a whole batch: %s", self.__name__, cause)
            n = len(rollouts)
            causes = dict.fromkeys(range(n), cause) if math.isnan(worth) else {}
            return Signal(np.full(n, worth), "rollout", self.__name__, causes)

    def _check_columns(self, columns: Mapping[str, Any]) -> None:
        gone = [name for name in self.needs if name not in columns]
        if gone:
            raise DataError(
                f"reward {self.__name__!r} needs the dataset columns {', '.join(gone)}, but the trainer "
                f"hands over {', '.join(columns) or 'none'}; keep them in the dataset, with "
                "remove_unused_columns=False"
            )

    def _check_reference(self, rollouts: Rollouts, signal: Signal, columns: Mapping[str, Any]) -> None:
        """No verdict at all, for want of a ground truth: the dataset has none, or the trainer dropped it."""
        causes = set(signal.causes.values())
        wants = any("reference" in cause for cause in causes)
        if rollouts.reference is None and wants and len(signal) and bool(np.isnan(signal.values).all()):
            raise DataError(
                f"reward {self.__name__!r} has no verdict on any completion ({min(causes)}): none of "
                f"{', '.join(REFERENCES)} is among the columns that the trainer hands over "
                f"({', '.join(columns) or 'none'}); name it, reward_func(..., reference=COLUMN), and keep it "
                "in the dataset, with remove_unused_columns=False"
            )

    def _report(self, total: Signal, signal: Signal, log_metric: Callable[[str, float], None] | None) -> None:
        missing = np.isnan(total.values)
        if log_metric is not None:
            log_metric(f"rewards/{self.__name__}/missing", float(missing.mean()))
        if missing.any():
            causes = Counter(signal.causes.values()).most_common(3)
            told = "; ".join(f"{count} x {cause}" for cause, count in causes) or "no cause was given"
            _log.info("reward %r: %d of %d missing: %s", self.__name__, missing.sum(), len(missing), told)

    def _token_bytes(self, rollouts: Rollouts) -> Any:
        if rollouts.tokens is None:
            return None
        if self.tokenizer is None:
            raise RecipeError(f"reward {self.__name__!r} splits tokens into steps: give it the tokenizer too")
        return token_bytes_of(self.tokenizer)


class AsyncRewardFunction(RewardFunction):
    """The same as a coroutine: TRL runs all of its coroutines at once."""

    async def __call__(  # type: ignore[override]
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> list[float | None]:
        """One value per completion."""
        return await asyncio.to_thread(self._score, prompts, completions, completion_ids, columns)


def reward_func(
    reward: Any,
    name: str | None = None,
    *,
    reference: str | None = None,
    group_size: int | None = None,
    steps: Any = None,
    tokenizer: Any = None,
    reduce: str = "sum",
    on_error: str | float = "raise",
    asynchronous: bool = False,
    needs: Sequence[str] = (),
    groups: bool = False,
    reads: str = "all",
) -> RewardFunction:
    """A guerdon reward as one of TRL's `reward_funcs`.

    Args:
        reward: a Reward, a registered name, or `{"use": name, parameter: value}`.
        name: in TRL's logs; default: the reward's.
        reference: the dataset column with the ground truth; None: `reference`, `solution`, `answer`,
            `ground_truth` or `label`, whichever is there.
        group_size: `num_generations`, for rewards that look at groups; None: neighbours with equal prompts
            are a group. `guerdon.adapters.trl.GRPOTrainer` sets it.
        steps: a splitter (see `guerdon.data.spans.split`), for rewards of steps.
        tokenizer: of the policy, where steps are cut in tokens.
        reduce: how values of steps or tokens become the number TRL gets: "sum", "mean", "min", "last" ...
        on_error: what a batch is worth on which the reward raises: "raise" (training ends), "none" (no
            verdicts) or a number. Failures of single samples are missing in any case.
        asynchronous: make a coroutine function of it.
        needs: dataset columns that must be there, besides the ground truth.
        groups: the reward looks at whole groups. With guerdon's trainer, and groups that lie across
            processes, each process then scores all of them and keeps its own rows.
        reads: of completions that are messages: "all" of them, tools' answers included, or the last "reply"
            of the model alone.

    Raises:
        RecipeError: an unknown reward, or a failure policy that is none.
    """
    reward = built("reward", reward, "reward_func")
    check_worth(on_error, ("raise", "none"), "reward_func.on_error")
    if reads not in ("all", "reply"):
        raise RecipeError(f"reward_func.reads: expected 'all' or 'reply', got {reads!r}")
    kind = AsyncRewardFunction if asynchronous else RewardFunction
    label = name or str(reward.name)
    chosen = (reference, group_size, steps, tokenizer, reduce, on_error, needs, groups, reads)
    return kind(reward, label, *chosen)


def _check_tokenizer(rollouts: Rollouts, tokenizer: Any, name: str) -> None:
    """Raise DataError where none of the first texts is what the tokenizer makes of their tokens.

    White space does not count: decoding may drop a space at the start or before punctuation.
    """
    if tokenizer is None or rollouts.tokens is None or rollouts.completion is None:
        return
    rows = [i for i, text in enumerate(rollouts.completion[:8]) if isinstance(text, str) and text]
    told = {i: b"".join(tokenizer.token_bytes(rollouts.tokens[i].tolist())) for i in rows}
    read = {i: "".join(told[i].decode(errors="replace").split()) for i in rows}
    if rows and all(read[i] != "".join(rollouts.completion[i].split()) for i in rows):
        row = rows[0]
        raise DataError(
            f"reward {name!r}: its tokenizer is not the policy's: completion {row} is "
            f"{rollouts.completion[row][:40]!r}, and its tokens are {told[row][:40]!r}; hand over the "
            "tokenizer that the trainer has"
        )


def _reply(completion: Any) -> Any:
    """What the model said last; text as it is, and nothing where it said nothing."""
    if isinstance(completion, str):
        return completion
    said = [message for message in completion if message.get("role") == "assistant"]
    return said[-1:]


def context_of(state: Any) -> Context:
    """The moment of training, from TRL's trainer state."""
    step, total = getattr(state, "global_step", 0) or 0, getattr(state, "max_steps", 0) or 0
    return Context(progress=min(1.0, step / total) if total > 0 else 0.0, step=int(step))


def token_bytes_of(tokenizer: Any) -> Any:
    """A tokenizer of transformers as splitting needs it; one that has `token_bytes` already as it is."""
    if hasattr(tokenizer, "token_bytes"):
        return tokenizer
    from guerdon.engines.hf_tokenizer import HFTokenizer

    return HFTokenizer(getattr(tokenizer, "tokenizer", tokenizer))
