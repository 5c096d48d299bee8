"""Work that takes microseconds is done without a worker; all else is not, and verdicts are the same."""

from __future__ import annotations

from typing import Any

import pytest
from asking import post, record
from running_server import serving

from guerdon.data import Rollouts
from guerdon.score import Options
from guerdon.serve.desk import Desk
from guerdon.serve.quick import is_short


def test_what_is_short() -> None:
    assert is_short(Rollouts(completion=["a", "b"], reference=["a", 3.5], meta=[{}, {}]))
    assert is_short(Rollouts(completion=["a" * 200_000]))
    assert not is_short(Rollouts(completion=["a" * 200_000], reference=["b" * 100_000]))
    assert not is_short(Rollouts(completion=["a"], reference=[["a", "b"]]))
    assert not is_short(Rollouts(completion=["a"], reference=[{"answers": ["a"]}]))
    assert not is_short(Rollouts(completion=["a"], reference=["a"], meta=[{"answers": ["a"]}]))
    assert not is_short(Rollouts(completion=[[{"role": "assistant", "content": "a"}]], reference=["a"]))


@pytest.mark.parametrize("parts", [False, True])
def test_workers_are_asked_only_for_the_rest_and_say_the_same(parts: bool) -> None:
    made: list[Desk] = []
    with serving({"match": "verify.match"}, Options(workers=1, cache=None, parts=parts), made) as url:
        pool: Any = made[0]._pool
        given: list[str] = []
        submit = pool.submit
        pool.submit = lambda task: given.extend(task.rollouts.completion) or submit(task)

        def ask(**more: Any) -> dict[str, Any]:
            status, found = post(url, "/score", {"records": [record(7, **more)]})
            assert status == 200
            return found["results"][0]["signals"]

        assert ask(completion="The  seven!", reference="seven")["match"]["values"] == [1.0]
        short, missing = ask(completion="six", reference="seven"), ask(completion="six", reference=None)
        assert short["match"]["values"] == [0.0] and "no reference" in missing["match"]["causes"]["0"]
        assert given == []
        assert ask(completion="six", reference=["seven"]) == short
        assert ask(completion="six", reference=[None]) == missing
        assert ask(completion="x " * 140_000, reference="x")["match"]["values"] == [0.0]
        assert given == ["six", "six", "x " * 140_000]
