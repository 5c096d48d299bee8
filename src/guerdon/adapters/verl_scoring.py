"""Guerdon rewards on single samples of verl: what `verl_reward` does, without verl.

Enters: `reward.guerdon` of verl's configuration and samples. Leaves: for each a number with its parts, or the
failure that the user asked for; never a 0 that nobody gave.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from guerdon.adapters.verl_settings import plain_section
from guerdon.data import spans
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError, TrainingError
from guerdon.registry import build, nearest

_log = logging.getLogger("guerdon.verl")


@dataclass(frozen=True)
class RewardSettings:
    """`reward.guerdon` of verl's configuration.

    Attributes:
        rewards: name -> `{use: reward, parameter: value, weight: w}`. verl trains on the weighted sum.
            Weights are 1; where a part is called `outcome`, they are 1 for it and 0 for the others.
        use: short for `rewards: {outcome: {use: ...}}`. Rewards are registered names, or a user's own as
            `file.py:name` or `module:name`.
        on_error: what a sample without a verdict is worth: "raise" (the sample fails), "drop" (NaN: guerdon's
            estimators leave it out) or a number.
        steps: a splitter, for rewards of steps.
        tokens: hand token ids to the rewards, too, and count steps in tokens; default: text alone.
        reference: the column with the ground truth; None: `reward_model.ground_truth`.
    """

    rewards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    use: str | None = None
    on_error: str | float = "raise"
    steps: Any = None
    tokens: bool = False
    reference: str | None = None

    @classmethod
    def of(cls, section: Any) -> RewardSettings:
        """Settings from a section of verl's configuration.

        Raises:
            RecipeError: an unknown field, no reward, or a failure policy that is none.
        """
        given = plain_section(section, "reward.guerdon")
        known = [each.name for each in fields(cls)]
        for key in given:
            if key not in known:
                raise RecipeError(f"reward.guerdon.{key}: unknown field{nearest(key, known)}")
        found = cls(**given)
        if (found.use is None) == (not found.rewards):
            raise RecipeError(
                "reward.guerdon: name one reward (+reward.guerdon.use=verify.math) or several "
                "(+reward.guerdon.rewards.NAME.use=...)"
            )
        number = isinstance(found.on_error, int | float) and math.isfinite(found.on_error)
        if not number and found.on_error not in ("raise", "drop"):
            raise RecipeError(
                f"reward.guerdon.on_error: expected 'raise', 'drop' or a number, got {found.on_error!r}"
            )
        return found

    def check_estimator(self, estimator: str) -> None:
        """Refuse "drop" beside an estimator that takes NaN for a number.

        Raises:
            RecipeError: the estimator is not guerdon's.
        """
        if self.on_error == "drop" and not estimator.startswith("guerdon_"):
            raise RecipeError(
                f"reward.guerdon.on_error=drop gives NaN for a missing verdict, which {estimator!r} would "
                "spread over the group: use algorithm.adv_estimator=guerdon_..., on_error=raise or a number"
            )


@dataclass(frozen=True)
class Sample:
    """One response: its prompt (text or messages), text, token ids, ground truth and other columns."""

    prompt: Any
    text: str
    ids: np.ndarray
    reference: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)


class DenseScore(float):
    """A sample's number that knows where it comes from.

    Attributes:
        rewards: (end offset in tokens, value) pairs that sum to it.
    """

    rewards: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of(cls, rewards: Sequence[tuple[int, float]], total: float) -> DenseScore:
        """The number `total` made of `rewards`."""
        found = cls(total)
        found.rewards = tuple(rewards)
        return found


@dataclass(frozen=True)
class Scored:
    """What a sample got; `cause` says why there is no verdict, `failure` is what the reward raised."""

    score: DenseScore
    parts: Mapping[str, float]
    record: Mapping[str, Any]
    cause: str | None = None
    failure: Exception | None = None


class Scorer:
    """Scores samples, several at once.

    Args:
        settings: of the user.
        token_bytes: the policy's tokenizer (`trl_rewards.token_bytes_of`), needed for steps.

    Raises:
        RecipeError: an unknown reward or parameter, or steps without a tokenizer.
    """

    def __init__(self, settings: RewardSettings, token_bytes: Any = None) -> None:
        self.settings, self.token_bytes = settings, token_bytes
        specs = settings.rewards or {"outcome": {"use": settings.use}}
        self.weights: dict[str, float] = {}
        self.rewards: dict[str, Any] = {}
        for name, spec in specs.items():
            where = f"reward.guerdon.rewards.{name}"
            given = dict(plain_section(spec, where))
            own = 1.0 if "outcome" not in specs or name == "outcome" else 0.0
            self.weights[name] = float(given.pop("weight", own))
            self.rewards[name] = _made(given, where)
        if settings.steps is not None and token_bytes is None:
            raise RecipeError("reward.guerdon.steps cuts text: a tokenizer is needed")

    def __call__(self, samples: Sequence[Sample]) -> list[Scored]:
        """One result per sample. A sample's failure does not touch those scored with it."""
        try:
            return self._score(samples)
        except Exception as error:
            if len(samples) == 1:
                return [self._failed(samples[0], error)]
        return [self([sample])[0] for sample in samples]

    def settle(self, scored: Scored) -> DenseScore:
        """The number for verl, by the user's policy.

        Raises:
            TrainingError: no verdict, and the policy is "raise".
        """
        if scored.cause is None:
            return scored.score
        if self.settings.on_error == "raise":
            raise TrainingError(
                f"a sample has no reward: {scored.cause}; reward.guerdon.on_error says what it is worth then"
            ) from scored.failure
        if self.settings.on_error == "drop":
            return DenseScore(math.nan)
        return DenseScore(self.settings.on_error)

    def _score(self, samples: Sequence[Sample]) -> list[Scored]:
        rollouts, ends = self._rollouts(samples)
        signals = {name: reward(rollouts, None).renamed(name) for name, reward in self.rewards.items()}
        for name, signal in signals.items():
            if signal.level == "group":
                raise RecipeError(
                    f"the reward {name!r} compares samples of a prompt, and verl hands over one at a time"
                )
            rollouts.check_signal(signal, name)
        return [self._one(row, samples[row], rollouts, ends, signals) for row in range(len(samples))]

    def _rollouts(self, samples: Sequence[Sample]) -> tuple[Rollouts, Ragged | None]:
        """Rollouts of samples, and the ends of their steps in tokens."""
        tokens = Ragged.from_lists([sample.ids for sample in samples], np.int32)
        columns: dict[str, Any] = {
            "prompt": [sample.prompt for sample in samples],
            "reference": [sample.reference for sample in samples],
            "meta": [dict(sample.meta) for sample in samples],
            "completion": [sample.text for sample in samples],
        }
        if self.settings.tokens:
            columns["tokens"] = tokens
        if self.settings.steps is None:
            return Rollouts(**columns), None
        ends = spans.token_spans(tokens, spans.splitter(self.settings.steps), self.token_bytes)
        if not self.settings.tokens:
            texts = [self._text_ends(sample.ids, ends[row]) for row, sample in enumerate(samples)]
            columns["completion"] = [text for text, _ in texts]
            columns["partitions"] = {"step": Ragged.from_lists([cuts for _, cuts in texts], np.int64)}
        else:
            columns["partitions"] = {"step": ends}
        return Rollouts(**columns), ends

    def _text_ends(self, ids: np.ndarray, ends: np.ndarray) -> tuple[str, list[int]]:
        """The text of the tokens, and where in it the steps end, in characters."""
        pieces = self.token_bytes.token_bytes(ids.tolist())
        text = spans.decode(b"".join(pieces))[0]
        if not text:
            return text, []
        cuts = [len(spans.decode(b"".join(pieces[:end]))[0]) for end in ends.tolist()]
        if any(b <= a for a, b in zip([0, *cuts], cuts, strict=False)):
            raise DataError(
                "a step has no text of its own; count steps in tokens (reward.guerdon.tokens=true)"
            )
        return text, cuts

    def _one(
        self, row: int, sample: Sample, rollouts: Rollouts, ends: Ragged | None, signals: dict[str, Signal]
    ) -> Scored:
        parts, shown, dense, causes = {}, {}, [], []
        for name, signal in signals.items():
            offsets = rollouts.offsets(signal.level)
            values = signal.values[offsets[row] : offsets[row + 1]]
            parts[name] = float(values.sum())
            shown[name] = {
                "level": signal.level,
                "values": [None if math.isnan(value) else value for value in values.tolist()],
            }
            weight = self.weights[name]
            if weight and np.isnan(values).any():
                at = offsets[row] + int(np.flatnonzero(np.isnan(values))[0])
                causes.append(f"{name}: {signal.causes.get(int(at), 'no cause was given')}")
            elif weight:
                places = _places(signal.level, len(values), len(sample.ids), ends, row)
                dense += [(at, weight * value) for at, value in zip(places, values.tolist(), strict=True)]
        record: dict[str, Any] = {"signals": shown}
        if ends is not None:
            record["steps"] = ends[row].tolist()
        total = sum((value for _, value in dense), 0.0)
        score = DenseScore.of(dense, total) if not causes else DenseScore(math.nan)
        return Scored(score, parts, record, "; ".join(causes) or None)

    def _failed(self, sample: Sample, error: Exception) -> Scored:
        cause = f"{type(error).__name__}: {error}"
        _log.warning("guerdon: the reward of a sample failed: %s", cause)
        parts = dict.fromkeys(self.rewards, math.nan)
        return Scored(DenseScore(math.nan), parts, {}, cause, error)


def _made(given: Mapping[str, Any], where: str) -> Any:
    """A registered reward, or one from a user's `file.py:name` or `module:name`."""
    use = str(given.get("use", ""))
    if ":" not in use:
        return build("reward", given, where)
    from guerdon.score.loading import load
    from guerdon.score.spec import make_spec

    return load(make_spec(where, use, {key: value for key, value in given.items() if key != "use"}))


def _places(level: str, count: int, length: int, ends: Ragged | None, row: int) -> list[int]:
    """End offset in tokens of every span of a level; several spans where there are no tokens share 0."""
    if level == "token":
        return list(range(1, count + 1))
    if level == "step" and ends is not None and len(ends[row]) == count:
        return [int(end) for end in ends[row]]
    if count > 1:
        raise DataError(f"values per {level} have no place in the tokens: set reward.guerdon.steps")
    return [length] * count


def extra_info(scored: Scored) -> dict[str, Any]:
    """verl's `reward_extra_info`: the parts, whether there was no verdict, and the record as text."""
    return {
        **scored.parts,
        "missing": float(scored.cause is not None),
        "guerdon": json.dumps(scored.record, allow_nan=False),
    }
