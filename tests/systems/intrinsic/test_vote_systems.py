"""Systems in which answers vote: every number of their worked examples, and what is missing."""

import numpy as np
import pytest

from guerdon.credit import grpo
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.feasibility import Pool, consensus, read_label
from guerdon.intrinsic.feasibility import consistency as label_consistency
from guerdon.intrinsic.votes import ALONE
from guerdon.registry import build
from guerdon.systems.intrinsic.con_rag import NO_TWIN, consistency, pairwise_consistency, word_jaccard
from guerdon.systems.intrinsic.empo import parroted


def rows(*groups, meta=None, prompt="q", reference=None, box=True):
    texts = [(f"\\boxed{{{a}}}" if box else a) if a is not None else "no idea" for g in groups for a in g]
    label = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
    return Rollouts(
        prompt=[prompt] * len(texts),
        completion=texts,
        group=label,
        meta=None if meta is None else [meta(int(g)) for g in label],
        reference=reference,
        tokens=Ragged.from_lists([[1]] * len(texts), dtype=np.int32),
    )


def advantages(rollouts, values):
    from guerdon.data.signal import Signal

    credit = grpo()
    return credit(rollouts, {"outcome": Signal(values, "rollout", "outcome")}).values


def test_co_reward():
    score = build("reward", {"use": "co-reward"})
    paired = rows("4454", "5554", meta=lambda g: {"pair": "x"})
    assert score(paired).values.tolist() == [0, 0, 1, 0, 0, 0, 0, 1]
    alike = rows("4454", "4444", meta=lambda g: {"pair": "x"})
    assert score(alike).values.tolist() == [1, 1, 0, 1, 1, 1, 1, 1]
    blank = rows("44", [None, None], meta=lambda g: {"pair": "x"})
    values = score(blank).values
    assert values.tolist() == [0, 0, 0, 0] and advantages(blank, values).tolist() == [0, 0, 0, 0]
    halves = rows(["0.5", "0.5"], ["1/2", "1/2"], meta=lambda g: {"pair": "x"})
    assert score(halves).values.sum() == 0
    assert build("reward", {"use": "co-reward", "equal": "maths"})(halves).values.sum() == 4
    with pytest.raises(DataError, match="expected a question and its twin"):
        score(rows("44", "55"))
    alone = score(rows("4", "55", meta=lambda g: {"pair": "x"}))
    assert np.isnan(alone.values).all() and set(alone.causes.values()) == {ALONE}


def test_mm_upt():
    score = build("reward", {"use": "mm-upt"})
    five = rows(["4", "4", "5", "4", "7"])
    values = score(five).values
    assert values.tolist() == [1, 1, 0, 1, 0]
    np.testing.assert_allclose(
        advantages(five, values), [0.7303, 0.7303, -1.0954, 0.7303, -1.0954], atol=1e-4
    )
    assert score(rows("123")).values.tolist() == [1, 0, 0]
    assert build("reward", {"use": "mm-upt", "min_votes": 2})(rows("123")).values.tolist() == [0, 0, 0]
    none = rows([None, None, "4"])
    assert score(none).values.tolist() == [0, 0, 1]
    released = build("reward", {"use": "mm-upt", "variant": "release"})
    assert released(none).values.tolist() == [1, 1, 0]
    assert released(rows([None, None])).values.tolist() == [1, 1]
    assert score(rows(["1/2", "0.5", "7", "7", "\\frac12"])).values.tolist() == [1, 1, 0, 0, 1]
    alone = score(rows("4"))
    assert alone.missing == 1 and alone.causes == {0: ALONE}


def test_empo():
    score = build("reward", {"use": "empo"})
    seven = rows("1112234")
    values = score(seven).values
    np.testing.assert_allclose(values, [3 / 7] * 3 + [2 / 7] * 2 + [1 / 7] * 2)
    np.testing.assert_allclose(
        advantages(seven, values), [0.9527] * 3 + [-0.1588] * 2 + [-1.2702] * 2, atol=1e-4
    )
    assert values.mean() == pytest.approx(0.3061, abs=1e-4)
    for n in (3, 6, 7, 10, 14):
        assert not score(rows([str(i) for i in range(n)])).values.any()
    same = rows("555")
    assert score(same).values.tolist() == [1, 1, 1] and not advantages(same, score(same).values).any()
    assert score(rows(["5", "5", None, None])).values.tolist() == [0.5, 0.5, 0, 0]
    assert not build("reward", {"use": "empo", "high": 1.2})(seven).values.any()
    assert build("reward", {"use": "empo", "high": 1.28})(seven).values.all()


def test_empo_on_free_text():
    score = build("reward", {"use": "empo", "form": "text", "extract": "text", "equal": "text"})
    got = score(rows(["paris", "paris", " ", "what is"], prompt="what is the capital?", box=False)).values
    assert got.tolist() == [0.5, 0.5, -0.5, 0.0]
    spread = score(rows(["a1", "b2", "c3", "d4", "e5", "f6"], box=False)).values
    assert not spread.any()
    assert parroted("the capital what is it of", "what is the capital of x") is False
    assert parroted("what is the capital of y", "what is really the capital of x") is True


def test_knowrl():
    said = ["I think feasible"] * 6 + ["Infeasible"] * 2
    score = {form: build("reward", {"use": "knowrl", "form": form}) for form in ("label", "share", "margin")}
    group = rows(said, box=False)
    assert score["label"](group).values.tolist() == [1] * 6 + [0] * 2
    assert score["share"](group).values.tolist() == [0.75] * 8
    assert score["margin"](group).values.tolist() == [0.5] * 8
    assert not score["label"](rows(["feasible"] * 4 + ["infeasible"] * 4, box=False)).values.any()
    unread = ["feasible", "feasible", "hm", "hm"]
    assert consensus([read_label(t) for t in unread]) == ("feasible", 0.5)
    assert label_consistency(["feasible"], ["feasible"]) == 1.0
    pool = Pool((("add", "feasible"),), threshold=0.7, per_label=1)
    votes = [["feasible"] * 3 + [None], ["feasible"] * 4, ["infeasible"] * 4]
    grown = pool.grow([("a", "feasible"), ("b", "feasible"), ("c", "feasible")], votes)
    assert grown.grown == (("a", "feasible"),) and grown.seeds == pool.seeds
    with pytest.raises(RecipeError, match="form"):
        build("reward", {"use": "knowrl", "form": "x"})


def test_con_rag():
    texts = ["paris", "paris france", "paris", "lyon"]
    groups, questions = np.array([0, 0, 1, 1]), ["q"] * 4
    exact = consistency(texts, groups, questions, word_jaccard)[0]
    assert exact.tolist() == [0.5, 0.25, 0.75, 0.0]
    all_drawn = consistency(texts, groups, questions, word_jaccard, 1, 2)[0]
    assert all_drawn.tolist() == exact.tolist()
    rng = np.random.default_rng(0)
    drawn = [consistency(texts, groups, questions, word_jaccard, 1, 1, rng)[0] for _ in range(800)]
    np.testing.assert_allclose(np.mean(drawn, axis=0), exact, atol=0.06)
    score = build("reward", {"use": "con-rag", "similarity": "jaccard"})
    same = rows(["a b", "a b"], ["a b", "a b"], meta=lambda g: {"question": "q"}, box=False)
    assert score(same).values.tolist() == [1] * 4 and not advantages(same, score(same).values).any()
    lonely = score(rows(["a"], box=False))
    assert lonely.causes == {0: NO_TWIN}
    both = build("reward", {"use": "con-rag", "similarity": "jaccard", "gamma": 0.5})
    named = rows(["a"], ["b"], meta=lambda g: {"question": "q"}, reference=["a", None], box=False)
    assert both(named).values[0] == 0.5 and np.isnan(both(named).values[1])
    assert pairwise_consistency(["a", "a", "b"]) == pytest.approx(1 / 3)
