"""Pre-training, mid-training and RL in a world small enough to control: four findings, each tried here.

    python examples/interplay/study.py [results.json] [seeds] [first]     4 minutes of one core per seed
    python examples/interplay/study.py results.json --plot docs/interplay_lab.png

The world is in world.py, the phases in phases.py. Findings are those of "On the Interplay of Pre-Training,
Mid-Training, and RL on Reasoning Language Models" (arXiv 2512.07783). Comparisons, metrics, margins and the
rule of the verdicts are in FINDINGS; they were written down before seeds 0, 1, ... were run (scales and step
sizes were chosen on seeds 1001 and 1002). Results are stored after every arm and a stopped run goes on.
docs/interplay_lab.md reads them.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from phases import EDGE, HARD, KNOWN, NEXT, Scale, measured, midtrain, pretrained, reinforce
from world import Quantities

from guerdon.claims.claim import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, compare
from guerdon.store.atomic import write_bytes

Values = dict[str, dict[str, float]]
TESTS = {
    "known": Quantities(KNOWN),
    "edge": Quantities(EDGE),
    "next": Quantities(NEXT),
    "hard": Quantities(HARD),
    "school": Quantities(KNOWN, "school"),
}


@dataclass(frozen=True)
class Comparison:
    """system against baseline, each given as "arm test metric" or as the difference of two such, "a - b"."""

    says: str
    baseline: str
    system: str
    margin: float
    higher: bool = True


FINDINGS = {
    "edge": (
        "RL yields true gains, beyond pass@k of the model it starts from, only where its data sit at the "
        "edge of competence and pre-training leaves room.",
        [
            Comparison("RL at the edge beats its base", "base edge pass@16", "rl edge pass@16", 5),
            Comparison("edge beats known data", "rl-known edge pass@16", "rl edge pass@16", 5),
            Comparison("edge beats hard data", "rl-hard edge pass@16", "rl edge pass@16", 5),
            Comparison(
                "more gain where there is room",
                "rl-known known pass@16 - base known pass@16",
                "rl edge pass@16 - base edge pass@16",
                5,
            ),
        ],
    ),
    "exposure": (
        "What was learnt in one context transfers to another by RL once pre-training held 1 % of it.",
        [Comparison("1 % against none", "rl-school-0 school pass@16", "rl-school-1 school pass@16", 5)],
    ),
    "mid-training": (
        "At an equal budget, half of it spent on mid-training gains more on hard problems than RL alone.",
        [Comparison("mid-training and RL against RL", "rl edge pass@16", "mid-rl edge pass@16", 5)],
    ),
    "process": (
        "Process-verified rewards lead to fewer right answers over wrong steps and to more faithful ones.",
        [
            Comparison("fewer invalid right answers", "rl-outcome edge invalid", "rl edge invalid", 5, False),
            Comparison("more faithful", "rl-outcome edge process", "rl edge process", 3),
        ],
    ),
}
"""A finding is reproduced where all its comparisons are, not reproduced where any is not."""

ALSO = [
    Comparison("10 % against none", "rl-school-0 school pass@16", "rl-school-10 school pass@16", 5),
    Comparison("RL after 10 % against its base", "base-10 school pass@16", "rl-school-10 school pass@16", 5),
    Comparison("mid-training, beyond its data", "rl next pass@16", "mid-rl next pass@16", 5),
    Comparison("mid-training, what it forgets", "rl known pass@1", "mid-rl known pass@1", 3),
    Comparison("mid-training, one draw", "rl edge pass@1", "mid-rl edge pass@1", 3),
    Comparison("RL at the edge, one draw", "base edge pass@1", "rl edge pass@1", 3),
    Comparison("process reward, one draw", "rl-outcome edge pass@1", "rl edge pass@1", 3),
    Comparison("no pay for lucky answers", "base edge pass@16", "rl-strict edge pass@16", 5),
    Comparison("no pay, edge against known", "rl-strict-known edge pass@16", "rl-strict edge pass@16", 5),
    Comparison("no pay, edge against hard", "rl-strict-hard edge pass@16", "rl-strict edge pass@16", 5),
    Comparison(
        "no pay, room",
        "rl-strict-known known pass@16 - base known pass@16",
        "rl-strict edge pass@16 - base edge pass@16",
        5,
    ),
    Comparison("no pay, against the answer only", "rl-outcome edge process", "rl-strict edge process", 3),
    Comparison("no pay, invalid", "rl-outcome edge invalid", "rl-strict edge invalid", 5, False),
    Comparison("no pay, against some", "rl edge pass@16", "rl-strict edge pass@16", 5),
    Comparison("1 % against none, answers only", "base-0 school right", "base-1 school right", 5),
    Comparison("RL after 1 %, answers only", "base-1 school right", "rl-school-1 school right", 5),
    Comparison("known data where known", "base known pass@1", "rl-known known pass@1", 3),
]
"""Looked at too, without a say in the verdicts. Added when two seeds had been seen: rl-strict (a right answer
over a wrong graph earns nothing), comparisons of answers only; when three had: rl-strict-known and -hard."""


class Seed:
    """All arms of one seed, one after another; `done` holds what is finished."""

    def __init__(self, seed: int, scale: Scale, done: Values, save: Callable[[], None]) -> None:
        self.seed, self.scale, self.done, self.save = seed, scale, done, save
        self.bases: dict[float, Any] = {}

    def run(self) -> None:
        """Every arm that is not done yet."""
        self._base("base", 0.0, ("known", "edge", "next", "hard", "school"))
        self._rl("rl", Quantities(EDGE))
        self._rl("rl-outcome", Quantities(EDGE), reward="outcome")
        self._rl("rl-known", Quantities(KNOWN))
        self._rl("rl-hard", Quantities(HARD))
        self._mid_rl()
        for arm, operations in (("rl-strict", EDGE), ("rl-strict-known", KNOWN), ("rl-strict-hard", HARD)):
            self._rl(arm, Quantities(operations), reward="strict", tests=("known", "edge"))
        for share in (0, 1, 10):
            self._base(f"base-{share}", share / 100, ("school",))
            self._rl(f"rl-school-{share}", TESTS["school"], share / 100, tests=("school",))

    def _engine(self, exposure: float) -> Any:
        if exposure not in self.bases:
            self.bases[exposure] = pretrained(self.scale, self.seed, exposure)
        return self.bases[exposure].clone(frozen=False)

    def _base(self, arm: str, exposure: float, tests: tuple[str, ...]) -> None:
        if arm not in self.done:
            self._keep(arm, self._engine(exposure), tests, 0.0)

    def _rl(
        self,
        arm: str,
        task: Any,
        exposure: float = 0.0,
        reward: str = "process",
        tests: tuple[str, ...] = ("known", "edge", "next", "hard"),
    ) -> None:
        if arm not in self.done:
            engine = self._engine(exposure)
            self._keep(arm, engine, tests, reinforce(engine, task, self.scale, self.seed, reward))

    def _mid_rl(self) -> None:
        if "mid-rl" not in self.done:
            engine, budget, task = self._engine(0.0), self.done["rl"]["cost"]["tokens"], Quantities(EDGE)
            spent = midtrain(engine, task, budget / 2, self.scale, self.seed)
            spent += reinforce(engine, task, self.scale, self.seed, budget=budget - spent)
            self._keep("mid-rl", engine, ("known", "edge", "next", "hard"), spent)

    def _keep(self, arm: str, engine: Any, tests: tuple[str, ...], cost: float) -> None:
        found = {test: measured(engine, TESTS[test], self.scale) for test in tests}
        self.done[arm] = {**found, "cost": {"tokens": cost}}
        self.save()


def run(out: Path, seeds: int, scale: Scale | None = None, first: int = 0) -> dict[str, Any]:
    """Run what `out` does not hold yet; returns the stored results with their verdicts."""
    scale = scale or Scale()
    settings = json.loads(json.dumps(asdict(scale)))
    kept: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"scale": settings, "seeds": {}}
    if kept["scale"] != settings:
        raise SystemExit(f"{out} holds results of another scale; choose another file")
    for seed in range(first, first + seeds):
        done = kept["seeds"].setdefault(str(seed), {})
        began = time.process_time()

        def save(done: Values = done, began: float = began, before: float = done.get("seconds", 0.0)) -> None:
            done["seconds"] = round(before + time.process_time() - began, 1)
            _write(out, kept)

        Seed(seed, scale, done, save).run()
        print(f"seed {seed}: {done['seconds']:.0f} s", flush=True)
    kept.update(verdicts(kept["seeds"]))
    _write(out, kept)
    return kept


def verdicts(seeds: dict[str, Values]) -> dict[str, Any]:
    """Every finding's comparisons over the seeds, and its verdict."""
    findings = {}
    for name, (says, comparisons) in FINDINGS.items():
        tried = [_tried(comparison, seeds) for comparison in comparisons]
        found = {one["verdict"] for one in tried}
        verdict = next((v for v in (NOT_REPRODUCED, INCONCLUSIVE) if v in found), REPRODUCED)
        findings[name] = {"finding": says, "verdict": verdict, "comparisons": tried}
    return {"findings": findings, "also": [_tried(comparison, seeds) for comparison in ALSO]}


def _tried(comparison: Comparison, seeds: dict[str, Values]) -> dict[str, Any]:
    arms = [
        [_value(seeds[seed], side) for seed in seeds] for side in (comparison.baseline, comparison.system)
    ]
    outcome = compare(arms[0], arms[1], comparison.higher, comparison.margin)
    return {**asdict(comparison), "values": arms, **asdict(outcome)}


def _value(done: Values, side: str) -> float:
    """The number an "arm test metric" names; of "a - b" the difference."""
    terms = [done[arm][test][metric] for arm, test, metric in map(str.split, side.split(" - "))]
    return terms[0] - sum(terms[1:])


def _write(path: Path, value: Any) -> None:
    text = json.dumps(_plain(value), indent=1)
    write_bytes(path, (text + "\n").encode(), "the study's results")


def _plain(value: Any) -> Any:
    """Rounded; NaN as null, which JSON has."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return (round(value, 6) if math.isfinite(value) else None) if isinstance(value, float) else value


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "interplay_lab.json")
    if "--plot" in sys.argv:
        from plot import draw

        draw(json.loads(file.read_text()), Path(sys.argv[sys.argv.index("--plot") + 1]))
    else:
        seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
        first = int(sys.argv[3]) if len(sys.argv) > 3 else 0
        for name, finding in run(file, seeds, first=first)["findings"].items():
            print(f"{name}: {finding['verdict']}")
