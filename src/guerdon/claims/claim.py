"""A claim: two arms, one metric, paired seeds, a rule for the verdict that is fixed before looking."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.errors import RecipeError
from guerdon.registry import nearest

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
_T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
         2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
         2.045, 2.042)  # fmt: skip
"""Student's t, 97.5 % quantile for 1 to 30 degrees of freedom."""

Measured = float | Mapping[str, Any]
Run = Callable[[str, int, bool], Measured]


@dataclass(frozen=True)
class Claim:
    """One experiment.

    Attributes:
        slug: the system it is about.
        claim: what the publication promises, in our words, with its source.
        metric: what is measured, with its unit, and which way is better.
        baseline, system: names of the two arms, passed to `run`.
        run: (arm, seed, smoke) -> the metric of that arm under that seed, or a mapping with "value" and
            anything JSON-able worth keeping ("curve": list of numbers is plotted). `smoke` asks for a run of
            a second or two, for tests; its number means nothing. The same seed must give both arms the same
            problems and the same initial policy.
        higher: whether a higher metric is better.
        margin: the smallest difference that would count as the promised effect, in units of the metric; an
            interval that lies wholly below it says "not reproduced".
        seeds: how many, at least 5.
        notes: what was scaled down and how, and (once run) why the result is what it is.
    """

    slug: str
    claim: str
    metric: str
    baseline: str
    system: str
    run: Run = field(repr=False)
    higher: bool = True
    margin: float = 0.0
    seeds: int = 8
    notes: str = ""

    def __post_init__(self) -> None:
        if self.seeds < 5:
            raise RecipeError(f"claim {self.slug!r}: at least 5 seeds, got {self.seeds}")
        if self.margin < 0:
            raise RecipeError(f"claim {self.slug!r}: the margin must be 0 or more, got {self.margin}")

    def version(self) -> str:
        """Hash of the experiment's source: a result belongs to the code that made it."""
        module = inspect.getmodule(self.run)
        source = inspect.getsource(module) if module is not None else repr(self.run)
        text = "\n".join([source, str(self.seeds), str(self.margin)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Outcome:
    """The comparison of two arms over paired seeds.

    Attributes:
        difference: mean of (system - baseline), turned so that positive is better.
        low, high: its 95 % interval, Student's t on the paired differences.
        verdict: "reproduced" where low > 0; "not reproduced" where high <= 0 or high < margin;
            "inconclusive" otherwise.
    """

    difference: float
    low: float
    high: float
    verdict: str


def compare(
    baseline: Sequence[float], system: Sequence[float], higher: bool = True, margin: float = 0.0
) -> Outcome:
    """The verdict on paired values.

    Pairs with a missing member are left out; fewer than 5 complete pairs are inconclusive.
    """
    gaps = np.asarray(system, np.float64) - np.asarray(baseline, np.float64)
    gaps = (gaps if higher else -gaps)[~np.isnan(gaps)]
    n = len(gaps)
    if n < 2:
        return Outcome(float(gaps.mean()) if n else math.nan, math.nan, math.nan, INCONCLUSIVE)
    centre = float(gaps.mean())
    t = _T975[n - 2] if n - 2 < len(_T975) else 1.96
    half = t * float(gaps.std(ddof=1)) / math.sqrt(n)
    low, high = centre - half, centre + half
    if n < 5:
        verdict = INCONCLUSIVE
    elif low > 0:
        verdict = REPRODUCED
    elif high <= 0 or high < margin:
        verdict = NOT_REPRODUCED
    else:
        verdict = INCONCLUSIVE
    return Outcome(centre, low, high, verdict)


def slugs() -> dict[str, str]:
    """Slug -> module of every claim, sorted; read from file names, nothing is imported."""
    here = Path(__file__).parent
    files = [f for f in here.glob("*/*.py") if not f.stem.startswith("_")]
    return {
        f.stem.replace("_", "-"): f"guerdon.claims.{f.parent.name}.{f.stem}"
        for f in sorted(files, key=lambda f: f.stem)
    }


def find(slug: str) -> Claim:
    """The claim of a slug.

    Raises:
        RecipeError: there is none; the nearest slug is offered.
    """
    known = slugs()
    if slug not in known:
        raise RecipeError(f"no claim for {slug!r}{nearest(slug, known)}")
    return importlib.import_module(known[slug]).CLAIM
