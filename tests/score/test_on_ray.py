"""The same through Ray Data on a local Ray: same files, same counts, and what failed is done again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from scored import by_path, completions, numbered, score, values, write_lines

import guerdon
from guerdon.errors import DataError, RecipeError
from guerdon.score import Limits, Options

ray = pytest.importorskip("ray", reason="needs the extra guerdon[ray]")
pytest.importorskip("ray.data", reason="needs the extra guerdon[ray]")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    yield
    ray.shutdown()


def on_ray(source: Path, out: Path, *rewards: str, piece_rows: int = 40, **options):
    from guerdon.score.on_ray import score_file_on_ray

    chosen = Options(**{"cache": None, "workers": 2, "limits": Limits(item_seconds=0.5), **options})
    return score_file_on_ray(source, out, list(rewards), options=chosen, piece_rows=piece_rows)


def test_the_same_as_locally(tmp_path: Path, cluster: None):
    plain = write_lines(tmp_path / "in.jsonl", numbered(150))
    names = [by_path(name) for name in ("exact", "Centred", "Composed")]
    for suffix in (".jsonl", ".parquet"):
        source = tmp_path / f"in{suffix}"
        if suffix != ".jsonl":
            guerdon.write(guerdon.read(plain), source)
        cache = tmp_path / "cache.sqlite"
        there = on_ray(source, tmp_path / f"ray{suffix}", *names, parts=True, cache=cache)
        here = score(source, tmp_path / f"local{suffix}", *names, parts=True, cache=cache)
        assert guerdon.read(tmp_path / f"ray{suffix}") == guerdon.read(tmp_path / f"local{suffix}")
        for label, tally in there.tally.rewards.items():
            assert here.tally.rewards[label].cached == 150  # the same verdicts under the same keys
            assert (tally.records, tally.mean) == (150, pytest.approx(here.tally.rewards[label].mean))
    assert (tmp_path / "ray.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()


def test_bad_records_bad_rewards_and_going_on(tmp_path: Path, cluster: None):
    texts = ["good", "hang", "die", "raise"] * 2 + [f"good {i}" for i in range(72)]
    records = [*completions(*texts), {"broken": 1}, *completions("good")]
    source = write_lines(tmp_path / "in.jsonl.gz", records)
    out = tmp_path / "out.jsonl.gz"
    with pytest.raises(DataError, match=r"in\.jsonl\.gz line 81: has no 'completion'"):
        on_ray(source, out, by_path("hostile"))
    assert not out.exists()
    done = len(list((tmp_path / "out.jsonl.gz.unfinished").glob("piece-*.json")))
    report = on_ray(source, out, by_path("hostile"), skip_bad=True, resume=True)
    assert report.resumed == 40 * done
    tally = report.tally.rewards["hostile"]
    assert (tally.records, tally.missing, report.tally.skipped) == (81, 6, 1)
    assert tally.causes["timed out after 0.5 s"] == 2 and tally.causes["ValueError: no such thing"] == 2
    assert values(out, "hostile") == [1.0, None, None, None] * 2 + [1.0] * 73
    assert json.dumps(report.to_dict()["skipped_examples"]).startswith('[{"at": 81')


def test_what_cannot_run_there(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", completions("a"))
    with pytest.raises(RecipeError, match="reward 'Counting' must run in one process"):
        on_ray(source, tmp_path / "out.jsonl", by_path("Counting"))
