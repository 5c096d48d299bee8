"""Counts and percentiles, merged and carried over restarts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from guerdon.score.tally import OTHER, Latencies, RewardTally, Tally


def test_percentiles_are_right_within_their_buckets():
    seconds = np.random.default_rng(0).lognormal(-6, 1.5, 20_000)
    latencies = Latencies()
    for part in np.array_split(seconds, 7):
        latencies.add(part.tolist())
    for share in (0.5, 0.95, 0.99):
        assert latencies.quantile(share) == pytest.approx(np.quantile(seconds, share), rel=0.06)
    assert latencies.summary()["max"] == seconds.max()


def test_the_ends_of_the_scale():
    latencies = Latencies()
    assert all(math.isnan(value) for value in latencies.summary().values())
    latencies.add([])
    latencies.add([0.0, 1e-9, 5000.0])
    assert latencies.quantile(0.5) <= 2e-6 and latencies.quantile(1.0) == pytest.approx(5000, rel=0.05)


def test_plain_json_and_back():
    tally = Tally(records=3)
    tally.skip([(4, "broken")] * 150)
    one = tally.rewards["a"] = RewardTally(3, 1, 1, 1, 2, 1.5)
    one.add_causes({"x": 1})
    one.latencies.add([0.1, 0.2])
    one.add_spent({"requests": 3, "cost": 0.25})
    again = Tally.load(json.loads(json.dumps(tally.dump())))
    assert again.dump() == tally.dump() and again.skipped == 150 and len(again.examples) == 100
    assert again.rewards["a"].summary() == one.summary()
    again.merge(tally)
    assert again.records == 6 and again.skipped == 300
    both = again.rewards["a"].summary()
    assert (both["records"], both["computed"], both["causes"], both["mean"]) == (6, 2, {"x": 2}, 0.75)
    assert both["spent"] == {"requests": 6, "cost": 0.5}


def test_causes_without_end_are_counted_together():
    tally = RewardTally()
    for i in range(1500):
        tally.add_causes({f"cause {i}": 1})
    assert len(tally.causes) == 1001 and tally.causes[OTHER] == 500 and tally.causes.total() == 1500
