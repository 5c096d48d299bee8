"""What self-rewards cannot score: refused, or missing with a cause, for every system of the kind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.engines.lab import LabEngine
from guerdon.errors import DataError, EngineError
from guerdon.intrinsic.scoring import EMPTY, NO_REFERENCE, NO_ROOM
from guerdon.intrinsic.votes import ALONE
from guerdon.registry import build
from guerdon.systems.intrinsic import dro_r3

REFERENCE: dict[str, dict[str, Any]] = {
    "likelihood-rewards": {"opening": ""},
    "rlpr": {"opening": "", "baseline": "."},
    "dro-r3": {"opening": "", "masked": "."},
    "rlp": {},
}
OWN: dict[str, dict[str, Any]] = {
    "crew": {},
    "self-aligned-reward": {},
    "laser": {"token": 259},
    "flr": {},
    "rlfr": {},
}
VOTES: dict[str, dict[str, Any]] = {
    "co-reward": {"extract": "text"},
    "mm-upt": {"extract": "text", "equal": "text"},
    "empo": {"extract": "text", "equal": "text"},
    "knowrl": {},
}
ASKING = REFERENCE | OWN


@pytest.fixture(scope="module")
def engine() -> LabEngine:
    made = LabEngine(dim=16, layers=1, heads=2, context=64, device="cpu")
    with torch.no_grad():
        for parameter in made.parameters().values():
            if parameter.dim() == 2:
                parameter.mul_(4.0)
    return made


def reward(slug: str, **more: Any) -> Any:
    given = {**ASKING, **VOTES}[slug]
    return build("reward", {"use": slug, **given, **more}, policy=None if slug != "rlfr" else object())


def rows(*texts: str, **columns: Any) -> Rollouts:
    given = {"reference": ["42"] * len(texts), "group": np.zeros(len(texts), np.int64)}
    return Rollouts(prompt=["6*7="] * len(texts), completion=list(texts), **{**given, **columns})


@pytest.mark.parametrize("slug", REFERENCE)
def test_no_reference(slug: str, engine: LabEngine):
    got = reward(slug)(rows("a", "b", "c", reference=["42", None, "42"]), asking(engine))
    assert np.isnan(got.values).tolist() == [False, True, False]
    assert dict(got.causes) == {1: NO_REFERENCE}
    blank = reward(slug)(rows("a", "b", reference=[" ", " "]), asking(engine))
    assert set(blank.causes.values()) == {NO_REFERENCE}


def asking(engine: Any) -> Context:
    return Context(engines={"policy": engine})


@pytest.mark.parametrize("slug", ASKING)
def test_an_engine_without_log_probs(slug: str):
    with pytest.raises(EngineError, match="gives no log-probs"):
        reward(slug)(rows("a", "b"), asking(object()))
    with pytest.raises(DataError, match="nobody to ask"):
        reward(slug)(rows("a", "b"), Context())


@pytest.mark.parametrize("slug", ASKING)
@pytest.mark.parametrize(("ids", "said"), [([70, 71], "'CD'"), ([5000], "vocabulary of 264"), ([-1], "-1")])
def test_token_ids_of_another_tokenizer(slug: str, ids: list[int], said: str, engine: LabEngine):
    own = engine.tokenizer.encode("ab")
    rollouts = rows("ab", "xy", tokens=Ragged.from_lists([own, ids], dtype=np.int32))
    with pytest.raises(EngineError, match="row 1: ") as refused:
        reward(slug)(rollouts, asking(engine))
    assert said in str(refused.value)


@pytest.mark.parametrize("slug", ["self-aligned-reward"])
def test_an_empty_answer_has_no_likelihood(slug: str, engine: LabEngine):
    got = reward(slug)(rows("", "a"), asking(engine))
    assert got.causes == {0: EMPTY} and not np.isnan(got.values[1])


@pytest.mark.parametrize("slug", [*REFERENCE, "laser", "flr"])
def test_an_empty_answer_where_something_else_is_scored(slug: str, engine: LabEngine):
    """The reference, a reserved token or a follow-up stands behind nothing: a number all the same."""
    got = reward(slug)(rows("", "a"), asking(engine))
    assert not got.causes and np.isfinite(got.values).all()


@pytest.mark.parametrize("slug", ["crew", "rlfr"])
def test_an_empty_answer_that_is_worth_nothing(slug: str, engine: LabEngine):
    got = reward(slug)(rows("", "so \\boxed{4}"), asking(engine))
    assert not got.causes and not np.isnan(got.values).any()
    if slug == "crew":
        assert got.values[0] == 0.0 < got.values[1]


@pytest.mark.parametrize("slug", [*REFERENCE, "crew", "self-aligned-reward", "laser", "flr"])
def test_an_answer_longer_than_the_context(slug: str, engine: LabEngine):
    got = reward(slug)(rows("a", "b" * 80, "c"), asking(engine))
    assert np.isnan(got.values).tolist() == [False, True, False]
    assert dict(got.causes) == {1: NO_ROOM}


def test_latents_of_an_answer_longer_than_the_context(engine: LabEngine):
    with pytest.raises(EngineError, match="context"):
        reward("rlfr")(rows("a", "b" * 80), asking(engine))


@pytest.mark.parametrize("slug", VOTES)
def test_a_group_of_one_cannot_vote(slug: str):
    texts = ["feasible", "feasible", "feasible"]
    meta = [{"pair": 0}] * 3
    got = reward(slug)(rows(*texts, group=np.array([0, 0, 1]), meta=meta), None)
    assert math.isnan(got.values[2]) and got.causes[2] == ALONE
    alone = {2} if slug != "co-reward" else {0, 1, 2}  # the twin has no label either
    assert set(got.causes) == alone


def test_a_group_of_one_has_no_deviation(engine: LabEngine):
    got = reward("dro-r3")(rows("a", "b", group=np.array([0, 1])), asking(engine))
    assert set(got.causes.values()) == {dro_r3.ALONE}


@pytest.mark.parametrize("slug", ["mm-upt", "empo"])
def test_blank_answers_never_vote(slug: str):
    got = reward(slug)(rows("", " ", "4"), None)
    assert got.values[:2].tolist() == [0.0, 0.0] and not got.causes


def test_votes_without_groups():
    rollouts = Rollouts(completion=["a", "a"], group=np.array([0, 1]))
    assert set(reward("mm-upt")(rollouts, None).causes.values()) == {ALONE}
