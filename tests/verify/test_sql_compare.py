"""Tables compared, partial matches, and what a query names."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.verify.sql_compare import same_rows, same_table, same_value
from guerdon.verify.sql_parse import find_sql, is_ordered, schema_items, word_bigrams
from guerdon.verify.sql_partial import cell_fraction, typed
from guerdon.verify.sql_tables import Table


def table(*rows, width: int | None = None) -> Table:
    width = len(rows[0]) if rows else width or 1
    return Table(tuple(f"c{i}" for i in range(width)), [tuple(row) for row in rows])


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1.0, True),
        (True, 1, True),
        (1, 2, False),
        (10**6, 10**6 + 1, False),  # integers are exact
        (0.1 + 0.2, 0.3, True),
        (1e12, 1e12 + 1.0, True),
        (1.0, 1.0001, False),
        (None, None, True),
        (None, 0, False),
        (None, "", False),
        ("1", 1, False),
        ("a", "A", False),
        ("a", b"a", False),
        (float("nan"), float("nan"), True),
        (float("inf"), float("inf"), True),
        (float("inf"), 1e308, False),
    ],
)
def test_cells(a, b, equal):
    assert same_value(a, b) == same_value(b, a) == equal


def test_order_duplicates_and_columns():
    gold = table((1, "a"), (2, "b"), (2, "b"))
    turned = table((2, "b"), (1, "a"), (2, "b"))
    assert same_table(gold, turned) and not same_table(gold, turned, ordered=True)
    once = table((1, "a"), (2, "b"))
    assert not same_table(gold, once) and same_table(gold, once, duplicates="drop")
    swapped = table(("a", 1), ("b", 2), ("b", 2))
    assert not same_table(gold, swapped) and same_table(gold, swapped, columns="any")
    assert not same_table(gold, table((1, "a", 0), (2, "b", 0), (2, "b", 0)), columns="any")


def test_right_columns_with_rows_mixed_up_are_wrong():
    gold, mixed = table((1, "a"), (2, "b")), table(("b", 1), ("a", 2))
    assert not same_table(gold, mixed, columns="any")


def test_rounding_is_forgiven_wherever_it_falls():
    third = 1 / 3
    gold = table((third, "x"), (2 * third, "y"), (1.0, None))
    said = table((0.66666667, "y"), (1, None), (0.33333333, "x"))
    assert same_table(gold, said) and not same_table(gold, said, tolerance=0.0)
    assert same_table(gold, table(("y", 0.66666667), (None, 1), ("x", 0.33333333)), columns="any")


def test_close_numbers_are_paired_one_to_one():
    assert same_rows([(1.0, 5.0), (1.0000001, 3.0)], [(1.0000001, 5.0), (1.0, 3.0)], tolerance=1e-3)
    assert not same_rows([(1.0,), (1.0,), (1.9,)], [(1.0,), (1.9,), (1.9,)], tolerance=1e-3)


def test_empty_tables_compare_their_width():
    assert same_table(table(width=2), table(width=2), columns="any")
    assert not same_table(table(width=2), table(width=3))


def test_many_equal_columns_are_no_trap():
    rng = random.Random(0)
    wide = [[rng.randint(0, 1) for _ in range(14)] for _ in range(60)]
    order = list(range(14))
    rng.shuffle(order)
    assert same_table(table(*wide), table(*([row[i] for i in order] for row in wide)), columns="any")
    flipped = [[1 - cell if j == 3 else cell for j, cell in enumerate(row)] for row in wide]
    same_table(table(*wide), table(*flipped), columns="any")  # ends


cells = st.one_of(st.none(), st.integers(-2, 2), st.floats(-2, 2), st.sampled_from(["a", "b"]))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_permutations_are_equal_and_equality_is_symmetric(rows, rng):
    order = list(range(3))
    rng.shuffle(order)
    turned = [tuple(row[i] for i in order) for row in rows]
    rng.shuffle(turned)
    a, b = table(*rows), table(*turned)
    assert same_table(a, b, columns="any") and same_table(b, a, columns="any")
    assert cell_fraction(a, b) == 1.0
    changed = table(*[(*row[:2], "other") for row in rows])
    assert same_table(a, changed, columns="any") == same_table(changed, a, columns="any")


def test_typed_columns_read_as_a_data_frame_would():
    assert (
        typed([1, 2]).kind == "int" and typed([1, None]).kind == "float" and typed(["1", "2"]).kind == "int"
    )
    assert (
        typed(["1", "x"]).kind == "text" and typed(["1.5", None]).kind == "float" and typed([]).kind == "text"
    )


def test_share_of_cells_never_leaves_its_range():
    rng = random.Random(1)

    def some():
        width = rng.randint(1, 3)
        return table(
            *([rng.choice([1, 2.5, "a", None]) for _ in range(width)] for _ in range(rng.randint(0, 8))),
            width=width,
        )

    for match in ("columns", "rows"):
        for _ in range(300):
            gold = some()
            assert 0.0 <= cell_fraction(gold, some(), match=match) <= 1.0
            assert cell_fraction(gold, gold, match=match) == 1.0


def test_queries_in_completions():
    assert find_sql("```sql\nSELECT 1\n```\n```sql\nSELECT 2;\n```") == "SELECT 2;"
    assert (
        find_sql("```\nselect 1\n```") == "select 1" and find_sql("```\nselect 1\n```", fenced=True) is None
    )
    assert find_sql("<answer>WITH a AS (SELECT 1) SELECT * FROM a</answer>").startswith("WITH")
    assert find_sql("SELECT 1") == "SELECT 1" and find_sql("I select this") is None and find_sql("") is None
    assert find_sql("```sql\nN/A") is None


def test_schema_items():
    pytest.importorskip("sqlglot")
    assert schema_items("SELECT T1.Name, count(*) AS n FROM Tab T1 GROUP BY T1.Name ORDER BY n") == {
        "tab",
        "name",
    }
    assert schema_items("WITH c AS (SELECT a AS z FROM t) SELECT z FROM c") == {"a", "t"}
    assert schema_items("SELECT x.total FROM (SELECT sum(a) AS total FROM t) x") == {"a", "t"}
    assert schema_items(
        "SELECT a FROM t JOIN u USING (k) WHERE b IN (SELECT c FROM v WHERE v.d = t.e)"
    ) == set("atukbcvde")
    assert schema_items("SELECT * FROM t") == {"t"} and schema_items("SELECT 1, 'x'") == set()
    for broken in ("SELEC", "SELECT 1; SELECT 2", "DROP TABLE t", "SELECT " + "(" * 3000, "x" * 10_000):
        assert schema_items(broken) is None


def test_order_by_counts_outside_only():
    pytest.importorskip("sqlglot")
    assert is_ordered("SELECT a FROM t ORDER BY a") and is_ordered("(SELECT 1) UNION SELECT 2 order  by 1")
    assert not is_ordered("SELECT a FROM (SELECT a FROM t ORDER BY a LIMIT 3)")
    assert not is_ordered("SELECT sum(a) OVER (ORDER BY b) FROM t")
    assert word_bigrams("SELECT a  FROM t") == {("select", "a"), ("a", "from"), ("from", "t")}
