"""BLEU, chrF, ROUGE, edit distance: by hand, and against the reference implementations where installed."""

from __future__ import annotations

import math
import random

import pytest

from guerdon.data.rollouts import Rollouts
from guerdon.errors import RecipeError
from guerdon.verify.sequences import (
    edit_distance,
    edit_similarity,
    jaccard,
    kendall_tau,
    lcs_length,
    lcs_pairs,
    multiset_jaccard,
)
from guerdon.verify.text_bleu import sentence_bleu, tokens_13a
from guerdon.verify.text_chrf import chrf
from guerdon.verify.text_overlap import bleu, edit, rouge
from guerdon.verify.text_overlap import chrf as chrf_reward
from guerdon.verify.text_rouge import rouge_l, rouge_n

WORDS = [
    "the",
    "cat,",
    "dog's",
    "3.14",
    "-5",
    "a&amp;b",
    "(x)",
    "run-time",
    "U.S.",
    "über",
    "日本",
    "jumps",
    ".",
    "over",
    "lazy",
    "'",
    '"',
    "1,000",
    "$5",
    "e-mail",
    "the",
    "the",
]


def pairs(n: int = 400):
    rng = random.Random(7)
    for _ in range(n):
        yield (
            " ".join(rng.choices(WORDS, k=rng.randint(0, 9))),
            [" ".join(rng.choices(WORDS, k=rng.randint(0, 9))) for _ in range(rng.randint(1, 3))],
        )


def test_bleu_by_hand():
    assert sentence_bleu("a b c d", ["a b c d"]) == 1.0
    assert sentence_bleu("", ["a"]) == sentence_bleu("a", []) == sentence_bleu("x", ["a"]) == 0.0
    # 2 of 3 words, 1 of 2 pairs, no triple: 1/2 of 1; one word short of the reference
    expected = math.exp((math.log(2 / 3) + math.log(1 / 2) + math.log(1 / 2)) / 3 + 1 - 4 / 3)
    assert sentence_bleu("a b x", ["a b c d"]) == pytest.approx(expected)
    assert tokens_13a("It's 3.14, e-mail 5-6!") == ["It's", "3.14", ",", "e-mail", "5", "-", "6", "!"]


def test_chrf_by_hand():
    assert chrf("abc", ["abc"]) == 1.0 and chrf("", ["abc"]) == chrf("abc", [""]) == 0.0
    # one letter: order 1 only; precision 1, recall 1/2
    assert chrf("a", ["ab"]) == pytest.approx(5 * 1 * 0.5 / (4 * 1 + 0.5))


def test_rouge_by_hand():
    assert rouge_l("The cat sat", ["the dog sat"]) == pytest.approx(2 / 3)
    assert rouge_n("a b c", ["a b d"], 2) == pytest.approx(0.5) and rouge_n("a", ["a"], 2) == 0.0
    assert (
        rouge_l("", ["a"]) == rouge_l("日本", ["日本"]) == 0.0
        and rouge_l("日本", ["日本"], unicode=True) == 1.0
    )


def test_against_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    for answer, golds in pairs():
        assert sentence_bleu(answer, golds) == pytest.approx(
            sacrebleu.sentence_bleu(answer, golds).score / 100
        )
        assert chrf(answer, golds) == pytest.approx(sacrebleu.sentence_chrf(answer, golds).score / 100)


def test_against_rouge_score():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    for answer, golds in pairs():
        found = scorer.score(golds[0], answer)
        assert rouge_l(answer, golds[:1]) == pytest.approx(found["rougeL"].fmeasure)
        assert rouge_n(answer, golds[:1], 1) == pytest.approx(found["rouge1"].fmeasure)
        assert rouge_n(answer, golds[:1], 2) == pytest.approx(found["rouge2"].fmeasure)


def quadratic(a: str, b: str) -> tuple[int, int]:
    """Textbook LCS and Levenshtein."""
    common = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    edits = [[i + j if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            common[i][j] = common[i - 1][j - 1] + 1 if x == y else max(common[i - 1][j], common[i][j - 1])
            edits[i][j] = min(edits[i - 1][j] + 1, edits[i][j - 1] + 1, edits[i - 1][j - 1] + (x != y))
    return common[-1][-1], edits[-1][-1]


def test_bit_parallel_distances_are_the_textbooks():
    rng = random.Random(3)
    for _ in range(300):
        a, b = ("".join(rng.choices("abc", k=rng.randint(0, 40))) for _ in range(2))
        common, edits = quadratic(a, b)
        assert lcs_length(a, b) == common == len(lcs_pairs(a, b)) and edit_distance(a, b) == edits
        assert all(a[i] == b[j] for i, j in lcs_pairs(a, b))
    assert edit_similarity("", "") == 1.0 and edit_similarity("kitten", "sitting") == pytest.approx(4 / 7)
    assert edit_similarity("ab", "b", indel=True) == pytest.approx(2 / 3)
    assert edit_distance("ab" * 3000, "ba" * 3000) == 2


def test_sets_and_rank_correlation():
    assert jaccard([], []) == multiset_jaccard([], []) == 1.0 and jaccard("a", "") == 0.0
    assert jaccard("aab", "b") == 0.5 and multiset_jaccard("aab", "ab") == pytest.approx(2 / 3)
    assert kendall_tau([1, 2, 3], [1, 2, 3]) == 1.0 and kendall_tau([1, 2, 3], [3, 2, 1]) == -1.0
    assert math.isnan(kendall_tau([1, 1], [1, 2])) and math.isnan(kendall_tau([], []))
    stats = pytest.importorskip("scipy.stats")
    rng = random.Random(5)
    for _ in range(100):
        x, y = ([rng.randint(0, 4) for _ in range(8)] for _ in range(2))
        assert kendall_tau(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, nan_ok=True)


def test_rewards():
    rollouts = Rollouts(
        completion=["so <answer>the cat sat</answer>", "none", "<answer></answer>"],
        reference=["the cat sat", ["x", "the cat"], "the cat"],
    )
    for reward in (
        bleu(where="tag:answer"),
        chrf_reward(where="tag:answer"),
        rouge(where="tag:answer"),
        edit(where="tag:answer"),
    ):
        assert reward(rollouts).values.tolist() == [pytest.approx(1.0), 0.0, 0.0]
    assert edit(unit="word")(Rollouts(completion=["a b c"], reference=["a c"])).values[0] == pytest.approx(
        2 / 3
    )
    missing = rouge("2")(Rollouts(completion=["a"], reference=[None]))
    assert math.isnan(missing.values[0]) and "no reference" in missing.causes[0]
    for bad in (lambda: rouge("Lsum"), lambda: edit(unit="line"), lambda: bleu(where="tagged")):
        with pytest.raises(RecipeError):
            bad()
