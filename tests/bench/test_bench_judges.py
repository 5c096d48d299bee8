"""Benchmarks put to judges and critics: over a scripted server, in both orders, with replies that fail."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "judge"))
from judge_client import make
from judge_rules import FENCE, Ruled, better
from judge_server import ScriptedServer, completion, error, shown

from guerdon import Rollouts
from guerdon.bench.candidates import with_steps
from guerdon.bench.processbench import score_report
from guerdon.bench.run import evaluate_candidate
from guerdon.bench.sweep import threshold_table
from guerdon.cli import app
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.judge import FirstErrorReward, Judge
from guerdon.judge.exchange import Reply
from guerdon.judge.first_errors import majority, numbered
from guerdon.scoring import Verdict, missing


def write(path: Path, rows) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def material(body) -> dict[str, str]:
    """The fenced material of a request."""
    return {name.lower(): text for name, _, text in FENCE.findall(shown(body))}


def pairs(*answers):
    """JudgeBench pairs whose right response is the one that begins with `good`."""
    return [
        {
            "pair_id": str(i),
            "source": "mmlu-pro-law",
            "question": f"q{i}",
            "response_A": a,
            "response_B": b,
            "label": "A>B" if a.startswith("good") else "B>A",
        }
        for i, (a, b) in enumerate(answers)
    ]


def judged(rule, rows, tmp_path):
    reward = Judge(Ruled(rule)).pairwise()
    return evaluate_candidate("judgebench", write(tmp_path / "pairs.jsonl", rows), reward)


def prefers_good(found):
    return "[[A>B]]" if found["answer_a"].startswith("good") else "[[B>A]]"


def test_judgebench_asks_both_orders(tmp_path):
    rows = pairs(("good", "bad"), ("bad", "good"), ("good", "worse"))
    report = judged(prefers_good, rows, tmp_path)
    assert report.metrics["accuracy"]["overall"] == 100.0 == report.metrics["consistent"]["overall"]
    position = judged(lambda found: "[[A>>B]]", rows, tmp_path)
    assert position.metrics["accuracy"]["overall"] == 0.0 == position.metrics["consistent"]["overall"]
    assert position.metrics["undecided"]["overall"] == 100.0
    assert position.metrics["first_order"]["overall"] == pytest.approx(200 / 3)


def test_unclear_verdicts_cost_a_vote_and_unanswered_pairs_are_left_out(tmp_path):
    rows = pairs(("good", "bad"), ("good mumble", "bad"), ("good lost", "bad"))

    def rule(found):
        texts = found["answer_a"] + found["answer_b"]
        if "mumble" in texts and found["answer_a"] == "bad":
            return "who knows"
        return None if "lost" in texts else prefers_good(found)

    report = judged(rule, rows, tmp_path)
    assert (report.n, report.expected) == (2, 3) and report.metrics["accuracy"]["overall"] == 100.0
    assert any("1 pairs have an order without a verdict" in note for note in report.notes)
    assert any("PARTIAL: 1 of 3" in note for note in report.notes)
    assert any(note == "2 not scored: judge: silence" for note in report.notes)


def test_a_reward_without_a_score_leaves_the_pair_out(tmp_path):
    import guerdon

    some = guerdon.reward(lambda completion: None if completion == "bad" else len(completion), name="some")
    data = write(tmp_path / "p.jsonl", pairs(("good", "bad"), ("good", "no")))
    report = evaluate_candidate("judgebench", data, some)
    assert (report.n, report.expected) == (1, 2) and report.metrics["accuracy"]["overall"] == 100.0


def direct(*problems):
    """RewardMATH rows: per problem the right solution, then wrong ones."""
    return [
        {
            "problem": f"p{i}",
            "eval_solution": text,
            "solution_type": "rejected" if k else "chosen",
            "answer": "1",
        }
        for i, texts in enumerate(problems)
        for k, text in enumerate(texts)
    ]


def test_rewardmath_against_each_wrong_solution_in_both_orders(tmp_path):
    rows = direct(("aaaa", "a", "aa"), ("aa", "a", "aaaa"), ("aaa", "mumble", "a"), ("aaa", "lost", "a"))

    def rule(found):
        texts = found["answer_a"] + found["answer_b"]
        return None if "lost" in texts else "hm" if "mumble" in texts else better(found)

    client = Ruled(rule)
    data = write(tmp_path / "r.jsonl", rows)
    report = evaluate_candidate("rewardmath", data, Judge(client).pairwise())
    # right in the first; second: one of two beaten, so rank 2; third: unread verdict lost; fourth left out
    assert report.metrics["pairwise"]["accuracy"] == pytest.approx(100 / 3)
    assert report.metrics["pairwise"]["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert (report.n, report.expected) == (3, 4) and len(client.asked) == 2 * 8
    assert any("1 verdicts could not be read" in note for note in report.notes)


def test_critic_values_and_its_votes():
    replies = iter([r"... \boxed{0} no: \boxed{1}", r"\boxed{-1}", r"\boxed{2}", "none"])
    reward = FirstErrorReward(Judge(Ruled(lambda found: next(replies))))
    rollouts = with_steps(["p"] * 4, [["a", "b", "c"], ["d", "e"], ["f", "g"], ["h"]])
    signal, parts = reward.explain(rollouts)
    assert signal.level == "step"
    assert np.array_equal(signal.values, [1, 0, 0, 1, 1, np.nan, np.nan, np.nan], equal_nan=True)
    assert signal.causes[5] == "judge: a number that no step has" and "no verdict" in signal.causes[7]
    assert np.array_equal(parts["first_error"].values, [1, -1, np.nan, np.nan], equal_nan=True)
    votes = [Verdict(2), Verdict(2), Verdict(-1), missing("judge: no verdict", reply="?")]
    assert majority(votes).value == 2 and majority(votes[1:3]).value == 2
    assert majority([missing("gone"), votes[3]]).cause == "judge: no verdict"
    with pytest.raises(DataError, match="partition"):
        reward(Rollouts(prompt=["p"], completion=["a"]))


def test_a_solution_cannot_number_its_own_paragraphs():
    text = numbered(["a</paragraph_0>\n<paragraph_1>ok", "b < 3"])
    assert re.findall(r"<(paragraph_\d)>", text) == ["paragraph_0", "paragraph_1"]
    assert text.count("</paragraph_0>") == 1 and "b < 3" in text


def examples():
    return [
        {"id": "gsm8k-0", "problem": "p", "steps": ["a", "bad"], "label": 1},
        {"id": "gsm8k-1", "problem": "p", "steps": ["a", "b"], "label": -1},
        {"id": "gsm8k-2", "problem": "p", "steps": ["mumble"], "label": -1},
        {"id": "gsm8k-3", "problem": "p", "steps": ["lost"], "label": -1},
    ]


def criticised(found):
    """Names the first paragraph that says bad."""
    if "lost" in found["answer"]:
        return None
    at = re.search(r"<paragraph_(\d+)>\nbad", found["answer"])
    return "?" if "mumble" in found["answer"] else rf"\boxed{{{at[1] if at else -1}}}"


def test_processbench_counts_unread_critics_as_wrong_and_leaves_unanswered_out(tmp_path):
    reward = FirstErrorReward(Judge(Ruled(criticised)))
    report = evaluate_candidate("processbench", write(tmp_path / "d.jsonl", examples()), reward)
    assert report.metrics["gsm8k"] == {"error": 100.0, "correct": 50.0, "f1": pytest.approx(200 / 3)}
    assert (report.n, report.expected) == (3, 4)
    assert any("1 predictions are null" in note for note in report.notes)


def test_votes_of_a_critic_are_drawn_apart(tmp_path):
    def rule(found, query):
        return Reply(r"\boxed{0}" if query.draw == 1 else r"\boxed{-1}")

    client = Ruled(rule)
    reward = FirstErrorReward(Judge(client, sampling={"temperature": 0.7}), votes=3)
    report = evaluate_candidate("processbench", write(tmp_path / "d.jsonl", examples()[1:2]), reward)
    assert report.metrics["gsm8k"]["correct"] == 100.0 and len(client.asked) == 3


@pytest.mark.parametrize(("name", "reward"), [("judgebench", "pairwise"), ("processbench", "first_error")])
def test_the_command_over_a_server(tmp_path, name, reward):
    def script(number, body):
        found = material(body)
        if number == 0:
            return error(503)
        return completion(prefers_good(found) if "answer_a" in found else criticised(found))

    rows = pairs(("good", "bad"), ("bad", "good")) if name == "judgebench" else examples()[:2]
    data = write(tmp_path / "d.jsonl", rows)
    with ScriptedServer(script) as server:
        asked = ["--reward", f"judge.{reward}", "--set", f"url={server.url}", "--set", "model=m"]
        result = CliRunner().invoke(app, ["bench", name, "--data", str(data), *asked, "--json"])
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)["metrics"]
    assert (metrics["accuracy"]["overall"] if name == "judgebench" else metrics["average_f1"]) == 100.0
    assert len(server.seen) == (5 if name == "judgebench" else 3)


def test_a_dead_server_scores_nothing(tmp_path):
    with ScriptedServer([error(500)]) as server:
        reward = make(server).pairwise()
        report = evaluate_candidate("judgebench", write(tmp_path / "d.jsonl", pairs(("good", "b"))), reward)
    assert report.n == 0 and report.expected == 1 and any("PARTIAL" in note for note in report.notes)


# -- thresholds and aggregations -------------------------------------------------------------------


def test_thresholds_are_swept_on_the_named_subset_only():
    rows = [
        {"id": f"{subset}-{i}", "problem": "", "steps": ["s"] * 2, "label": label}
        for subset in ("gsm8k", "math")
        for i, label in enumerate([1, -1, 0, -1])
    ]
    scores = [[0.9, 0.2], [0.8, 0.7], [0.3, 0.9], [0.9, 0.6]]
    report = score_report(rows, scores + [[0.0, 0.0]] * 4, None, "gsm8k", sweep=True)
    table = report.tables[-1]
    assert "gsm8k only" in table.title and table.rows["0.6"]["f1"].value == 100.0
    assert table.rows["0.6"]["f1"].n == 4 and table.rows["> 0.9"]["correct"].value == 0.0
    assert report.metrics["threshold"] == 0.6 and "not a test" in report.notes[0]
    fixed = score_report(rows, scores * 2, 0.1, "math", sweep=True)
    assert fixed.metrics["threshold"] == 0.1 and "math only" in fixed.tables[-1].title
    with pytest.raises(DataError, match="'omnimath'"):
        score_report(rows, scores * 2, 0.1, "omnimath", sweep=True)
    assert threshold_table([[0.5]], [-1], "x").rows["0.5"]["correct"].value == 100.0


def first_letters(rollouts):
    """A step reward: a digit at the beginning of a step is its value in tenths."""
    ends = rollouts.partitions["step"]
    values = []
    for row in range(len(rollouts)):
        text, cuts = rollouts.text(row), ends[row].tolist()
        values += [int(text[a]) / 10 for a in [0, *cuts[:-1]]]
    return Signal(np.array(values), "step", "letters")


def test_rewardmath_with_a_step_reward_under_one_or_all_aggregations(tmp_path):
    rows = direct((["9", "5"], ["8", "8"]), (["9", "9"], ["1", "9"]))
    data = write(tmp_path / "r.jsonl", rows)
    last = evaluate_candidate("rewardmath", data, first_letters, {"aggregation": "last"})
    assert last.metrics == {"last": {"accuracy": 0.0, "accuracy_with_ties": 50.0, "mrr": 0.5}}
    swept = evaluate_candidate("rewardmath", data, first_letters, {"sweep": True})
    assert len(swept.metrics) == 8 and swept.metrics["min"]["accuracy"] == 50.0
    assert swept.metrics["max"]["accuracy"] == 50.0 and not math.isnan(swept.metrics["prod"]["mrr"])
    with pytest.raises(RecipeError, match="unknown aggregation 'lats'; did you mean 'last'"):
        evaluate_candidate("rewardmath", data, first_letters, {"aggregation": "lats"})
    with pytest.raises(RecipeError, match="unknown option 'tresh'"):
        evaluate_candidate("processbench", data, first_letters, {"tresh": 1})
