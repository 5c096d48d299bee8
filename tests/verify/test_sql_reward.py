"""`verify.sql`: databases found, verdicts, causes."""

from __future__ import annotations

import math
import pickle
import sqlite3

import numpy as np
import pytest

from guerdon.data.rollouts import Rollouts
from guerdon.errors import RecipeError
from guerdon.verify import sql_reward
from guerdon.verify.sql_reward import sql

pytest.importorskip("sqlglot")
SETUP = "CREATE TABLE t(a INT, b REAL); INSERT INTO t VALUES (1, 0.5), (2, 1.5), (2, 1.5);"


def rollouts(*said: str, reference="SELECT a, b FROM t", **meta) -> Rollouts:
    meta = {"setup": SETUP, **meta}
    return Rollouts(
        completion=[f"```sql\n{query}\n```" for query in said],
        reference=[reference] * len(said),
        meta=[meta] * len(said),
    )


def values(reward, *said: str, **inputs) -> list[float]:
    return reward(rollouts(*said, **inputs)).values.tolist()


def test_verdicts_by_rule():
    said = (
        "SELECT a, b FROM t ORDER BY a DESC",
        "SELECT DISTINCT a, b FROM t",
        "SELECT b, a FROM t",
        "SELECT nope",
    )
    assert values(sql(), *said) == [1, 0, 0, 0]
    assert values(sql(duplicates="drop"), *said) == [1, 1, 0, 0]
    assert values(sql(columns="any"), *said) == [1, 0, 1, 0]
    assert values(sql(order="strict"), *said) == [0, 0, 0, 0]
    ordered = "SELECT a, b FROM t ORDER BY a"
    assert values(sql(), "SELECT a, b FROM t ORDER BY a DESC", ordered, reference=ordered) == [0, 1]
    assert values(sql(order="ignore"), "SELECT a, b FROM t ORDER BY a DESC", reference=ordered) == [1]
    assert values(sql(), "SELECT a, b + 1e-12 FROM t") == [1]
    assert values(sql(tolerance=0.0), "SELECT a, b + 1e-12 FROM t") == [0]


def test_failures_are_told_apart_in_the_details():
    found = sql(seconds=0.3).verdicts(
        rollouts(
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT * FROM r", "DROP TABLE t"
        )
    )
    assert [v.value for v in found] == [0.0, 0.0]
    parts = sql().parts(rollouts("SELECT a FROM t", "SELEC"))
    assert parts["executes"].values.tolist() == [1.0, 0.0]


def test_databases_by_name(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    for path in (folder / "shop.sqlite", tmp_path / "flat.db"):
        with sqlite3.connect(path) as connection:
            connection.executescript(SETUP)
        connection.close()
    reward = sql(root=str(tmp_path))
    rows = Rollouts(
        completion=["SELECT a, b FROM t"] * 5,
        reference=["SELECT a, b FROM t"] * 5,
        meta=[
            {"db_id": "shop"},
            {"db_id": "flat"},
            {"db": str(tmp_path / "flat.db")},
            {"db_id": "../x"},
            {"db_id": "no"},
        ],
    )
    signal = reward(rows)
    np.testing.assert_equal(signal.values, [1, 1, 1, np.nan, np.nan])
    assert "plain name" in signal.causes[3] and "no database for db_id 'no'" in signal.causes[4]
    default = sql(database=str(tmp_path / "flat.db"))
    assert default(Rollouts(completion=["SELECT 1 AS a"], reference=["SELECT 1"])).values.tolist() == [1.0]


def test_references_as_tables_and_as_mappings():
    table = {"columns": ["a", "b"], "rows": [[1, 0.5], [2, 1.5], [2, 1.5]]}
    assert values(sql(), "SELECT a, b FROM t", reference=table) == [1]
    records = {"rows": [{"a": 1, "b": 0.5}, {"a": 2, "b": 1.5}, {"a": 2, "b": 1.5}]}
    assert values(sql(), "SELECT a, b FROM t", reference=records) == [1]
    assert values(sql(), "SELECT a, b FROM t", reference={"sql": "SELECT a, b FROM t"}) == [1]
    ragged = {"rows": [[1, 2], [3]]}
    assert "differ in width" in sql()(rollouts("SELECT 1", reference=ragged)).causes[0]


def test_causes_policies_and_pickling():
    for reference, cause in (
        (None, "no reference"),
        ("SELECT nope FROM t", "reference query failed"),
        (7, "no reference"),
    ):
        signal = sql()(rollouts("SELECT 1", reference=reference))
        assert math.isnan(signal.values[0]) and cause in signal.causes[0]
    assert values(sql(on_error=-1.0), "SELECT 1", reference=None) == [-1.0]
    assert "no database" in sql()(Rollouts(completion=["SELECT 1"], reference=["SELECT 1"])).causes[0]
    assert len(sql()(Rollouts(completion=[]))) == 0
    again = pickle.loads(pickle.dumps(sql(columns="any", workers=2)))
    assert values(again, "SELECT b, a FROM t", "SELECT a FROM t") == [1, 0]
    with pytest.raises(RecipeError, match=r"verify\.sql\.order"):
        sql(order="sorted")
    with pytest.raises(RecipeError, match="engine"):
        sql(engine="postgres")


def test_equal_rows_run_once(monkeypatch):
    ran = []
    run = sql_reward.execute
    monkeypatch.setattr(sql_reward, "execute", lambda *a: ran.append(a) or run(*a))
    said = ["SELECT a, b FROM t"] * 8 + ["SELECT a FROM t"] * 8
    for workers in (1, 4):
        ran.clear()
        assert values(sql(workers=workers), *said) == [1.0] * 8 + [0.0] * 8 and len(ran) == 3


def test_duckdb_agrees_with_sqlite():
    pytest.importorskip("duckdb")
    said = ("SELECT a, b FROM t", "SELECT a, avg(b) FROM t GROUP BY a", "SELECT a FROM t")
    reference = "SELECT a, sum(b)/count(*) FROM t GROUP BY a"
    assert (
        values(sql("duckdb"), *said, reference=reference)
        == values(sql(), *said, reference=reference)
        == [0, 1, 0]
    )
