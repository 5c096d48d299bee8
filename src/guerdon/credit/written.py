"""Compositions written out in recipes: `credit: {use: levels, levels: [...]}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.credit.backups import (
    GAE,
    AddOutcome,
    Chain,
    Min,
    Own,
    RewardToGo,
    Scale,
    SoftMin,
    SuffixMaxScale,
)
from guerdon.credit.baselines import (
    LeaveOneOut,
    LengthWeightedMean,
    Mean,
    MeanStd,
    MergeMean,
    Minus,
    MovingMean,
    NonzeroScale,
    Raw,
    TopGap,
)
from guerdon.credit.compose import Compare, Credit, Level, Whiten
from guerdon.credit.edges import Edges
from guerdon.credit.groupings import Labelling, by
from guerdon.credit.placing import Fill, Place, ZeroLast
from guerdon.credit.sources import Differences, LogRatio, LookAhead, Mixed, Moved
from guerdon.credit.stages import MinusColumn, MinusLogRatio, ReplaceLast, Returns
from guerdon.credit.thoughts import ThoughtRewards
from guerdon.credit.token_baselines import (
    DenseLeaveOneOut,
    ReturnLeaveOneOut,
    StepLeaveOneOut,
    TokenLeaveOneOut,
)
from guerdon.credit.trees import NodeRewards, ShareNodes
from guerdon.credit.votes import Votes
from guerdon.errors import RecipeError
from guerdon.registry import check_parameters, nearest

Table = Mapping[str, Any]

BACKUPS: Table = {
    "own": Own,
    "scale": Scale,
    "reward_to_go": RewardToGo,
    "gae": GAE,
    "min": Min,
    "softmin": SoftMin,
    "suffix_max_scale": SuffixMaxScale,
    "add_outcome": AddOutcome,
}
BASELINES: Table = {
    "none": Raw,
    "mean": Mean,
    "loo": LeaveOneOut,
    "mean_std": MeanStd,
    "length_weighted_mean": LengthWeightedMean,
    "minus": Minus,
    "moving_mean": MovingMean,
    "merge_mean": MergeMean,
    "nonzero_scale": NonzeroScale,
    "top_gap": TopGap,
    "dense_loo": DenseLeaveOneOut,
    "token_loo": TokenLeaveOneOut,
    "step_loo": StepLeaveOneOut,
    "return_loo": ReturnLeaveOneOut,
}
SOURCES: Table = {
    "moved": Moved,
    "differences": Differences,
    "look_ahead": LookAhead,
    "log_ratio": LogRatio,
    "votes": Votes,
    "thoughts": ThoughtRewards,
    "nodes": NodeRewards,
}
STAGES: Table = {
    "place": Place,
    "fill": Fill,
    "zero_last": ZeroLast,
    "replace_last": ReplaceLast,
    "minus_column": MinusColumn,
    "minus_log_ratio": MinusLogRatio,
    "returns": Returns,
    "share_nodes": ShareNodes,
    **{name: BACKUPS[name] for name in ("scale", "reward_to_go", "gae")},
}


def levels(levels: Sequence[Mapping[str, Any]], whiten: bool = False) -> Credit:
    """A composition written out in a recipe.

    Every piece is a name or `{use: name, parameter: value}`.

    Args:
        levels: one mapping per source, with the fields of `Level`: `source` (a signal's name, or a piece that
            makes one; `{use: mixed, parts: [[source, weight], ...], level: step}` adds sources before they
            are compared), and optionally `span`, `backup` (a piece or a list of them), `group` (keys of
            `by`, or `{use: edges, ...}`), `baseline`, `then` (a list of stages; `{use: compare, group: ...,
            baseline: ...}` compares once more) and `weight` (a number, or a schedule such as
            `{use: linear, start: 1.0, end: 0.0}`).
        whiten: whiten the sum over all chosen tokens.

    Raises:
        RecipeError: an unknown field or name.
    """
    built = [_level(spec, f"levels.{i}") for i, spec in enumerate(levels)]
    return Credit(built, whiten=Whiten() if whiten else None, name="levels")


def _level(spec: Mapping[str, Any], where: str) -> Level:
    if not isinstance(spec, Mapping) or "source" not in spec:
        raise RecipeError(f"{where}: expected a mapping with at least the field 'source'")
    check_parameters(Level, spec, where)
    readers = {
        "source": _source,
        "group": _group,
        "backup": _backup,
        "baseline": lambda given, at: _piece(given, BASELINES, at),
        "then": _stages,
        "weight": _weight,
    }
    try:
        return Level(**{k: readers[k](v, f"{where}.{k}") if k in readers else v for k, v in spec.items()})
    except (RecipeError, TypeError) as error:
        placed = str(error).startswith(where)
        raise RecipeError(str(error) if placed else f"{where}: {error}") from error


def _source(given: Any, where: str) -> Any:
    if isinstance(given, str):
        return given
    if isinstance(given, Mapping) and given.get("use") == "mixed":
        rest = {key: value for key, value in given.items() if key not in ("use", "parts")}
        parts = tuple((_source(source, where), float(weight)) for source, weight in given.get("parts", ()))
        check_parameters(Mixed, rest, where, supplied=("parts",))
        return Mixed(parts, **rest)
    return _piece(given, SOURCES, where)


def _backup(given: Any, where: str) -> Any:
    if isinstance(given, Sequence) and not isinstance(given, str):
        return Chain(tuple(_piece(each, BACKUPS, f"{where}.{i}") for i, each in enumerate(given)))
    return _piece(given, BACKUPS, where)


def _group(given: Any, where: str) -> Labelling:
    if isinstance(given, Mapping):
        return _piece(given, {"edges": Edges}, where)
    return by(*([given] if isinstance(given, str) else given))


def _stages(given: Any, where: str) -> tuple[Any, ...]:
    found = []
    for i, each in enumerate([given] if isinstance(given, str | Mapping) else given):
        at = f"{where}.{i}"
        if isinstance(each, Mapping) and each.get("use") == "compare":
            check_parameters(Compare, {k: v for k, v in each.items() if k != "use"}, at)
            found.append(
                Compare(_group(each["group"], at), _piece(each["baseline"], BASELINES, f"{at}.baseline"))
            )
        else:
            found.append(_piece(each, STAGES, at))
    return tuple(found)


def _weight(given: Any, where: str) -> Any:
    if not isinstance(given, Mapping):
        return given
    from guerdon.shape.schedules import SCHEDULES

    return _piece(given, SCHEDULES, where)


def _piece(spec: Any, table: Table, where: str) -> Any:
    """An object from its name or `{use: name, ...}`."""
    given = {"use": spec} if isinstance(spec, str) else spec
    use = given.get("use") if isinstance(given, Mapping) else given
    if not isinstance(use, str) or use not in table:
        raise RecipeError(f"{where}: unknown name {use!r}{nearest(str(use), table)}")
    parameters = {key: value for key, value in given.items() if key != "use"}
    check_parameters(table[use], parameters, where)
    try:
        return table[use](**parameters)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
