"""Benchmark files through the readers and the command: published numbers, and what is refused how."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import guerdon
from guerdon.bench import prmbench, processbench, rewardbench2
from guerdon.bench.candidates import score_steps, with_steps
from guerdon.bench.files import read_rows
from guerdon.bench.run import evaluate_candidate, evaluate_saved
from guerdon.cli import app
from guerdon.data.signal import Signal
from guerdon.errors import DataError

DATA = os.environ.get("GUERDON_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="GUERDON_DATA (real model outputs) is not set")


def write(path: Path, rows) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def examples():
    return [
        {"id": "gsm8k-0", "problem": "p", "steps": ["a", "b"], "label": 1},
        {"id": "gsm8k-1", "problem": "p", "steps": ["a", "b"], "label": -1},
        {"id": "math-0", "problem": "p", "steps": ["a"], "label": 0},
        {"id": "math-1", "problem": "p", "steps": ["a"], "label": -1},
    ]


@needs_data
@pytest.mark.parametrize(
    ("file", "how", "accuracy", "mrr"),
    [
        ("internlm2_7b_scores", "normal", 37.27, 0.5517),
        ("math_shepherd_step_scores", "prod", 17.18, 0.3468),
        ("gpt4_pairwise_verdicts", "pairwise", 29.81, 0.5192),
    ],
)
def test_published_rewardmath_numbers(file, how, accuracy, mrr):
    metrics = evaluate_saved("rewardmath", scores=Path(DATA) / f"rewardmath/{file}.json.gz").metrics[how]
    assert (round(metrics["accuracy"], 2), round(metrics["mrr"], 4)) == (accuracy, mrr)


@needs_data
@pytest.mark.parametrize(
    ("judge", "numbers"),
    [
        ("arena_hard__o1-mini", [58.44, 62.24, 82.14, 78.57, 65.71]),
        ("reward_model__Skywork_Skywork-Reward-Llama-3.1-8B", [59.09, 64.29, 76.79, 50.0, 62.29]),
        ("reward_model__internlm_internlm2-7b-reward", [56.49, 61.22, 71.43, 50.0, 59.43]),
    ],
)
def test_published_judgebench_numbers(judge, numbers):
    report = evaluate_saved("judgebench", verdicts=Path(DATA) / f"judgebench/verdicts__{judge}.jsonl.gz")
    found = report.metrics["accuracy"]
    groups = ("knowledge", "reasoning", "math", "coding", "overall")
    assert [round(found[group], 2) for group in groups] == numbers


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".json.gz", ".jsonl.gz", ".parquet"])
def test_formats(tmp_path, suffix):
    path, rows = tmp_path / f"f{suffix}", examples()
    text = json.dumps(rows) if ".json" in suffix and "l" not in suffix else "\n".join(map(json.dumps, rows))
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    assert read_rows(path, {"id": str}, "x") == rows


def test_bad_files_are_named(tmp_path):
    missing = tmp_path / "none.jsonl"
    with pytest.raises(DataError, match="no such file"):
        processbench.load(missing)
    renamed = [{**row, "labels": row["label"]} for row in examples()]
    for row in renamed:
        del row["label"]
    with pytest.raises(DataError, match=r"row 1: no field 'label'; did you mean 'labels'"):
        processbench.load(write(tmp_path / "a.jsonl", renamed))
    broken = write(tmp_path / "b.jsonl", examples())
    broken.write_text(broken.read_text().replace('"id": "math-0"', '"id" "math-0"'))
    with pytest.raises(DataError, match="line 3: not JSON"):
        processbench.load(broken)
    with pytest.raises(DataError, match="occurs twice, in rows 1 and 5"):
        processbench.load(write(tmp_path / "c.jsonl", examples() + examples()[:1]))
    with pytest.raises(DataError, match="label 5 for 2 steps; expected -1 to 1"):
        processbench.load(write(tmp_path / "d.jsonl", [{**examples()[0], "label": 5}]))
    with pytest.raises(DataError, match="'steps' is str, expected list"):
        processbench.load(write(tmp_path / "e.jsonl", [{**examples()[0], "steps": "a b"}]))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="empty"):
        processbench.load(tmp_path / "empty.jsonl")


def test_partial_predictions_are_left_out_not_wrong(tmp_path):
    data = write(tmp_path / "d.jsonl", examples())
    predictions = [
        {"id": "gsm8k-0", "prediction": 1},
        {"id": "gsm8k-1", "prediction": -1},
        {"id": "math-1", "prediction": None},
    ]
    report = evaluate_saved("processbench", data, predictions=write(tmp_path / "p.jsonl", predictions))
    assert (report.n, report.expected) == (3, 4) and "PARTIAL: 1 of 4" in report.notes[0]
    assert report.metrics["gsm8k"] == {"error": 100.0, "correct": 100.0, "f1": 100.0}
    assert report.metrics["math"]["correct"] == 0.0  # unread: wrong, as the official script has it
    for bad, message in [
        ([{"id": "x", "prediction": 1}], "'x' is not in the benchmark"),
        (predictions + predictions[:1], "occurs twice"),
        ([{"id": "gsm8k-0", "prediction": "1"}], "expected a step's index"),
        ([{"id": "gsm8k-0"}], "no field 'prediction'"),
    ]:
        with pytest.raises(DataError, match=message):
            evaluate_saved("processbench", data, predictions=write(tmp_path / "p.jsonl", bad))


def test_scores_of_the_wrong_shape_and_missing_ones(tmp_path):
    data = write(tmp_path / "d.jsonl", examples())
    given = [{"id": r["id"], "scores": [0.9] * len(r["steps"])} for r in examples()]
    with pytest.raises(DataError, match="'gsm8k-0' has 3 scores for 2 steps"):
        evaluate_saved(
            "processbench", data, scores=write(tmp_path / "s.jsonl", [{**given[0], "scores": [1, 2, 3]}])
        )
    given[0]["scores"] = [0.9, 0.1]
    given[2]["scores"] = [None]
    report = evaluate_saved(
        "processbench", data, scores=write(tmp_path / "s.jsonl", given), options={"threshold": 0.5}
    )
    assert report.n == 3 and report.metrics["gsm8k"]["f1"] == 100.0
    tuned = evaluate_saved("processbench", data, scores=write(tmp_path / "s.jsonl", given))
    assert "tuned on gsm8k" in tuned.notes[0] and 0.1 < tuned.metrics["threshold"] <= 0.9


def test_a_reward_is_asked_per_step():
    def shorter_is_better(rollouts):
        ends = rollouts.partitions["step"]
        starts = [0 if i in ends.offsets[:-1] else ends.values[i - 1] for i in range(ends.total)]
        return Signal([-float(e - s) for s, e in zip(starts, ends.values, strict=True)], "step", "length")

    assert score_steps(shorter_is_better, ["p", "q"], [["a", "bbb"], ["cc"]]) == [[-3.0, -3.0], [-2.0]]
    assert with_steps(["p"], [["a", "bbb"]]).completion == ["a\n\nbbb"]


def test_candidates(tmp_path):
    rows = [
        {"id": str(i), "prompt": "q", "chosen": ["good"], "rejected": ["bad"] * 3, "subset": "Math"}
        for i in range(3)
    ]
    data = write(tmp_path / "r.jsonl", rows)
    oracle = guerdon.reward(lambda completion: float(completion == "good"), name="oracle")
    assert evaluate_candidate("rewardbench2", data, oracle).metrics == {"Math": 100.0, "average": 100.0}
    unwilling = guerdon.reward(lambda completion: None, name="unwilling")
    report = evaluate_candidate("rewardbench2", data, unwilling)
    assert report.n == 0 and report.notes[-1] == "12 not scored: returned None"
    with pytest.raises(DataError, match="one value per step; the reward gives one per rollout"):
        evaluate_candidate("processbench", write(tmp_path / "p.jsonl", examples()), oracle)
    pairs = [
        {
            "pair_id": i,
            "source": "livecodebench",
            "question": "q",
            "response_A": "good",
            "response_B": "bad",
            "label": "A>B",
        }
        for i in range(2)
    ]
    assert (
        evaluate_candidate("judgebench", write(tmp_path / "j.jsonl", pairs), oracle).metrics["accuracy"][
            "coding"
        ]
        == 100
    )
    with pytest.raises(DataError, match="no field 'question'"):
        evaluate_candidate("multi-rm", data, oracle)


def test_multi_rm_file(tmp_path):
    questions = [
        {
            "q_id": str(i),
            "cot_ids": [0, 1, 2, 3],
            "parsed_answers": ["A", "B", "B", None],
            "answer": "A",
            "category": "law",
        }
        for i in range(5)
    ]
    rewards = [{"q_id": str(i), "rewards": [[0.9, 0.8], [0.1, 0.9], [0.2], []]} for i in range(5)]
    data, given = write(tmp_path / "q.jsonl", questions), write(tmp_path / "r.jsonl", rewards)
    report = evaluate_saved(
        "multi-rm", data, scores=given, options={"verifier": "dprm", "sizes": [1, 4, 8], "runs": 20}
    )
    assert report.metrics["N=4"] == {
        "best_of_n": 100.0,
        "weighted_vote": 100.0,
        "majority_vote": 0.0,
        "pass": 100.0,
    }
    assert (
        report.metrics["N=1"]["best_of_n"] == report.metrics["N=1"]["pass"] and "above 4" in report.notes[0]
    )


def test_ties_subset_from_files(tmp_path):
    rows, given = [], []
    for name, (ref, tied) in {"1": ([2.0, 1.0], [2.0, 1.9, 1.0]), "2": ([2.0, 1.0], [2.0, 1.9, 1.0])}.items():
        rows.append({"id": f"ref:{name}", "chosen": ["a"], "rejected": ["b"], "subset": "Ties"})
        rows.append({"id": f"tied:{name}", "chosen": ["a", "c"], "rejected": ["b"], "subset": "Ties"})
        given += [{"id": f"ref:{name}", "scores": ref}, {"id": f"tied:{name}", "scores": tied}]
    report = rewardbench2.evaluate_scores(
        write(tmp_path / "d.jsonl", rows), write(tmp_path / "s.jsonl", given)
    )
    assert report.metrics["Ties"] == pytest.approx(101, abs=0.01)


def test_the_command(tmp_path):
    run = CliRunner()
    data = write(tmp_path / "d.jsonl", examples())
    predictions = write(tmp_path / "p.jsonl", [{"id": r["id"], "prediction": r["label"]} for r in examples()])
    picture = tmp_path / "p.png"
    arguments = ["bench", "processbench", "--data", str(data), "--predictions", str(predictions)]
    result = run.invoke(app, [*arguments, "--json", "--plot", str(picture)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["metrics"]["average_f1"] == 100.0 and found["complete"] and picture.stat().st_size > 1000
    table = run.invoke(app, arguments)
    assert "gsm8k" in table.stdout and "100.00" in table.stdout
    for wrong, message in [
        (["bench", "procesbench"], "did you mean 'processbench'"),
        (["bench", "processbench", "--predictions", str(predictions)], "needs --data FILE"),
        (["bench", "rewardmath", "--verdicts", str(data)], "--scores FILE"),
        ([*arguments, "--set", "treshold=1"], "unknown option 'treshold'"),
    ]:
        result = run.invoke(app, wrong)
        assert result.exit_code == 2 and message in result.output


@needs_data
def test_prmbench_counts_kinds_of_error_apart():
    data = Path(DATA) / "prmbench/subset400.jsonl.gz"
    rows = prmbench.load(data)
    assert len({row["idx"] for row in rows}) == len(rows)
    perfect = [
        [float(i + 1 not in row["error_steps"]) for i in range(len(row["modified_process"]))] for row in rows
    ]
    assert prmbench.report(rows, perfect).metrics["overall"]["all_steps"] == 100.0
