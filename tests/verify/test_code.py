"""`verify.code`: programs in completions, the forms of references, rewards, agreement with HumanEval."""

from __future__ import annotations

import ast
import gzip
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from guerdon import registry, score, verify
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.sandbox import Limits, Sandbox, why_not
from guerdon.sandbox.worker import WorkerLost
from guerdon.verify.program_tests import (
    CallTests,
    StreamTests,
    code_blocks,
    find_code,
    program_of,
    read_reference,
    same_output,
)
from guerdon.verify.programs import CodeReward, code

isolated = pytest.mark.skipif(bool(why_not()), reason=why_not() or "isolated")
DATA = os.environ.get("GUERDON_DATA")
ASSERTS = ["assert f(1) == 2", "assert f(2) == 3", "assert f(3) == 5"]


def scored(reward: CodeReward, completions: list[str], reference: Any, prompt: Any = None) -> list[float]:
    n = len(completions)
    rollouts = Rollouts(completion=completions, reference=[reference] * n, prompt=[prompt or "p"] * n)
    return [float(value) for value in reward(rollouts).values]


def test_blocks_are_found_as_markdown_has_them() -> None:
    text = "a\n```python\nx\n```\nb\n```\ny\n```\n~~~py title\nz\n```\n~~~\n"
    text += "```bash\nls\n```\n````python\nq\n```\n"
    assert code_blocks(text) == [
        ("python", "x\n"),
        ("", "y\n"),
        ("py", "z\n```\n"),
        ("bash", "ls\n"),
        ("python", "q\n```\n"),
    ]
    assert find_code(text, "first") == "x\n"
    assert find_code("```bash\nls\n```", "last") is None
    assert find_code("```python\n1\n```\n```text\nout\n```", "last") == "1\n"
    assert find_code("```py\n1\n```\n```\n2\n```", "all") == "1\n\n2\n"
    assert find_code("no code", "last") is None


PROMPT = 'import math\n\n\ndef helper(x):\n    return x\n\n\ndef f(x):\n    """Add one."""\n'


@pytest.mark.parametrize(
    ("text", "fenced"),
    [
        ("    return x + 1\n", False),
        ("    return x + 1\n", True),
        ("return x + 1\n", True),
        ("def f(x):\n    return x + 1\n", True),
        ("import sys\nasync def f(x):\n    return x + 1\n", True),
        ("def f(x):\n    return helper(x) + math.floor(1)\n", True),
    ],
)
def test_a_completion_continues_the_prompt_or_stands_alone(text: str, fenced: bool) -> None:
    tests = read_reference({"prompt": PROMPT, "test": "def check(g): pass", "entry_point": "f"})
    assert isinstance(tests, CallTests)
    space: dict[str, Any] = {}
    exec(program_of(text, fenced, tests), space)
    result = space["f"](1)
    assert result == 2 or result.close() is None  # a coroutine


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (["assert f(1) == 2"], CallTests(("assert f(1) == 2",))),
        (
            ["assert sum(1, 2) == 3", "assert sum(2, 2) == 4"],
            CallTests(("assert sum(1, 2) == 3", "assert sum(2, 2) == 4"), taken=("sum",)),
        ),
        (json.dumps(["a()"]), CallTests(("a()",))),
        ("assert f(1)\nassert f(2)", CallTests(("assert f(1)\nassert f(2)",))),
        (
            {
                "test_list": ["t"],
                "test_setup_code": "import math",
                "code": "class A: pass\ndef g(): pass",
                "text": "",
            },
            CallTests(("t",), "import math", ("A", "g")),
        ),
        ({"tests": ["t"], "setup": "x = 1"}, CallTests(("t",), "x = 1")),
        (
            {"test": "def check(g): g()", "entry_point": "f", "prompt": PROMPT},
            CallTests(("def check(g): g()\ncheck(f)",), PROMPT[: PROMPT.index("def f(")], ("f",), PROMPT),
        ),
        ({"inputs": ["1\n", ["2", 3]], "outputs": ["a", ["b"]]}, StreamTests((("1\n", "a"), ("2\n3", "b")))),
        ([{"input": "1", "output": "2"}], StreamTests((("1", "2"),))),
        ({"stdin": "1", "stdout": "2"}, StreamTests((("1", "2"),))),
    ],
)
def test_the_forms_of_references(reference: Any, expected: Any) -> None:
    assert read_reference(reference) == expected


@pytest.mark.parametrize(
    "reference",
    [
        *(None, 3, [], {}, {"answer": "4"}, [1, 2], [{"input": "1"}], {"inputs": [1], "outputs": []}),
        *("", "\n  # nothing\n", ["assert f(1)", " "], {"test_list": [" "]}),
    ],
)
def test_references_without_tests_say_what_was_found(reference: Any) -> None:
    with pytest.raises(DataError, match=r"reference|needs input"):
        read_reference(reference)


@pytest.mark.parametrize(
    ("got", "want", "exact", "lines", "tokens"),
    [
        ("1\n", "1\n", True, True, True),
        ("1 \n\n", "1", False, True, True),
        ("1\n2", "1 2", False, False, True),
        ("0.3333333", "0.33333333", False, False, True),
        ("3", "3.0", False, False, True),
        ("10000001", "10000002", False, False, False),
        ("", "1", False, False, False),
    ],
)
def test_printed_output_is_compared(got: str, want: str, exact: bool, lines: bool, tokens: bool) -> None:
    assert [same_output(got, want, how) for how in ("exact", "lines", "tokens")] == [exact, lines, tokens]


@isolated
def test_all_or_a_fraction() -> None:
    programs = [
        "def f(x): return x + 1",
        "def f(x): return {1: 2, 2: 3, 3: 5}[x]",
        "",
        "def f(x): while",
        "1 / 0",
    ]
    assert scored(code(), programs, ASSERTS) == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert scored(code(combine="fraction"), programs, ASSERTS) == pytest.approx([2 / 3, 1.0, 0.0, 0.0, 0.0])


@isolated
def test_parts_stay_apart_and_causes_are_told() -> None:
    rollouts = Rollouts(
        completion=["```python\ndef f(x): return x + 1\n```", *["def f(x): return x + 1"] * 4],
        reference=[ASSERTS, ASSERTS, ["assert g(1)"], None, ["import no_such_module\nassert f(1)"]],
    )
    reward = code()
    parts = reward.parts(rollouts)
    assert list(parts) == ["all", "fraction", "runs", "format"]
    columns = {
        name: [None if math.isnan(v) else round(v, 3) for v in part.values] for name, part in parts.items()
    }
    assert columns == {
        "all": [0.0, 0.0, 0.0, None, None],
        "fraction": [0.667, 0.667, 0.0, None, None],
        "runs": [1.0, 1.0, 1.0, None, None],
        "format": [1.0, 0.0, 0.0, None, None],
    }
    signal = reward(rollouts)
    assert "no tests that are understood (nothing)" in signal.causes[3]
    stopped, whole = reward.verdicts(rollouts)[0].detail, code(stop=False).verdicts(rollouts)[0].detail
    assert math.isnan(stopped["parts"]["fraction"]) and "stop=false" in stopped["causes"]["fraction"]
    assert whole["parts"] == {"all": 0.0, "fraction": pytest.approx(2 / 3), "runs": 1.0, "format": 1.0}
    assert "no_such_module" in signal.causes[4]
    assert [float(v) for v in code(fenced=True)(rollouts.select([0, 1])).values] == [0.0, 0.0]
    assert (
        code(fenced=True).verdicts(rollouts.select([1]))[0].detail["text"]
        == "no code block in the completion"
    )


@isolated
def test_verdicts_tell_every_test() -> None:
    rollouts = Rollouts(completion=["def f(x): return x + 1"], reference=[ASSERTS])
    (verdict,) = code(combine="fraction").verdicts(rollouts)
    assert [test.status for test in verdict.detail["tests"]] == ["passed", "passed", "failed"]
    assert verdict.detail["text"] == "AssertionError:  | line 1: assert f(3) == 5"
    (first,) = code().verdicts(Rollouts(completion=["def f(x): return x"], reference=[ASSERTS]))
    assert [test.status for test in first.detail["tests"]] == ["failed", "not run", "not run"]


@isolated
def test_how_programs_ended_is_counted() -> None:
    programs = ["def f(x): return x + 1", "def f(x): while", "def f(x):\n    while True: pass", "1 / 0"]
    tests = ["assert f(1) == 2"]
    rollouts = Rollouts(
        completion=[*programs, "x", "import os; os._exit(0)"], reference=[*[tests] * 4, None, tests]
    )
    reward = verify.code(timeout=1)
    assert reward.outcomes(reward.verdicts(rollouts)) == {
        "error": 2,
        "passed": 1,
        "timeout": 1,
        "missing": 1,
        "killed": 1,
    }
    assert reward(rollouts).cause_counts() == {reward(rollouts).causes[4]: 1}


@isolated
def test_a_recipe_names_it_with_its_limits() -> None:
    spec = {"use": "verify.code", "stop": False, "timeout": 5, "limits": {"memory": 64 << 20, "processes": 4}}
    reward = registry.build("reward", spec)
    assert reward.sandbox.limits == Limits(wall=5, cpu=5, memory=64 << 20, processes=4)
    assert scored(reward, ["def f(x): return len(bytearray(x << 20))"], ["assert f(100)"]) == [0.0]


@isolated
def test_programs_that_read_standard_input() -> None:
    tests = {"inputs": ["2\n", "5\n"], "outputs": ["4\n", "25"]}
    programs = [
        "n = int(input())\nprint(n * n)",
        "print(4)",
        "print(int(input()) / 0)",
        "import sys; sys.exit(0)",
    ]
    assert scored(code(), programs, tests) == [1.0, 0.0, 0.0, 0.0]
    assert scored(code(combine="fraction"), programs, tests) == [1.0, 0.5, 0.0, 0.0]
    (verdict,) = code().verdicts(Rollouts(completion=["print(4)\nprint(input())"], reference=[tests]))
    assert verdict.detail["text"].startswith("printed '4\\n2\\n', expected")


@isolated
def test_call_tests_of_competitions() -> None:
    tests = {"inputs": [[[3, 1]], [[2]]], "outputs": [[1, 3], [[2]]], "fn_name": "order"}
    programs = [
        "def order(xs): return sorted(xs)",
        "class Solution:\n    def order(self, xs): return tuple(sorted(xs))",
        "def order(xs): return xs",
    ]
    assert scored(code(), programs, tests) == [1.0, 1.0, 0.0]


@isolated
def test_a_function_may_have_a_builtin_s_name_but_not_replace_one() -> None:
    assert scored(
        code(), ["def sum(a, b): return a + b"], ["assert sum(1, 2) == 3", "assert sum(2, 2) == 4"]
    ) == [1.0]
    forged = "def f(x): return 0\ndef len(x): return 3\ndef set(x): return 3"
    assert scored(code(), [forged], ["assert len(set(f(1))) == 3", "assert len(f(2)) == 3"]) == [0.0]


@isolated
def test_duplicates_are_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reward, calls = code(), []
    run = reward.sandbox.test
    monkeypatch.setattr(reward.sandbox, "test", lambda *a, **k: calls.append(1) or run(*a, **k))
    assert scored(reward, ["def f(x): return x + 1"] * 9, ["assert f(1) == 2"]) == [1.0] * 9
    assert len(calls) == 1


@isolated
def test_a_lost_sandbox_is_missing_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: Any, **__: Any) -> Any:
        raise WorkerLost("the sandbox is gone")

    reward = code(sandbox=Sandbox(workers=1))
    monkeypatch.setattr(reward.sandbox, "test", lose)
    signal = reward(Rollouts(completion=["x"], reference=[ASSERTS]))
    assert math.isnan(signal.values[0]) and signal.causes == {0: "the sandbox is gone"}
    assert scored(code(sandbox=reward.sandbox, on_error=0.0), ["x"], ASSERTS) == [0.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"combine": "mean"}, "combine"),
        ({"block": "middle"}, "block"),
        ({"compare": "fuzzy"}, "compare"),
        ({"limits": {"memroy": 3}}, "memroy"),
        ({"timeout": 0}, "wall"),
        ({"on_error": "ignore"}, "on_error"),
    ],
)
def test_unknown_choices_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        code(**options)


def humaneval() -> list[dict[str, Any]]:
    if DATA is None:
        pytest.skip("GUERDON_DATA is not set: it names the folder with humaneval/HumanEval.jsonl.gz")
    with gzip.open(Path(DATA) / "humaneval" / "HumanEval.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


@isolated
def test_humaneval_s_reference_solutions_pass() -> None:
    problems = humaneval()
    rollouts = Rollouts(
        completion=[problem["canonical_solution"] for problem in problems],
        prompt=[problem["prompt"] for problem in problems],
        reference=problems,
    )
    failed = [
        p["task_id"] for p, v in zip(problems, code(timeout=20)(rollouts).values, strict=True) if v != 1.0
    ]
    assert failed == []


@isolated
def test_humaneval_s_answers_of_chat_models_and_the_fraction_of_asserts() -> None:
    problems = humaneval()[:40]
    chat = [f"Here:\n```python\n{p['prompt']}{p['canonical_solution']}```\nDone." for p in problems]
    rollouts = Rollouts(completion=chat, prompt=["messages"] * len(chat), reference=problems)
    verdicts = code(combine="fraction", timeout=20).verdicts(rollouts)
    assert [p["task_id"] for p, v in zip(problems, verdicts, strict=True) if v.value != 1.0] == []
    asserts = [sum(isinstance(n, ast.Assert) for n in ast.walk(ast.parse(p["test"]))) for p in problems]
    assert [len(verdict.detail["tests"]) for verdict in verdicts] == asserts


@isolated
def test_mutants_of_humaneval_fail_as_plain_execution_says() -> None:
    problems = humaneval()[:60]
    changed = [
        (p, p["canonical_solution"].replace("+", "-", 1)) for p in problems if "+" in p["canonical_solution"]
    ]
    changed = [(p, text) for p, text in changed if "while" not in text]
    rollouts = Rollouts(completion=[text for _, text in changed], reference=[p for p, _ in changed])
    ours = [float(value) for value in code(timeout=20)(rollouts).values]
    assert ours == [float(plainly(problem, text)) for problem, text in changed]
    assert 0 < sum(ours) < len(ours) or sum(ours) == 0


def plainly(problem: dict[str, Any], completion: str) -> bool:
    """HumanEval's own verdict, without its process: these programs are known to end."""
    program = f"{problem['prompt']}{completion}\n{problem['test']}\ncheck({problem['entry_point']})"
    try:
        exec(program, {})
    except BaseException:
        return False
    return True


@isolated
def test_a_hang_is_a_verdict_where_a_file_is_scored(tmp_path: Path) -> None:
    programs = ["while True: pass", "def f(x): return x"]
    rows = [{"completion": program, "reference": ["assert f(1) == 1"]} for program in programs]
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = score.Options(workers=1, cache=None, limits=score.Limits(item_seconds=0.5, batch_seconds=0.5))
    score.score_file(source, out, ["verify.code"], {"timeout": 2}, options)
    scored_rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["signals"]["verify.code"]["values"] for row in scored_rows] == [[0.0], [1.0]]
