"""What crosses between tests and program, and what the verdicts say."""

from __future__ import annotations

import pytest

from guerdon.sandbox import Limits, Sandbox, TestVerdict, why_not
from sandbox.conftest import LIMITS, Check

ECHO = "def f(x, *a, **k): return x"
VALUES = (
    *(
        "None",
        "True",
        "-7",
        "10**5000",
        "1.5",
        "-0.0",
        "float('inf')",
        "'a\\ud800\\u20ac'",
        "b'\\xff'",
        "3+4j",
    ),
    *(
        "[1, [2, (3,)]]",
        "(1, 2)",
        "{1: 'a', (2,): [3]}",
        "{1, 2}",
        "frozenset({3})",
        "range(3, 9, 2)",
        "bytearray(b'x')",
    ),
    *(
        "Fraction(1, 3)",
        "Decimal('1.10')",
        "date(2024, 2, 29)",
        "timedelta(days=1, seconds=2)",
        "deque([1], maxlen=3)",
    ),
)


@pytest.mark.parametrize("value", VALUES)
def test_values_cross_unchanged(value: str, check: Check) -> None:
    setup = (
        "from fractions import Fraction\nfrom decimal import Decimal\nfrom datetime import date, timedelta\n"
        "from collections import deque\n"
    )
    report = check(ECHO, f"assert f({value}) == {value} and type(f({value})) is type({value})", setup=setup)
    assert report.passed, report.tests


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (
            "from collections import namedtuple\nP = namedtuple('P', 'a b')\ndef f(x): return P(1, 2)",
            "(1, 2)",
        ),
        ("from enum import IntEnum\nclass E(IntEnum):\n    A = 4\ndef f(x): return E.A", "4"),
        ("from collections import Counter\ndef f(x): return Counter('aab')", "{'a': 2, 'b': 1}"),
        ("def f(x): return (i for i in range(3))", "None or list(f(1)) == [0, 1, 2]"),
        ("def f(x): return {}.keys()", "None or list(f(1)) == []"),
    ],
)
def test_what_holds_plain_data_is_compared_as_such(program: str, expected: str, check: Check) -> None:
    assert check(program, f"assert f(1) == {expected}").passed


def test_arguments_changed_in_place_come_back(check: Check) -> None:
    program = "def f(a, b):\n    a.sort()\n    b['x'] = [1]\n    return None"
    test = "a, b = [3, 1, 2], {}\nassert f(a, b) is None\nassert a == [1, 2, 3] and b == {'x': [1]}"
    assert check(program, test).passed


def test_objects_stay_over_there_and_answer(sandbox: Sandbox) -> None:
    program = """\
class Stack:
    def __init__(self): self.items = []
    def push(self, x): self.items.append(x); return self
    def pop(self): return self.items.pop()
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
    def __repr__(self): return f'Stack({self.items})'
def f(*items):
    stack = Stack()
    for item in items: stack.push(item)
    return stack
def total(stack): return sum(stack.items)
"""
    tests = (
        "s = f(1, 2)\nassert len(s) == 2 and list(s) == [1, 2] and repr(s) == 'Stack([1, 2])'",
        "s = f()\nassert not s\ns.push(3).push(4)\nassert s.pop() == 4 and s.items == [3]",
        "s = f(1)\ns.items = [5, 6]\nassert total(s) == 11 and isinstance(s, Stack) and s != f(1)",
        "assert f(7) != 7 and not (f(7) == [7])",
        "try:\n    f(7).missing\nexcept AttributeError:\n    pass\nelse:\n    assert False",
    )
    report = sandbox.test(program, tests)
    assert report.passed, report.tests


def test_the_tests_functions_are_called_back(check: Check) -> None:
    program = "def f(g, xs): return [g(x) for x in xs]"
    assert check(
        program,
        "seen = []\nassert f(lambda x: seen.append(x) or x * 2, [1, 2]) == [2, 4]\nassert seen == [1, 2]",
    ).passed
    raising = "def g(x): raise KeyError(x)\ntry:\n    f(g, [1])\nexcept KeyError:\n    pass\nelse:\n    assert False"
    assert check(program, raising).passed


def test_exceptions_cross_by_name(check: Check) -> None:
    program = "class Odd(ValueError): pass\ndef f(x):\n    if x == 1: raise Odd('one')\n    raise KeyError(x)"
    pairs = ((1, "ValueError"), (2, "KeyError"), (2, "LookupError"), (1, "KeyError"))
    tests = [f"try:\n    f({argument})\nexcept {kind}:\n    pass" for argument, kind in pairs]
    report = check(program, *tests)
    assert [test.status for test in report.tests] == ["passed", "passed", "passed", "error"]
    assert report.tests[3].text == "Odd: one | line 3"


def test_async_functions_are_awaited(check: Check) -> None:
    program = "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1"
    assert check(program, "import asyncio\nassert asyncio.run(f(1)) == 2").passed


def test_numpy_arrays_cross_where_numpy_is_chosen() -> None:
    if why_not():
        pytest.skip(why_not())
    with Sandbox(workers=1, packages=["numpy"], preload=["numpy"]) as numeric:
        program = (
            "import numpy as np\ndef f(n): return np.arange(n).reshape(2, -1) / 2\ndef g(a): return a.sum()"
        )
        tests = (
            "import numpy as np\nr = f(4)\nassert r.shape == (2, 2) and np.allclose(r, [[0, .5], [1, 1.5]])",
            "import numpy as np\nassert g(np.ones(3)) == 3.0",
        )
        assert numeric.test(program, tests).passed
    with Sandbox(workers=1) as plain:
        report = plain.test("def f(x): return 1", ["import numpy\nassert f(1) == 1"])
        assert "numpy" in report.invalid and report.tests[0].status == "not run"


def test_verdicts_name_the_line_and_keep_the_output(check: Check) -> None:
    program = "def f(x):\n    print('seen', x)\n    if x > 2:\n        raise IndexError('too far')\n    return x + 1"
    report = check(program, "assert f(1) == 2", "y = 2\nassert f(y) == 4, 'wrong'", "assert f(3) == 4")
    assert [(t.status, t.text, t.stdout) for t in report.tests] == [
        ("passed", "", "seen 1\n"),
        ("failed", "AssertionError: wrong | line 2: assert f(y) == 4, 'wrong'", "seen 2\n"),
        ("error", "IndexError: too far | line 4", "seen 3\n"),
    ]
    assert report.fraction == pytest.approx(1 / 3)
    assert report.first_failure is not None and report.first_failure.name == "1"


SPLIT = """\
def check(g):
    assert g(1) == 2
    for i in range(3):
        assert g(i) == i + 1
    if g(0) == 99:
        assert False
    try:
        assert g(None)
    except TypeError:
        pass
    assert g(5) == 6
check(f)
"""


def test_assert_statements_are_verdicts_of_their_own(check: Check) -> None:
    good = check("def f(x): return x + 1", SPLIT, split=True)
    assert [t.status for t in good.tests] == ["passed", "passed", "skipped", "passed"]
    assert [t.name for t in good.tests] == ["0:2", "0:4", "0:6", "0:11"]
    assert good.passed and good.fraction == 1.0
    bad = check("def f(x): return x + 1 if x != 2 else 0", SPLIT, split=True)
    assert [t.status for t in bad.tests] == ["passed", "failed", "skipped", "passed"]
    assert not bad.passed and bad.fraction == pytest.approx(2 / 3)
    first = check("def f(x): return x + 1 if x != 2 else 0", SPLIT, split=True, stop=True)
    assert [t.status for t in first.tests] == ["passed", "failed", "not run", "not run"]
    dead = check("import os\ndef f(x): return x + 1 if x != 2 else os._exit(0)", SPLIT, split=True)
    assert [t.status for t in dead.tests] == ["passed", "killed", "not run", "not run"]
    raised = check("def f(x): return x + 1 if x else 1 / 0", SPLIT, split=True)
    assert [t.status for t in raised.tests] == ["passed", "error", "error", "error"]
    assert not check(
        "def f(x): return", SPLIT.replace("def check(g):", "def check(g):\n    1 / 0"), split=True
    ).passed


def test_stop_at_the_first_failure(check: Check) -> None:
    tests = ["assert f(1) == 2", "assert f(1) == 3", "assert f(1) == 2"]
    assert [t.status for t in check("def f(x): return 2", *tests).tests] == ["passed", "failed", "passed"]
    assert [t.status for t in check("def f(x): return 2", *tests, stop=True).tests] == [
        "passed",
        "failed",
        "not run",
    ]


def test_tests_after_a_hang_get_a_new_process(check: Check) -> None:
    program = "def f(x):\n    while x == 1: pass\n    return x"
    tests = ["assert f(0) == 0", "assert f(1) == 1", "assert f(2) == 2"]
    report = check(program, *tests, limits=Limits(wall=60, test=1))
    assert [t.status for t in report.tests] == ["passed", "timeout", "passed"]
    assert "1 s" in report.tests[1].text


def test_the_whole_item_has_one_wall_clock(check: Check) -> None:
    report = check("import time\ndef f(x): time.sleep(2); return x", *["f(1)"] * 9, limits=Limits(wall=3.5))
    assert [t.status for t in report.tests[:3]] == ["passed", "timeout", "not run"]
    assert report.wall < 9 * 2


def test_cpu_seconds_of_all_processes_count(check: Check) -> None:
    program = "import os\ndef f(x):\n    for _ in range(3): os.fork()\n    while True: pass"
    report = check(program, limits=Limits(wall=60, cpu=0.5))
    assert report.tests[0].status == "timeout" and "CPU" in report.tests[0].text


def test_verdicts_stream(check: Check) -> None:
    seen: list[TestVerdict] = []
    report = check("def f(x): return x", *[f"assert f({i}) == {i}" for i in range(20)], seen=seen.append)
    assert len(seen) == 20 and report.passed
    assert [t.name for t in seen] == [t.name for t in report.tests]


@pytest.mark.parametrize("broken", ["assert f(1", "import nothing_of_the_kind", "x = 'a' *"])
def test_tests_that_cannot_be_used_say_so(broken: str, check: Check) -> None:
    report = check("def f(x): return 2", "assert f(1) == 2", broken)
    assert report.invalid and not report.passed and report.fraction == 0.0
    assert check("def f(x): return 2", setup="1 / 0").invalid.startswith("ZeroDivisionError")


def test_tests_may_pass_nothing_that_cannot_leave(check: Check) -> None:
    report = check("def f(x): return 2", "class Local: pass\nassert f(Local()) == 2")
    assert "cannot enter the sandbox" in report.invalid


def test_tests_that_crash_are_not_held_against_the_program(check: Check) -> None:
    report = check("def f(x): return 2", "import os\nos._exit(0)")
    assert report.invalid and not report.passed
    assert check("def f(x): return 2", "assert f(1) == 2").passed


def test_a_judge_that_was_tampered_with_is_replaced(check: Check) -> None:
    for _ in range(4):
        check("def f(x): return 2", "import builtins\nbuiltins.len = lambda x: 0\nassert f(1) == 2")
        check(
            "def f(x): return 2",
            "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()",
        )
        assert check("def f(x): return 2", "assert len('ab') == f(1)").passed


def test_programs_that_do_not_load(check: Check) -> None:
    for program, text in (
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("import nope", "nope"),
    ):
        report = check(program, "assert f(1) == 2", "assert f(1) == 2")
        assert not report.loaded and [t.status for t in report.tests] == ["error", "error"]
        assert text in report.tests[0].text


def test_verdicts_do_not_depend_on_the_run(check: Check) -> None:
    program = "import random\ndef f(x): return [random.random(), list({'a', 'b', 'c', 'd'}), hash('x')]"
    answers = {check(program, "assert f(1) == 0, f(1)").tests[0].text for _ in range(3)}
    assert len(answers) == 1


def test_a_program_that_brought_a_judge_down_is_compiled_on_its_own_side(sandbox: Sandbox) -> None:
    for program, status in (
        ("def f(x): return x + 1", "passed"),
        ("def f(x): return", "failed"),
        ("def f(", None),
    ):
        body = {
            "program": program,
            "setup": "",
            "entry": ["f"],
            "split": False,
            "stop": False,
            "output": 1 << 20,
        }
        body |= {"tests": ["assert f(1) == 2"], "careful": True}
        entries, _ = sandbox._with_worker(LIMITS, lambda w, body=body: w.tests(body, vars(LIMITS), None))
        assert [e["status"] for e in entries if "status" in e] == ([status] if status else [])
        assert any("SyntaxError" in e.get("load", "") for e in entries) == (status is None)
