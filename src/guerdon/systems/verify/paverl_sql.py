"""PaVeRL-SQL: reward by the share of the gold table's cells that a query covers."""

from __future__ import annotations

from functools import partial

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict
from guerdon.systems.catalogue import system
from guerdon.verify.composite import Composite
from guerdon.verify.sql_parse import find_sql
from guerdon.verify.sql_partial import cell_fraction
from guerdon.verify.sql_reward import Runner, in_threads
from guerdon.verify.sql_tables import Limits, QueryFailed


@system(
    "paverl-sql",
    title="PaVeRL-SQL: Text-to-SQL via Partial-Match Rewards and Verbal Reinforcement Learning",
    arxiv="2509.07159",
    family="verify",
    kind="reward",
)
def paverl_sql(
    engine: str = "sqlite",
    root: str | None = None,
    database: str | None = None,
    scale: float = 10.0,
    floor: float = 0.5,
    cutoff: int = 5,
    match: str = "columns",
    min_length: int = 16,
    seconds: float = 120.0,
    workers: int = 1,
    on_error: str | float = "nan",
) -> Composite:
    """R_i = 10 cells_i, or 0.5 where the query runs and no cell matches, or 0 where it does not run.

    cells: (rows_matched * columns_matched) / (rows * columns) of the gold table, see
    `sql_partial.cell_fraction`. The query is the last ```sql fence; shorter than 16 characters is 0. Parts:
    `executes`, `cells` (both un-scaled).

    The reference is the gold query, or the gold table {columns, rows}; the database as in `verify.sql`.

    Args:
        engine, root, database, seconds, workers: see `verify.sql`.
        scale, floor: the 10 and the 0.5.
        cutoff: largest difference in row counts that is looked into.
        match: "columns" as published, or "rows": whole rows must agree, which a right column with rows mixed
            up does not fool.
        min_length: of the query.
        on_error: what a row without reference or database, or whose reference fails, is worth.

    Choosing among several queries by the model's own scores ("verbal RL") is `verify.self_scores`.

    Reference: PaVeRL-SQL, arXiv 2509.07159; accuracy_reward.py of PaVeRL-SQL/PaVeRL-SQL. Differences from
    that file: a single float column with superfluous rows is filtered like any other, a single gold column
    cannot match several predicted ones (there the share may exceed 1), and a gold that fails is missing.
    """
    if match not in ("columns", "rows"):
        raise RecipeError(f"paverl-sql: match must be columns or rows, got {match!r}")
    runner = Runner(engine, root, database, Limits(seconds=seconds))
    one = partial(_score, runner=runner, cutoff=cutoff, match=match, min_length=min_length)
    return Composite(
        "paverl-sql",
        partial(in_threads, score=one, workers=workers),
        {"executes": 0.0, "cells": 0.0},
        combine=partial(_combine, scale=scale, floor=floor),
        version=f"1-{engine}-{scale}-{floor}-{cutoff}-{match}-{min_length}-{seconds}",
        batch=True,
        bounded=True,
        on_error=on_error,
    )


def _score(row: Row, runner: Runner, cutoff: int, match: str, min_length: int) -> dict[str, float | Verdict]:
    database = runner.database_of(row)
    gold, _ = runner.gold(row, database)
    query = find_sql(row.completion, fenced=True) or ""
    said = (
        runner.predicted(query, database) if len(query) >= min_length else QueryFailed("error", "too short")
    )
    if isinstance(said, QueryFailed):
        return {"executes": Verdict(0.0, None, {"failure": str(said)}), "cells": 0.0}
    return {"executes": 1.0, "cells": cell_fraction(gold, said, cutoff, match)}


def _combine(parts: dict[str, float], scale: float, floor: float) -> float:
    return scale * parts["cells"] if parts["cells"] > 0 else floor * parts["executes"]
