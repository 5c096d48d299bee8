"""Which rewards are meant, where they come from, and what is known of them."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rewards_for_tests import Composed, Keyed, Steps
from scored import by_path, numbered, write_lines

import guerdon
from guerdon.data import Rollouts, Signal
from guerdon.errors import RecipeError
from guerdon.score import content
from guerdon.score.cells import of_signals
from guerdon.score.jsonl_source import JsonlSource
from guerdon.score.loading import UNSAID, lift, load, traits_of
from guerdon.score.parquet_source import ParquetSource
from guerdon.score.planning import plan_of
from guerdon.score.spec import Spec, make_spec, parse_specs

ROLLOUTS = Rollouts(completion=["a", "bb"], reference=["a", "x"])


# -- what was asked for --------------------------------------------------------------------------------------


def test_names_labels_and_settings():
    specs = parse_specs(
        ["verify.math", "own=verify.math", "pkg.mod:make.it", "x/y.py:f"],
        {"verify.math.tolerance": 1, "own.on_error": 0, "make.it.k": [1], "f.on_error": "raise"},
    )
    assert specs == [
        Spec("verify.math", "verify.math", {"tolerance": 1}),
        Spec("own", "verify.math", {}, 0.0),
        Spec("make.it", "pkg.mod:make.it", {"k": [1]}),
        Spec("f", "x/y.py:f", {}, "raise"),
    ]
    assert [spec.by_path for spec in specs] == [False, False, True, True]
    assert parse_specs(["verify.math"], {"a": 1, "verify.math.b": 2})[0].settings == {"a": 1, "b": 2}
    assert parse_specs(["a", "a.b"], {"a.b.c": 1})[1].settings == {"c": 1}
    assert make_spec("a", "a", {"on_error": float("nan")}).on_error == "nan"


@pytest.mark.parametrize(
    ("rewards", "settings", "message"),
    [
        ([], {}, "no reward was named"),
        (["a", "a"], {}, "two rewards are called 'a'; name one apart with --reward LABEL=NAME"),
        (["a", "b"], {"k": 1}, "--set k: there are several rewards; say which one is meant"),
        (["a"], {"a.k": 1, "k": 2}, "'k' of 'a' is set twice"),
        (["a"], {"on_error": True}, "on_error must be 'nan', 'raise' or a number, got True"),
        (["file.py:"], {}, "expected a name, or file.py:function"),
    ],
)
def test_what_cannot_be_meant(rewards: list[str], settings: dict, message: str):
    with pytest.raises(RecipeError, match=message):
        parse_specs(rewards, settings)


# -- where they come from ------------------------------------------------------------------------------------


def loaded(name: str, /, **settings):
    return load(Spec("x", by_path(name), settings))


def test_functions_objects_classes_and_factories():
    values = {
        "exact": loaded("exact"),
        "length": loaded("length", scale=2.0, name="double", version="3"),
        "lists": loaded("lists"),
        "Keyed": loaded("Keyed", letter="b"),
        "make": loaded("make_length_reward", factor=3.0),
        "decorated": loaded("decorated", batch=False),
    }
    found = {name: reward(ROLLOUTS).values.tolist() for name, reward in list(values.items())[:-1]}
    assert found == {
        "exact": [1, 0],
        "length": [2, 4],
        "lists": [1, 0],
        "Keyed": [0, 1],
        "make": [3, 6],
    }
    assert (values["length"].name, values["length"].version) == ("double", "3")
    again = values["decorated"]
    assert (again.name, again.version, again.on_error) == ("decorated", "7", 0.0)
    assert loaded("steps") is loaded("steps")  # a file is imported once


def test_from_a_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "inner.py").write_text("def f(completion):\n    return 4\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert load(Spec("x", "own_package.inner:f"))(ROLLOUTS).values.tolist() == [4, 4]


def test_a_file_with_the_name_of_a_module_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "json.py").write_text("from helper import k\ndef f(completion):\n    return k\n")
    (tmp_path / "helper.py").write_text("k = 5\n")
    assert load(Spec("x", f"{tmp_path / 'json.py'}:f"))(ROLLOUTS).values.tolist() == [5, 5]
    import json

    assert json.dumps([1]) == "[1]"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("exact", {"bogus": 1}, "bogus: unknown field; did you mean|bogus: unknown field"),
        ("steps", {"k": 1}, "takes no settings, got k"),
        ("Keyed", {"leter": "b"}, "leter: unknown field; did you mean 'letter'"),
        ("Nobody", {}, "there is no 'Nobody' in it"),
    ],
)
def test_settings_that_do_not_exist(name: str, settings: dict, message: str):
    with pytest.raises(RecipeError, match=message):
        loaded(name, **settings)


def test_what_is_known_of_a_reward():
    exact, lists, composed = (traits_of(loaded(name)) for name in ("exact", "lists", "Composed"))
    assert (exact.sample, exact.shape, exact.where, exact.reads) == (
        True,
        "sample",
        "worker",
        ("completion", "reference"),
    )
    assert not exact.together and lists.together and not composed.together
    assert composed.reads == ("prompt", "completion", "reference", "meta")
    assert traits_of(loaded("slow_but_together")).together
    assert traits_of(loaded("needs_meta")).reads == ("meta",)
    assert traits_of(Keyed()).keyed and not exact.keyed
    steps = traits_of(Steps())
    assert (steps.sample, steps.shape, steps.reads, steps.together) == (False, "sample", None, True)
    assert traits_of(loaded("Counting")).where == "main" and traits_of(loaded("Counting")).stateful
    assert exact.item_seconds == UNSAID and exact.on_error == "nan"
    silent = type("Silent", (), {"name": "s", "version": "1", "__call__": lambda self, r, ctx=None: None})()
    assert traits_of(silent).shape == "group"  # the safe guess
    silent.item_seconds, silent.shape = None, "crowd"
    with pytest.raises(RecipeError, match="shape must be one of sample, group, all, got 'crowd'"):
        traits_of(silent)


def test_fingerprints_follow_whatever_changes_verdicts():
    def fingerprint(name: str = "exact", /, parts: bool = False, **settings) -> bytes | None:
        spec = make_spec("label", by_path(name), settings)
        reward = load(spec)
        return plan_of(spec, traits_of(reward, spec), reward, parts).fingerprint

    same = {fingerprint(), fingerprint(on_error=0.0), fingerprint(on_error="raise")}
    other = [
        fingerprint("lists"),
        fingerprint(version="2"),
        fingerprint("length"),
        fingerprint("length", scale=2.0),
        fingerprint(parts=True),
    ]
    assert len(same) == 1 and len({*same, *other}) == 6
    assert fingerprint("Counting") is None


# -- what they are known by ----------------------------------------------------------------------------------


def test_digests_of_different_things_differ():
    things = [
        1,
        1.0,
        True,
        "1",
        b"1",
        None,
        [],
        [None],
        {},
        {"a": 1},
        {"a": 1.0},
        (),
        ("a", "b"),
        ("ab",),
        2**70,
    ]
    assert len({content.digest(thing) for thing in things}) == len(things)
    assert content.digest({"a": [1, "é\ud800"]}) == content.digest({"a": [1, "é\ud800"]})
    import datetime

    dates = [datetime.date(2024, 1, day) for day in (1, 2, 1)]
    assert len(set(content.digests(dates))) == 2


def test_digests_are_the_same_in_every_process():
    code = (
        "from guerdon.score.content import digest\n"
        "print(digest(('a', {'k': [1.5, 'x' * 9]}, ''.join(['in', 'terned']))).hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {content.digest(("a", {"k": [1.5, "xxxxxxxxx"]}, "interned")).hex()}


def test_digests_follow_what_is_read(tmp_path: Path):
    records = [
        {"prompt": "p", "completion": "abc", "reference": "r", "meta": {"m": 1}, "extra": 0, "steps": [1, 3]},
        {"prompt": "q", "completion": "abc", "reference": "r", "meta": {"m": 1}, "extra": 0, "steps": [1, 3]},
        {"prompt": "p", "completion": "abc", "reference": "r", "meta": {"m": 2}, "extra": 0, "steps": [1, 3]},
        {"prompt": "p", "completion": "abc", "reference": "r", "meta": {"m": 1}, "extra": 1, "steps": [1, 3]},
        {"prompt": "p", "completion": "abc", "reference": "r", "meta": {"m": 1}, "extra": 0, "steps": [3]},
        {"prompt": "p", "completion": "axx", "reference": "r", "meta": {"m": 1}, "extra": 0, "steps": [1, 3]},
    ]
    path = write_lines(tmp_path / "in.jsonl", records)
    guerdon.write(guerdon.read(path), tmp_path / "in.parquet")
    (chunk,) = JsonlSource(path).chunks({}, lambda: 100)
    (table,) = ParquetSource(tmp_path / "in.parquet").chunks({}, lambda: 100)
    for reward, reference, expected in (
        (loaded("exact"), None, [0, 0, 0, 0, 0, 5]),
        (loaded("needs_meta"), None, [0, 0, 2, 3, 0, 0]),
        (Composed(), None, [0, 1, 2, 3, 0, 5]),
        (Steps(), None, [0, 1, 2, 3, 4, 5]),
        (Keyed(), Keyed(), [0, 0, 0, 0, 0, 0]),
    ):
        found = content.row_digests(chunk, traits_of(reward), reference)
        assert [found.index(digest) for digest in found] == expected
        assert content.row_digests(table, traits_of(reward), reference) == found


def test_keys_that_cannot_be_used(tmp_path: Path):
    class Odd(Keyed):
        def key(self, row):
            return {"raise": None, "none": None}.get(row.completion, object())

    (chunk,) = JsonlSource(write_lines(tmp_path / "in.jsonl", numbered(3))).chunks({}, lambda: 9)
    found = content.row_digests(chunk, traits_of(Odd()), Odd())
    assert len(set(found)) == 3 and found == content.row_digests(chunk, traits_of(Odd()), Odd())


def test_results_of_former_runs_are_not_content(tmp_path: Path):
    records = [
        {"completion": "ab", "signals": {name: {"level": "rollout", "values": [value]}}}
        for name, value in (("mine", 1.0), ("mine", 2.0), ("other", 1.0), ("other", 2.0))
    ]
    (chunk,) = JsonlSource(write_lines(tmp_path / "in.jsonl", records)).chunks({}, lambda: 9)
    found = content.row_digests(chunk, traits_of(Steps()), None, ["mine"])
    assert [found.index(digest) for digest in found] == [0, 0, 2, 3]


def test_units_and_their_members():
    rows = [bytes([i]) * 16 for i in range(4)]
    ab, ba, c = content.unit_digests(rows, [[0, 1], [1, 0], [2, 3]])
    assert len({ab, ba, c}) == 3
    members = content.member_digests(ab, 3)
    assert len({*members, ab}) == 4 and content.member_digests(ab, 2) == members[:2]


def test_a_lifted_lambda_and_what_is_no_reward():
    assert lift(lambda completion: 1, {}, "here")(ROLLOUTS).values.tolist() == [1, 1]
    with pytest.raises(RecipeError, match="here: expected a function or a reward, got ndarray"):
        lift(np.ones(2), {}, "here")


def test_a_rollout_level_is_known_where_every_value_is_missing():
    signal = Signal([math.nan, 1.0], "rollout", "r", {0: "no reference"})
    cells = of_signals(signal, {}, Rollouts(completion=["x", "y"]))
    assert cells == [{"": ["rollout", [None], {0: "no reference"}]}, 1.0]
