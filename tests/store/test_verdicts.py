"""The verdict cache: what goes in comes out, from any number of processes, and nothing breaks it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import pytest

from guerdon.errors import StoreError
from guerdon.store.verdicts import VerdictCache, default_path


def key(i: int) -> bytes:
    return blake2b(str(i).encode(), digest_size=16).digest()


def test_what_goes_in_comes_out(tmp_path: Path):
    path = tmp_path / "deep" / "cache.sqlite"
    verdicts = {key(i): float(i) / 7 for i in range(2000)} | {key(-1): '{"a": "é"}', b"\0": -0.0, b"": 1e300}
    with VerdictCache(path) as cache:
        a, b = cache.reward(b"a", "math", "1"), cache.reward(b"b")
        assert a != b and cache.reward(b"a") == a
        cache.put(a, verdicts)
        assert cache.get(a, list(verdicts)) == verdicts  # before they are on the disk as well
        assert cache.get(b, list(verdicts)) == {}
        cache.put(b, {key(1): 5.0})
        cache.put(a, {key(1): 6.0})
        assert len(cache) == len(verdicts) + 2  # written verdicts and waiting ones
    with VerdictCache(path) as cache:
        found = cache.get(cache.reward(b"a"), [*verdicts, key(5000), key(3), key(3)])
        assert found == verdicts | {key(1): 6.0}
        assert all(type(value) in (float, str) for value in found.values())
        assert cache.get(cache.reward(b"b"), [key(1), key(2)]) == {key(1): 5.0}
        assert cache.get(cache.reward(b"c"), [key(1)]) == {}
        assert len(cache) == len(verdicts) + 1


@pytest.mark.parametrize("n", [0, 1, 2, 8, 9, 64, 65, 256, 257, 899, 900, 901, 1800, 1801])
def test_questions_of_every_size(tmp_path: Path, n: int):
    with VerdictCache(tmp_path / "c.sqlite") as cache:
        reward = cache.reward(b"a")
        cache.put(reward, {key(i): float(i) for i in range(0, 3000, 2)})
        cache.flush()
        assert cache.get(reward, [key(i) for i in range(n)]) == {key(i): float(i) for i in range(0, n, 2)}


def test_writing_happens_in_batches(tmp_path: Path):
    with VerdictCache(tmp_path / "c.sqlite") as cache, VerdictCache(tmp_path / "c.sqlite") as other:
        reward = cache.reward(b"a")
        cache.put(reward, {key(i): 1.0 for i in range(100)})
        assert other.get(reward, [key(1)]) == {}
        cache.put(reward, {key(i): 1.0 for i in range(100, 9000)})
        assert other.get(reward, [key(1)]) == {key(1): 1.0}


_WRITER = """
import sys
from hashlib import blake2b
from guerdon.store.verdicts import VerdictCache
path, number = sys.argv[1], int(sys.argv[2])
with VerdictCache(path) as cache:
    for turn in range(20):
        reward = cache.reward(f"r{{turn % 3}}".encode(), "r", "1")
        names = [blake2b(str(i).encode(), digest_size=16).digest() for i in range(turn * 50, turn * 50 + 100)]
        known = cache.get(reward, names)
        assert all(value == float(turn % 3) for value in known.values())
        cache.put(reward, dict.fromkeys(names, float(turn % 3)))
        cache.flush()
        if number == 0 and turn == 10:
            import os, signal
            cache.put(reward, {{b"lost": 1.0}})
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_several_processes_write_at_once_and_one_is_killed(tmp_path: Path):
    path = tmp_path / "c.sqlite"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    children = [
        subprocess.Popen([sys.executable, "-c", _WRITER.format(), str(path), str(i)], env=environment)
        for i in range(4)
    ]
    assert [child.wait() for child in children] == [-9, 0, 0, 0]
    with VerdictCache(path) as cache:
        for turn in range(20):
            reward = cache.reward(f"r{turn % 3}".encode())
            names = [key(i) for i in range(turn * 50, turn * 50 + 100)]
            assert cache.get(reward, names) == dict.fromkeys(names, float(turn % 3))
            assert cache.get(reward, [b"lost"]) == {}


def test_a_file_that_stays_locked(tmp_path: Path):
    path = tmp_path / "c.sqlite"
    with VerdictCache(path, patience=0.1) as cache:
        reward = cache.reward(b"a")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert cache.get(reward, [key(1)]) == {}  # readers do not wait
        cache.put(reward, {key(1): 1.0})
        with pytest.raises(StoreError, match="cannot be written: database is locked; another process"):
            cache.flush()
        other.execute("ROLLBACK")
        other.close()
        cache.put(reward, {key(2): 2.0})
        cache.flush()
        assert cache.get(reward, [key(1), key(2)]) == {key(2): 2.0}


@pytest.mark.parametrize("content", [b"no database at all" * 500, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file(tmp_path: Path, content: bytes):
    path = tmp_path / "c.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged .* delete it"):
        VerdictCache(path)


def test_a_file_of_somebody_else(tmp_path: Path):
    path = tmp_path / "c.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (a)")
    database.close()
    with pytest.raises(StoreError, match="is no verdict cache of this version"):
        VerdictCache(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        VerdictCache(tmp_path / "file" / "c.sqlite")


def test_the_usual_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GUERDON_CACHE", raising=False)
    assert default_path() == tmp_path / "guerdon" / "verdicts.sqlite"
    monkeypatch.setenv("GUERDON_CACHE", str(tmp_path / "own"))
    assert default_path() == tmp_path / "own" / "verdicts.sqlite"


def test_many_verdicts_in_memory_answer_as_the_file_does(tmp_path: Path):
    verdicts: dict[bytes, float | str] = {key(i): float(i % 7) for i in range(5000)}
    verdicts |= {key(6000): "text", b"short": 1.0, b"": 2.0}
    half = key(3)[:8]  # digests with the same first half
    verdicts |= {half + bytes([i]) * 8: float(i) for i in range(5)}
    asked = [*verdicts, key(9000), half + b"\xff" * 8, b"\xff" * 16, b"\0" * 16]
    with VerdictCache(tmp_path / "c.sqlite") as cache:
        reward, empty = cache.reward(b"a"), cache.reward(b"b")
        cache.put(reward, verdicts)
        cache.flush()
        digests = [content for content in asked if len(content) == 16]
        expected = {content: verdicts[content] for content in digests if content in verdicts}
        for questions in (0, 1, 2000):
            cache.expect(reward, questions)
            cache.expect(empty, questions)
            assert bool(cache._snapshots) == (questions == 2000)
            assert cache.get(reward, digests) == expected
            assert cache.get(reward, digests[:1]) == {digests[0]: verdicts[digests[0]]}
            assert cache.get(reward, []) == {} == cache.get(empty, digests)
        assert len(cache._snapshots[reward]) == 5005
        cache.put(reward, {key(1): 50.0, key(9000): 60.0})  # what is written later is known as well
        cache.flush()
        assert cache.get(reward, [key(9000)]) == {key(9000): 60.0}
