"""Data sets of the hub in place of files: the library absent, offline, splits; no network is asked."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from guerdon.bench import processbench
from guerdon.bench.hub import rows
from guerdon.bench.run import HUBS, evaluate_saved
from guerdon.errors import DataError, RecipeError

EXAMPLE = {"id": "gsm8k-0", "problem": "p", "steps": ["a"], "label": -1}


@pytest.fixture
def library(monkeypatch):
    """A stand-in for `datasets` that holds {split: rows}."""

    def provide(load):
        monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load))

    return provide


def test_a_split_is_read_and_checked_as_a_file_would_be(library):
    asked = []

    def load(name, config, split):
        asked.append((name, config, split))
        return [EXAMPLE]

    library(load)
    assert processbench.load("hub:Qwen/ProcessBench@gsm8k+math") == [EXAMPLE]
    assert rows("hub:a/b:main@test", "x") == [EXAMPLE]
    assert asked == [("Qwen/ProcessBench", None, "gsm8k+math"), ("a/b", "main", "test")]
    library(lambda name, config, split: [{**EXAMPLE, "label": "none"}])
    with pytest.raises(DataError, match=r"hub:a/b, row 1: field 'label' is str"):
        processbench.load("hub:a/b")


def test_one_split_needs_no_name_and_several_do(library):
    library(lambda name, config, split: {"test": [EXAMPLE]})
    assert rows("hub:a/b", "x") == [EXAMPLE]
    library(lambda name, config, split: {"gpt": [EXAMPLE], "claude": [EXAMPLE]})
    with pytest.raises(DataError, match=r"splits gpt, claude: name one as hub:a/b@gpt, or a\+b"):
        rows("hub:a/b", "x")


def test_absent_library_no_network_and_bad_addresses_are_explained(library, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(RecipeError, match=r"pip install 'guerdon\[hub\]', or download a file"):
        rows("hub:a/b", "x")

    def offline(name, config, split):
        raise ConnectionError("Couldn't reach the hub")

    library(offline)
    with pytest.raises(DataError, match=r"cannot be fetched \(ConnectionError: .*Offline"):
        rows("hub:a/b", "x")
    for bad in ("hub:", "hub:name", "hub:a/b@", "hub:a/b@x y"):
        with pytest.raises(RecipeError, match="expected hub:OWNER/NAME"):
            rows(bad, "x")


def test_messages_name_an_address_that_can_be_given(tmp_path):
    with pytest.raises(RecipeError, match="--data hub:Qwen/ProcessBench@gsm8k"):
        evaluate_saved("processbench", predictions=tmp_path / "p.jsonl")
    assert all(place.startswith("hub:") for place in HUBS.values())
