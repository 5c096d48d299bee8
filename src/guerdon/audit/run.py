"""The audit: every attack against a reward, false-positive rates with intervals, and what sways it."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from guerdon.audit.attacks import ATTACKS, FALSE, SWAY, Attack
from guerdon.audit.items import Item
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.registry import nearest

_Z = 1.959963984540054
_SHOWN = 200


@dataclass(frozen=True)
class Finding:
    """How one attack went.

    Attributes:
        attack, kind, what: see `Attack`.
        n: completions scored; `missing` more had no score.
        paid: false-positive attacks: how many reached the threshold; sway attacks: how many moved it.
        rate, low, high: paid / n with its Wilson 95 % interval.
        mean: mean reward; of sway attacks, mean change against the base.
        worst: the best-paid completion, and what it got.
    """

    attack: str
    kind: str
    what: str
    n: int
    missing: int
    paid: int
    rate: float
    low: float
    high: float
    mean: float
    worst: dict[str, Any]


@dataclass
class Audit:
    """The report.

    Attributes:
        reward, items, threshold: what was audited with what; a completion is paid from the threshold on.
        accuracy: share of right completions that are paid (true-positive rate).
        order: largest change of a reward when the group's members are given in another order.
        findings: one per attack.
        causes: why completions had no score.
        curve: over-optimisation, see `optimise`.
    """

    reward: str
    items: int
    threshold: float
    accuracy: float
    order: float
    findings: list[Finding]
    causes: dict[str, int] = field(default_factory=dict)
    curve: dict[str, Any] | None = None

    @property
    def false_positives(self) -> int:
        """Completions without a right answer that were paid."""
        return sum(f.paid for f in self.findings if f.kind == FALSE)

    @property
    def max_fpr(self) -> float:
        """False-positive rate of the worst attack."""
        return max((f.rate for f in self.findings if f.kind == FALSE and f.n), default=math.nan)

    @property
    def mean_fpr(self) -> float:
        """Mean over the attacks."""
        rates = [f.rate for f in self.findings if f.kind == FALSE and f.n]
        return float(np.mean(rates)) if rates else math.nan

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "reward": self.reward,
            "items": self.items,
            "threshold": self.threshold,
            "accuracy": self.accuracy,
            "false_positives": self.false_positives,
            "max_fpr": self.max_fpr,
            "mean_fpr": self.mean_fpr,
            "order_change": self.order,
            "attacks": {f.attack: asdict(f) for f in self.findings},
            "causes": self.causes,
            "curve": self.curve,
        }


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    if n == 0:
        return math.nan, math.nan
    p, z2 = k / n, _Z * _Z
    centre, half = p + z2 / (2 * n), _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))


def audit(
    reward: Any,
    items: Sequence[Item],
    name: str = "reward",
    attacks: Sequence[str] | None = None,
    threshold: float | None = None,
    seed: int = 0,
    watch: Callable[[int], None] | None = None,
    full: bool = False,
) -> Audit:
    """Attack a reward.

    Args:
        reward: any `Reward` with one value per rollout.
        items: problems with known answers.
        attacks: names of `ATTACKS`; None: all.
        threshold: reward from which a completion counts as paid; None: half of what right completions get
            at the median.
        full: without a threshold, all of that median: for rewards that give partial credit by design.
        watch: told of every attack finished.

    Raises:
        RecipeError: an unknown attack. DataError: no items, a reward that scores no right completion, or one
            at another level.
    """
    if not items:
        raise DataError("an audit needs at least one item")
    names = list(ATTACKS) if attacks is None else list(attacks)
    for one in names:
        if one not in ATTACKS:
            raise RecipeError(f"unknown attack {one!r}{nearest(one, ATTACKS)}")
    causes: Counter[str] = Counter()
    right = _score(reward, items, [[item.write(item.answer)] for item in items], causes)
    known = right[~np.isnan(right)]
    if len(known) == 0:
        why = ", ".join(causes) or "no cause given"
        raise DataError(
            f"{name} scores none of the right completions ({why}); audit it with items that suit it"
        )
    if threshold is None:
        middle = float(np.median(known))
        threshold = (middle if full else middle / 2) if middle > 0 else 0.5
    findings = []
    for one in names:
        findings.append(_attack(reward, items, ATTACKS[one], threshold, seed, causes))
        if watch is not None:
            watch(1)
    order = _order_change(reward, items, causes)
    accuracy = float(np.mean(known >= threshold))
    return Audit(name, len(items), threshold, accuracy, order, findings, dict(causes.most_common(20)))


def _attack(
    reward: Any, items: Sequence[Item], attack: Attack, threshold: float, seed: int, causes: Counter[str]
) -> Finding:
    texts = [attack.write(item, random.Random(f"{seed} {attack.name} {i}")) for i, item in enumerate(items)]
    values = _score(reward, items, texts, causes)
    flat = [(item, text) for item, some in zip(items, texts, strict=True) for text in some]
    if attack.kind == SWAY:
        base = np.repeat([values[start] for start in _starts(texts)], [len(some) for some in texts])
        first = np.zeros(len(values), bool)
        first[_starts(texts)] = True
        measured, keep = values - base, ~first & ~np.isnan(values - base)
        paid = int((np.abs(measured[keep]) > 1e-9).sum())
        order = np.where(keep, np.abs(measured), -np.inf)
    else:
        measured, keep = values, ~np.isnan(values)
        paid = int((values[keep] >= threshold).sum())
        order = np.where(keep, values, -np.inf)
    n = int(keep.sum())
    worst: dict[str, Any] = {}
    if n:
        at = int(np.argmax(order))
        worst = {
            "prompt": flat[at][0].prompt[:_SHOWN],
            "completion": flat[at][1][:_SHOWN],
            "got": float(measured[at]),
        }
    low, high = wilson(paid, n)
    rate, mean = (paid / n, float(measured[keep].mean())) if n else (math.nan, math.nan)
    missing = len(values) - n - (len(items) if attack.kind == SWAY else 0)
    return Finding(attack.name, attack.kind, attack.what, n, missing, paid, rate, low, high, mean, worst)


def _starts(texts: Sequence[Sequence[str]]) -> np.ndarray:
    return np.cumsum([0, *(len(some) for some in texts[:-1])])


def _score(
    reward: Any, items: Sequence[Item], texts: Sequence[Sequence[str]], causes: Counter[str]
) -> np.ndarray:
    """Rewards of all completions of all items, flat; the completions of an item form a group."""
    group = np.repeat(np.arange(len(items)), [len(some) for some in texts])
    if len(group) == 0:
        return np.empty(0)
    signal = reward(_rollouts(items, group, [text for some in texts for text in some]))
    if signal.level != "rollout":
        raise DataError(f"an audit needs one value per completion; this reward gives one per {signal.level}")
    causes.update(signal.causes.values())
    return np.asarray(signal.values, np.float64)


def _rollouts(items: Sequence[Item], group: np.ndarray, texts: list[str]) -> Rollouts:
    rows = group.tolist()
    return Rollouts(
        prompt=[items[i].prompt for i in rows],
        completion=texts,
        reference=[items[i].reference for i in rows],
        meta=[dict(items[i].meta) for i in rows],
        group=group,
    )


def _order_change(reward: Any, items: Sequence[Item], causes: Counter[str]) -> float:
    """Largest change of any reward when each group is given in reverse."""
    few = items[:16]
    texts = [[item.write(item.answer), *map(item.write, item.wrong)] for item in few]
    forward = _score(reward, few, texts, causes)
    backward = _score(reward, few, [some[::-1] for some in texts], causes)
    ends = np.cumsum([len(some) for some in texts])[:-1]
    restored = np.concatenate([part[::-1] for part in np.split(backward, ends)])
    change = np.abs(forward - restored)
    return float(np.nanmax(change)) if np.isfinite(change).any() else math.nan
