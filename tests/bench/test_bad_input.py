"""What every benchmark does with files that are not as they should be: each fault against each benchmark."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from guerdon.bench.files import numbers
from guerdon.bench.run import evaluate_saved
from guerdon.cli import app
from guerdon.errors import DataError


def write(path: Path, rows) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def pair(n):
    return {
        "pair_id": f"{n}",
        "source": "mmlu-pro-law",
        "label": "A>B",
        "judgments": [{"decision": "A>B"}, {"decision": "B>A"}],
    }


def ranked(n):
    return {"problem": f"p{n}", "solution_reference": ["human_to_GPT-4", "b"], "score": [1.0, 0.5]}


def checked(n):
    return {"id": f"gsm8k-{n}", "problem": "p", "steps": ["a", "b"], "label": 1 - 2 * (n % 2)}


def planted(n):
    return {
        "idx": f"{n}",
        "classification": "circular",
        "question": "q",
        "modified_process": ["a", "b"],
        "error_steps": [2],
    }


def styled(n):
    return {"id": f"{n}", "prompt": "p", "chosen": ["a"] * 3, "rejected": ["b"] * 3}


def four(n):
    return {"id": f"{n}", "prompt": "p", "chosen": ["a"], "rejected": ["b"] * 3, "subset": "Math"}


def sampled(n):
    return {"q_id": f"{n}", "cot_ids": [0, 1], "parsed_answers": ["A", "B"], "answer": "A"}


OUTPUTS = {
    "judgebench": ("verdicts", None, pair, "pair_id", "judgments"),
    "rewardmath": ("scores", None, ranked, None, "score"),
    "processbench": ("scores", checked, lambda n: {"id": f"gsm8k-{n}", "scores": [0.9, 0.2]}, "id", "scores"),
    "prmbench": ("scores", planted, lambda n: {"idx": f"circular_{n}", "scores": [1, 0]}, "idx", "scores"),
    "rmbench": (
        "scores",
        styled,
        lambda n: {"id": f"{n}", "score_chosen": [3, 3, 3], "score_rejected": [1, 1, 1]},
        "id",
        "score_chosen",
    ),
    "rewardbench2": ("scores", four, lambda n: {"id": f"{n}", "scores": [4, 3, 2, 1]}, "id", "scores"),
    "multi-rm": ("scores", sampled, lambda n: {"q_id": f"{n}", "rewards": [[0.9], [0.1]]}, "q_id", "rewards"),
}
"""benchmark -> (kind of outputs, row of its file or None, row of outputs, id, field of the outputs)."""
NAMES = sorted(OUTPUTS)
MATCHED = [name for name in NAMES if OUTPUTS[name][1] is not None]


def evaluate(tmp_path, name, outputs, data=None):
    kind, example, *_ = OUTPUTS[name]
    rows = [example(n) for n in range(4)] if data is None and example else data
    place = write(tmp_path / "data.jsonl", rows) if rows else None
    options = {"threshold": 0.5} if name == "processbench" else {}
    given = write(tmp_path / "outputs.jsonl", outputs)
    return evaluate_saved(name, place, options=options, **{kind: given})


def outputs(name):
    return [OUTPUTS[name][2](n) for n in range(4)]


@pytest.mark.parametrize("name", NAMES)
def test_files_as_they_should_be_are_complete(tmp_path, name):
    report = evaluate(tmp_path, name, outputs(name))
    assert report.n == report.expected == 4 and not any("PARTIAL" in note for note in report.notes)


@pytest.mark.parametrize("name", NAMES)
def test_a_renamed_field_is_named_with_the_nearest_and_the_schema(tmp_path, name):
    field = OUTPUTS[name][4]
    rows = outputs(name)
    rows[2][field + "_"] = rows[2].pop(field)
    with pytest.raises(DataError) as error:
        evaluate(tmp_path, name, rows)
    said = str(error.value)
    assert (
        "row 3" in said and f"no field {field!r}; did you mean {field + '_'!r}" in said and "expected" in said
    )


@pytest.mark.parametrize("name", MATCHED)
def test_a_renamed_field_of_the_benchmark_file_is_named(tmp_path, name):
    rows = [OUTPUTS[name][1](n) for n in range(4)]
    field = next(key for key in ("steps", "modified_process", "chosen", "parsed_answers") if key in rows[0])
    rows[1][f"{field}_texts"] = rows[1].pop(field)
    with pytest.raises(DataError, match=rf"data.jsonl, row 2: no field '{field}'; did you mean '{field}_te"):
        evaluate(tmp_path, name, outputs(name), rows)


@pytest.mark.parametrize("name", [name for name in NAMES if OUTPUTS[name][3]])
def test_duplicate_ids_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="occurs twice, in rows 1 and 5; keep one"):
        evaluate(tmp_path, name, [*outputs(name), outputs(name)[0]])


@pytest.mark.parametrize("name", MATCHED)
def test_duplicate_ids_of_the_benchmark_file_are_refused(tmp_path, name):
    rows = [OUTPUTS[name][1](n) for n in (0, 1, 1)]
    with pytest.raises(DataError, match=r"data\.jsonl: .* occurs twice, in rows 2 and 3"):
        evaluate(tmp_path, name, outputs(name)[:2], rows)


def test_a_problem_that_occurs_twice_in_rewardmath_is_said(tmp_path):
    report = evaluate(tmp_path, "rewardmath", [*outputs("rewardmath"), ranked(0)])
    assert report.n == 5 and any("1 rows repeat a problem" in note for note in report.notes)


@pytest.mark.parametrize("name", MATCHED)
def test_partial_outputs_are_reported_and_never_scored_as_wrong(tmp_path, name):
    full = evaluate(tmp_path, name, outputs(name))
    report = evaluate(tmp_path, name, outputs(name)[:2])
    assert (report.n, report.expected) == (2, 4)
    assert any("PARTIAL: 2 of 4" in note for note in report.notes) and not report.to_dict()["complete"]
    if name != "multi-rm":  # its right answer depends on the draw
        assert report.metrics == full.metrics


@pytest.mark.parametrize("name", MATCHED)
def test_an_unknown_id_is_named(tmp_path, name):
    rows = outputs(name)
    key = OUTPUTS[name][3]
    rows[3][key] = "elsewhere"
    with pytest.raises(DataError, match=f"row 4: {key} 'elsewhere' is not in the benchmark file"):
        evaluate(tmp_path, name, rows)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "judgebench"])
def test_scores_of_the_wrong_shape_are_named(tmp_path, name):
    field = OUTPUTS[name][4]
    rows = outputs(name)
    rows[1][field] = [*rows[1][field], rows[1][field][0]]
    with pytest.raises(DataError, match=r"row 2|[12]'"):
        evaluate(tmp_path, name, rows)
    rows[1][field] = 3
    with pytest.raises(DataError, match=f"row 2: field {field!r} is int, expected list"):
        evaluate(tmp_path, name, rows)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("junk", ["high", {"a": 1}])
def test_what_is_no_number_is_named(tmp_path, name, junk):
    field = OUTPUTS[name][4]
    rows = outputs(name)
    inside = rows[1][field]
    inside[0] = junk if not isinstance(inside[0], list) else [junk]
    with pytest.raises(DataError, match=r"row 2|'1'|_1'|-1'"):
        evaluate(tmp_path, name, rows)


@pytest.mark.parametrize("name", ["rewardmath", "processbench", "prmbench", "rmbench", "rewardbench2"])
@pytest.mark.parametrize("missing", [None, math.nan])
def test_missing_scores_leave_their_example_out(tmp_path, name, missing):
    field = OUTPUTS[name][4]
    rows = outputs(name)
    rows[0][field] = [missing, *rows[0][field][1:]]
    report = evaluate(tmp_path, name, rows)
    assert report.n == 3 and report.expected == 4
    assert any("left out" in note for note in report.notes)


def test_a_solution_without_reward_counts_as_unknown_and_is_said(tmp_path):
    rows = outputs("multi-rm")
    rows[0]["rewards"] = [[], [None]]
    report = evaluate(tmp_path, "multi-rm", rows)
    assert any("2 solutions have no usable reward and count as 0.5" in note for note in report.notes)


def test_ties(tmp_path):
    tied = [{**ranked(n), "score": [0.5, 0.5]} for n in range(2)]
    report = evaluate(tmp_path, "rewardmath", tied)
    assert report.metrics["normal"] == {"accuracy": 0.0, "accuracy_with_ties": 100.0, "mrr": 0.5}
    assert any("ties with the right one in 2 problems" in note for note in report.notes)
    four_ways = [{"id": f"{n}", "scores": [1, 1, 1, 1]} for n in range(4)]
    assert evaluate(tmp_path, "rewardbench2", four_ways).metrics["Math"] == 25.0
    styles = [{"id": f"{n}", "score_chosen": [1] * 3, "score_rejected": [1] * 3} for n in range(4)]
    assert evaluate(tmp_path, "rmbench", styles).metrics["overall"]["average"] == 0.0
    at_threshold = [{"id": f"gsm8k-{n}", "scores": [0.5, 0.5]} for n in range(4)]
    assert evaluate(tmp_path, "processbench", at_threshold).metrics["gsm8k"]["correct"] == 100.0
    both = [{**pair(n), "judgments": [{"decision": "A=B"}] * 2} for n in range(2)]
    assert evaluate(tmp_path, "judgebench", both).metrics["undecided"]["overall"] == 100.0


def test_verdicts_of_another_make(tmp_path):
    for judgments, said in [
        (["A>B", "B>A"], "has no field 'decision'"),
        ([{"verdict": "A>B"}, {"decision": "B>A"}], "has no field 'decision'"),
        (
            [{"decision": "A>>B"}, {"decision": "B>A"}],
            "decision 'A>>B', expected 'A>B', 'B>A', 'A=B' or null",
        ),
        ([{"decision": "A>B"}] * 3, "3 judgments, expected two"),
    ]:
        with pytest.raises(DataError, match=said):
            evaluate(tmp_path, "judgebench", [pair(0), {**pair(1), "judgments": judgments}])
    unread = [{**pair(0), "judgments": [None, {"decision": None}]}]
    assert evaluate(tmp_path, "judgebench", unread).metrics["accuracy"]["overall"] == 0.0
    letters = {**ranked(0), "score": ["A", "B"]}
    for sides in (None, ["A"], ["A", "C"], True):
        with pytest.raises(DataError, match="letters need 'chosen_position'"):
            evaluate(tmp_path, "rewardmath", [{**letters, "chosen_position": sides}])


def test_texts_and_predictions_of_another_make(tmp_path):
    for name, field in [("processbench", "steps"), ("prmbench", "modified_process"), ("rmbench", "chosen")]:
        rows = [copy.deepcopy(OUTPUTS[name][1](n)) for n in range(2)]
        rows[1][field][0] = 7
        with pytest.raises(DataError, match=f"row 2: entry 1 of {field!r} is int, expected a text"):
            evaluate(tmp_path, name, outputs(name)[:2], rows)
    data = write(tmp_path / "d.jsonl", [checked(n) for n in range(2)])
    given = write(tmp_path / "p.jsonl", [{"id": f"gsm8k-{n}", "prediction": 9} for n in range(2)])
    report = evaluate_saved("processbench", data, predictions=given)
    assert any("2 predictions name a step that does not exist" in note for note in report.notes)


def test_numbers():
    assert numbers([1, 0.5, True], "x") == [1.0, 0.5, 1.0] and math.isnan(numbers([None], "x")[0])
    with pytest.raises(DataError, match=r"x, score 2: '0\.5' is no number"):
        numbers([1, "0.5"], "x")
    with pytest.raises(DataError, match="too large"):
        numbers([10**400], "x")


def test_the_command_says_it_in_one_line_and_exits_with_two(tmp_path):
    given = write(tmp_path / "v.jsonl", [{**pair(0), "judgments": "none"}])
    found = CliRunner().invoke(app, ["bench", "judgebench", "--verdicts", str(given), "--json"])
    assert found.exit_code == 2 and "row 1: field 'judgments' is str, expected list" in found.output
    assert "Traceback" not in found.output
