"""Every benchmark asked through the command: judges that rate or compare, rewards per answer and per step."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "judge"))
from judge_rules import FENCE
from judge_server import ScriptedServer, completion, shown

from guerdon.bench.candidates import score_either
from guerdon.bench.run import BENCHMARKS, evaluate_candidate
from guerdon.cli import app
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError

FILES = {
    "judgebench": [
        {
            "pair_id": str(i),
            "source": "livebench-math",
            "question": "q",
            "response_A": a,
            "response_B": b,
            "label": label,
        }
        for i, (a, b, label) in enumerate([("q9", "q2", "A>B"), ("q1", "q8", "B>A")])
    ],
    "rewardmath": [
        {"problem": f"p{i}", "eval_solution": [f"q{v}"], "solution_type": kind, "answer": "1"}
        for i in range(2)
        for v, kind in [(9, "chosen"), (3, "rejected"), (2, "rejected")]
    ],
    "processbench": [
        {"id": "math-0", "problem": "p", "steps": ["q9", "q2"], "label": 1},
        {"id": "math-1", "problem": "p", "steps": ["q8", "q8"], "label": -1},
    ],
    "prmbench": [
        {
            "idx": "0",
            "classification": "circular",
            "question": "p",
            "modified_process": ["q9", "q1"],
            "error_steps": [2],
        }
    ],
    "rewardbench2": [
        {"id": "0", "prompt": "p", "chosen": ["q9"], "rejected": ["q1", "q2", "q3"], "subset": "Math"}
    ],
    "rmbench": [{"id": "0", "prompt": "p", "chosen": ["q9"] * 3, "rejected": ["q1"] * 3, "domain": "chat"}],
    "multi-rm": [
        {
            "q_id": str(i),
            "question": "p",
            "cot_ids": [0, 1],
            "cots": [["q8", "q9"], "q1"],
            "parsed_answers": ["A", "B"],
            "answer": "A",
        }
        for i in range(3)
    ],
}


def right(name, metrics):
    """Whether the report says that everything was right."""
    return {
        "judgebench": lambda m: m["accuracy"]["overall"],
        "rewardmath": lambda m: next(iter(m.values()))["accuracy"],
        "processbench": lambda m: m["average_f1"],
        "prmbench": lambda m: m["overall"]["all_steps"],
        "rewardbench2": lambda m: m["average"],
        "rmbench": lambda m: m["overall"]["average"],
        "multi-rm": lambda m: m["N=2"]["best_of_n"],
    }[name](metrics)


def worth(text):
    """The digit that a text of these files ends with."""
    return int(re.findall(r"q(\d)", text)[-1])


def write(path: Path, rows) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def command(name, data, *settings, reward):
    sets = [part for setting in settings for part in ("--set", setting)]
    found = CliRunner().invoke(app, ["bench", name, "--data", str(data), "--reward", reward, *sets, "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_every_benchmark_has_a_file_here():
    assert set(FILES) == set(BENCHMARKS)


@pytest.mark.parametrize("name", ["judgebench", "rewardmath", "rewardbench2", "rmbench", "multi-rm"])
def test_a_judge_that_rates(tmp_path, name):
    def script(number, body):
        found = dict((key.lower(), text) for key, _, text in FENCE.findall(shown(body)))
        return completion(f"[[{worth(found['answer'])}]]")

    data = write(tmp_path / "d.jsonl", FILES[name])
    with ScriptedServer(script) as server:
        report = command(name, data, f"url={server.url}", "model=m", reward="judge.rate")
    assert report["complete"] and right(name, report["metrics"]) == 100.0


def test_a_judge_that_compares_on_rewardmath(tmp_path):
    def script(number, body):
        found = dict((key.lower(), text) for key, _, text in FENCE.findall(shown(body)))
        better = worth(found["answer_a"]) > worth(found["answer_b"])
        return completion("[[A>B]]" if better else "[[B>A]]")

    data = write(tmp_path / "d.jsonl", FILES["rewardmath"])
    with ScriptedServer(script) as server:
        report = command("rewardmath", data, f"url={server.url}", "model=m", reward="judge.pairwise")
    assert right("rewardmath", report["metrics"]) == 100.0 and len(server.seen) == 2 * 4


REWARDS = """
import numpy as np
from guerdon.data.signal import Signal

def per_answer(completion):
    return int(completion.split("q")[-1].split()[0])

class PerStep:
    name, version = "per_step", "1"
    def __call__(self, rollouts, ctx=None):
        ends, values = rollouts.partitions["step"], []
        for row in range(len(rollouts)):
            text, cuts = rollouts.text(row), ends[row].tolist()
            values += [int(text[a + 1]) / 10 for a in [0, *cuts[:-1]]]
        return Signal(np.array(values), "step", "per_step")
"""


@pytest.mark.parametrize(
    ("name", "reward"),
    [
        *(
            (name, "per_answer")
            for name in ("judgebench", "rewardmath", "rewardbench2", "rmbench", "multi-rm")
        ),
        *((name, "PerStep") for name in ("processbench", "prmbench", "multi-rm")),
    ],
)
def test_a_reward_of_ones_own(tmp_path, name, reward):
    code = tmp_path / f"own_{reward.lower()}_{name.replace('-', '_')}.py"
    code.write_text(REWARDS)
    report = command(name, write(tmp_path / "d.jsonl", FILES[name]), reward=f"{code}:{reward}")
    assert report["complete"] and right(name, report["metrics"]) == 100.0


def test_multi_rm_takes_the_kind_of_verifier_and_refuses_others(tmp_path):
    data = write(tmp_path / "d.jsonl", FILES["multi-rm"])

    def per_step(rollouts):
        values = [0.1 if len(rollouts.text(row)) > 2 else 0.5 for row in range(len(rollouts))]
        sizes = [len(ends) for ends in rollouts.partitions["step"].to_lists()]
        return Signal(np.repeat(values, sizes), "step", "s")

    found = evaluate_candidate("multi-rm", data, per_step, {"runs": 3, "sizes": [2]})
    assert found.metrics["N=2"]["best_of_n"] == 0.0 and "aggregated by min" in found.notes[0]
    last = evaluate_candidate("multi-rm", data, per_step, {"verifier": "dorm", "sizes": [2], "runs": 3})
    assert "aggregated by last" in last.notes[0]
    with pytest.raises(RecipeError, match="did you mean 'gorm'"):
        evaluate_candidate("multi-rm", data, per_step, {"verifier": "gor"})
    with pytest.raises(RecipeError, match="unknown aggregation"):
        evaluate_candidate("multi-rm", data, per_step, {"aggregation": "median"})
    broken = write(tmp_path / "b.jsonl", [{**FILES["multi-rm"][0], "cots": ["q1"]}])
    with pytest.raises(DataError, match="row 1: 1 cots and 2 parsed_answers"):
        evaluate_candidate("multi-rm", broken, per_step)


def test_rewards_at_another_level_are_refused():
    with pytest.raises(DataError, match="one value per answer or step; the reward gives one per turn"):
        score_either(lambda r: Signal(np.zeros(len(r)), "turn", "t"), ["p"], [["a"]], [0])


def test_models_from_a_folder(tmp_path):
    from guerdon.engines.lab import LabEngine
    from guerdon.models import GenerativeVerifier, StepClassifier, save

    shape = {"dim": 16, "layers": 1, "heads": 2, "context": 64, "device": "cpu"}
    save(GenerativeVerifier(LabEngine(**shape), template="{question}{response}:"), tmp_path / "verifier")
    save(StepClassifier(LabEngine(**shape), score="probability"), tmp_path / "steps")
    for name, model in [("rewardmath", "verifier"), ("multi-rm", "verifier"), ("processbench", "steps")]:
        data = write(tmp_path / f"{name}.jsonl", FILES[name])
        report = command(name, data, f"path={tmp_path / model}", "device=cpu", reward="models.load")
        assert report["complete"] and not any("not scored" in note for note in report["notes"])
