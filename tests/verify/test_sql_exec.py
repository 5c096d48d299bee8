"""SQL execution: hostile queries are stopped, refused and contained; databases stay as they were."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from guerdon.verify import sql_exec
from guerdon.verify.sql_exec import close_workers, execute
from guerdon.verify.sql_tables import Database, Limits, QueryFailed

SETUP = "CREATE TABLE t(a INT, b TEXT); INSERT INTO t VALUES (1,'x'),(2,'y'),(3,NULL);"
FAST = Limits(seconds=0.4)
ENGINES = [
    "sqlite",
    pytest.param(
        "duckdb",
        marks=pytest.mark.skipif(
            not __import__("importlib").util.find_spec("duckdb"), reason="duckdb is not installed"
        ),
    ),
]


def run(query: str, engine: str = "sqlite", limits: Limits = FAST):
    return execute(query, Database(engine, setup=SETUP), limits)


def failure(query: str, engine: str = "sqlite", limits: Limits = FAST) -> str:
    with pytest.raises(QueryFailed) as caught:
        run(query, engine, limits)
    print(caught.value)  # shown where a test fails
    return caught.value.kind


def alive() -> int:
    """Worker processes that belong to this one."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"guerdon.verify.sql_worker" in (folder / "cmdline").read_bytes():
                found += f"PPid:\t{os.getpid()}\n" in (folder / "status").read_text()
        except OSError:
            continue
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_gives_its_table(engine):
    table = run("SELECT a, b AS name FROM t ORDER BY a DESC", engine)
    assert table.columns == ("a", "name") and table.rows == [(3, None), (2, "y"), (1, "x")]
    assert run("WITH c AS (SELECT 1.5 AS v) SELECT v, CAST('q' AS TEXT) FROM c", engine).rows == [(1.5, "q")]
    assert run("SELECT a FROM t WHERE 0=1", engine).shape == (0, 1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT count(*) FROM r",
        "SELECT count(*) FROM " + ", ".join(f"t t{i}" for i in range(22)),
        "SELECT a.a FROM " + ", ".join(f"t {c}" for c in "abcdefghijklmnopqrstu") + " ORDER BY random()",
    ],
)
def test_endless_queries_are_stopped(engine, query):
    start = time.monotonic()
    assert failure(query, engine) in ("timeout", "memory", "rows")
    assert time.monotonic() - start < FAST.seconds + sql_exec.GRACE + 2
    assert run("SELECT 1", engine).rows == [(1,)]


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO t VALUES (4,'z')",
        "UPDATE t SET a = 0",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE u(a INT)",
        "CREATE TEMP TABLE u AS SELECT 1 AS a",
        "CREATE VIEW v AS SELECT 1 AS a",
        "ATTACH '{dir}/other.db' AS o",
        "SELECT 1; DROP TABLE t",
        "VACUUM",
        "BEGIN",
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_writing_is_refused(engine, query, tmp_path):
    assert failure(query.format(dir=tmp_path), engine) in ("forbidden", "error")
    assert run("SELECT count(*) FROM t", engine).rows == [(3,)]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "query",
    [
        "SELECT load_extension('evil.so')",
        "PRAGMA writable_schema = 1",
        "PRAGMA journal_mode = WAL",
        "VACUUM INTO '{dir}/copy.db'",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('{dir}/x', 'y')",
    ],
)
def test_sqlite_doors_are_closed(query, tmp_path):
    assert failure(query.format(dir=tmp_path)) in ("forbidden", "error")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "COPY t TO '{dir}/t.csv'",
        "EXPORT DATABASE '{dir}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '90GB'",
        "SET enable_external_access = true",
        "PRAGMA memory_limit = '90GB'",
        "CALL pragma_version()",
        "SELECT * FROM FAST",
    ],
)
def test_duckdb_doors_are_closed(query, tmp_path):
    pytest.importorskip("duckdb")
    assert failure(query.format(dir=tmp_path), "duckdb") in ("forbidden", "error")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "setup", ["ATTACH '{dir}/a.db' AS a; CREATE TABLE a.t(x INT)", "VACUUM INTO '{dir}/b.db'", "CREATE TABLE"]
)
def test_a_setup_script_opens_no_files(engine, setup, tmp_path):
    with pytest.raises(QueryFailed, match="setup"):
        execute("SELECT 1", Database(engine, setup=setup.format(dir=tmp_path)))
    assert not list(tmp_path.iterdir())


def test_reading_the_schema_is_allowed():
    assert [row[0] for row in run("SELECT name FROM pragma_table_info('t')").rows] == ["a", "b"]
    assert run("SELECT name FROM sqlite_master").rows == [("t",)]


def test_json_tables_can_be_read():
    assert run("SELECT value FROM json_each('[1, 2]')").rows == [(1,), (2,)]
    assert run("SELECT fullkey FROM json_tree('[7]')").rows == [("$",), ("$[0]",)]


@pytest.mark.parametrize("engine", ENGINES)
def test_results_and_values_are_bounded(engine):
    few = Limits(seconds=2, rows=100)
    assert failure("SELECT x.a FROM t x, t y, t z, t u, t v, t w", engine, few) == "rows"
    assert failure("SELECT * FROM t x, t y, t z, t u", engine, Limits(cells=100)) == "rows"
    huge = {"sqlite": "SELECT hex(zeroblob(999999999))", "duckdb": "SELECT repeat('a', 2000000000)"}[engine]
    assert failure(huge, engine) in ("error", "memory")
    assert failure("SELECT " + "1," * 60_000 + "1", engine) == "error"


def test_memory_is_bounded():
    small = Limits(seconds=5, memory_mb=64, value_bytes=1_000_000_000)
    numbers = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 400)"
    query = f"{numbers} SELECT group_concat(hex(zeroblob(500000))) FROM r"
    assert failure(query, "sqlite", small) in ("memory", "crash")
    assert run("SELECT 1", limits=small).rows == [(1,)]


def test_what_the_engine_cannot_interrupt_is_killed_and_replaced():
    steps = " + ".join(["length(printf('%.*c', 300000000, 'x'))"] * 40)  # no step of it looks at the clock
    start = time.monotonic()
    assert failure(f"SELECT {steps}", limits=Limits(seconds=0.3, memory_mb=4096)) == "timeout"
    assert time.monotonic() - start < 0.3 + sql_exec.GRACE + 3
    assert run("SELECT 2").rows == [(2,)]


def test_no_process_is_left_behind():
    run("SELECT 1")
    assert alive() >= 1
    close_workers()
    assert alive() == 0
    code = (
        "from guerdon.verify.sql_exec import execute\n"
        "from guerdon.verify.sql_tables import Database, Limits\n"
        "import os, threading, time\n"
        "q = 'WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT count(*) FROM r'\n"
        "threading.Thread(target=lambda: execute(q, Database(), Limits(seconds=60)), daemon=True).start()\n"
        "time.sleep(0.8); os._exit(0)\n"
    )
    env = {**os.environ, "GUERDON_SQL_TEST": "left-behind"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60)
    time.sleep(0.3)
    left = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"GUERDON_SQL_TEST=left-behind" in (folder / "environ").read_bytes():
                left.append(folder.name)
        except OSError:
            continue
    assert not left, "a worker outlived the process that started it"


@pytest.mark.parametrize("engine", ENGINES)
def test_files_are_opened_read_only(engine, tmp_path):
    path = tmp_path / "data.db"
    if engine == "sqlite":
        with sqlite3.connect(path) as connection:
            connection.executescript(SETUP)
        connection.close()
    else:
        import duckdb

        connection = duckdb.connect(str(path))
        connection.execute(SETUP)
        connection.close()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    database = Database(engine, path=str(path))
    assert execute("SELECT max(a) FROM t", database).rows == [(3,)]
    for query in ("DELETE FROM t", "INSERT INTO t VALUES (9, 'q')", "DROP TABLE t"):
        with pytest.raises(QueryFailed):
            execute(query, database)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.db"]


def test_a_changed_file_is_read_again_and_a_broken_one_is_an_error(tmp_path):
    path = tmp_path / "data.db"

    def fill(n: int) -> None:
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as connection:
            connection.executescript(SETUP + f"INSERT INTO t VALUES ({n}, 'n');")
        connection.close()
        os.utime(path, ns=(n * 10**9, n * 10**9))

    for n in (7, 8):
        fill(n)
        assert execute("SELECT max(a) FROM t", Database(path=str(path))).rows == [(n,)]
    path.write_bytes(b"no database" * 500)
    for bad in (path, tmp_path / "absent.db"):
        with pytest.raises(QueryFailed) as caught:
            execute("SELECT 1 FROM sqlite_master", Database(path=str(bad)))
        assert caught.value.kind == "error"
    assert not (tmp_path / "absent.db").exists()


def test_text_that_is_not_utf8_and_broken_statements():
    assert run("SELECT CAST(x'ff41' AS TEXT)").rows == [("�A",)]
    for query in ("", "   ", "-- nothing", "SELEC 1", "SELECT * FROM nope", "SELECT \x00"):
        assert failure(query) == "error"


def test_threads_share_workers_and_a_fork_starts_its_own():
    found: list[int] = []

    def work(n: int) -> None:
        for i in range(10):
            found.append(run(f"SELECT {n * 100 + i}", limits=Limits()).rows[0][0])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(n * 100 + i for n in range(4) for i in range(10))
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, str(run("SELECT 41 + 1").rows[0][0]).encode())
        os._exit(0)
    assert os.read(read, 10) == b"42" and run("SELECT 43").rows == [(43,)]
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)


def test_frames_hold_plain_data_only():
    import pickle

    from guerdon.verify.sql_worker import decode

    assert decode(pickle.dumps(("table", ("a",), [(1, None, b"x")]))) == ("table", ("a",), [(1, None, b"x")])
    with pytest.raises(pickle.UnpicklingError, match="built-in types only"):
        decode(pickle.dumps(Path("x")))
