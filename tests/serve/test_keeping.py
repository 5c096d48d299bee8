"""Verdicts are written beside the scoring: nobody waits for the file, and a broken file ends nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from asking import record
from running_server import serving

from guerdon.errors import StoreError
from guerdon.score import Options
from guerdon.serve.client import Client
from guerdon.serve.keeping import Keeper
from guerdon.store.verdicts import VerdictCache

KEYS = [bytes([i]) * 16 for i in range(4)]


def contents(cache: Path) -> int:
    with sqlite3.connect(cache) as database:
        return int(database.execute("SELECT count(*) FROM verdicts").fetchone()[0])


def test_answers_come_while_another_process_holds_the_file(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.sqlite"
    with serving({"match": "verify.match"}, Options(workers=0, cache=cache)) as url:
        other = sqlite3.connect(cache, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with Client(url, patience=0.0) as client:
            for start in (0, 10):
                found = client.score([record(i) for i in range(start, start + 10)])
                assert [each["match"]["values"] for each in found] == [[1.0]] * 10
        assert other.execute("SELECT count(*) FROM verdicts").fetchone() == (0,)
        other.execute("ROLLBACK")
        other.close()
    assert contents(cache) == 20


def test_what_is_put_is_in_the_file_after_closing(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    keeper = Keeper(VerdictCache(path))
    reward = keeper.reward(b"fingerprint", "name", "1")
    keeper.put(reward, {KEYS[0]: 1.0, KEYS[1]: 0.5})
    keeper.put(reward, {KEYS[1]: 0.5, KEYS[2]: "text"})
    keeper.close()
    with VerdictCache(path) as cache:
        assert cache.get(cache.reward(b"fingerprint"), KEYS) == {KEYS[0]: 1.0, KEYS[1]: 0.5, KEYS[2]: "text"}


def test_a_file_that_cannot_be_written_is_told_once_and_scoring_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: VerdictCache) -> None:
        if self._count:
            raise StoreError("the disk is full")

    keeper = Keeper(VerdictCache(tmp_path / "verdicts.sqlite"))
    reward = keeper.reward(b"fingerprint")
    monkeypatch.setattr(VerdictCache, "flush", full)
    keeper.put(reward, {KEYS[0]: 1.0})
    keeper.close()
    assert "verdicts are not kept any more: the disk is full" in caplog.text
    with pytest.raises(StoreError, match="disk is full"):
        keeper.put(reward, {KEYS[1]: 1.0})
    with serving({"match": "verify.match"}, Options(workers=0, cache=tmp_path / "v.sqlite")) as url:
        for start in range(0, 30, 10):
            with Client(url) as client:
                found = client.score([record(i) for i in range(start, start + 10)])
            assert [each["match"]["values"] for each in found] == [[1.0]] * 10
