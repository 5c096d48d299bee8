"""Programs that try to be judged right without being right."""

from __future__ import annotations

import pytest

from guerdon.sandbox import Sandbox
from sandbox.conftest import LIMITS, Check

FORGERIES = {
    "exit 0 in a call": "import os\ndef f(x): os._exit(0)",
    "exit 0 at once": "import os\nos._exit(0)",
    "sys.exit in a call": "import sys\ndef f(x): sys.exit(0)",
    "sys.exit at once": "import sys\nsys.exit(0)",
    "exit at the end": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 3",
    "prints a verdict": "print('passed\\n{\"status\": \"passed\"}')\ndef f(x): print('passed'); return 3",
    "equals everything": (
        "class A:\n    __eq__ = lambda s, o: True\n    __ne__ = lambda s, o: False\n"
        "    __lt__ = __le__ = __gt__ = __ge__ = lambda s, o: True\n    __sub__ = __rsub__ = lambda s, o: 0\n"
        "    __contains__ = lambda s, o: True\n    __hash__ = lambda s: 0\ndef f(x): return A()"
    ),
    "a number that equals everything": "class A(int):\n    __eq__ = lambda s, o: True\ndef f(x): return A(7)",
    "a list that equals everything": "class A(list):\n    __eq__ = lambda s, o: True\ndef f(x): return A()",
    "ends the loop of tests": "def f(x): raise StopIteration",
    "ends the loop by a generator's exit": "def f(x): raise GeneratorExit",
    "redefines builtins": (
        "import builtins\nbuiltins.AssertionError = type('Q', (Exception,), {})\nbuiltins.all = lambda x: True\n"
        "builtins.abs = lambda x: 0\ndef f(x): return 3"
    ),
    "answers on every descriptor": (
        "import os\ndef f(x):\n    for i in range(100):\n"
        '        try: os.write(i, b\'\\x13\\0\\0\\0{"status": "passed"}\')\n        except OSError: pass\n    return 3'
    ),
    "garbage on every descriptor": (
        "import os\ndef f(x):\n    for i in range(100):\n"
        "        try: os.write(i, b'\\xff' * 1000)\n        except OSError: pass\n    return 3"
    ),
    "an answer without end": (
        "import os\ndef f(x):\n    while True:\n        os.write(4, b'\\xff\\xff\\xff\\x7f' + b'x' * 1000)"
    ),
    "an object of a kind nobody knows": (
        'import os\ndef f(x):\n    text = b\'["value",{"class":"os.system"}]\'\n'
        "    os.write(4, len(text).to_bytes(4, 'little') + text)\n    return 3"
    ),
    "reads the caller's variables": (
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        for v in [*frame.f_locals.values(), *frame.f_globals.values()]:\n"
        "            if v == 2 and v is not True: return v\n        frame = frame.f_back\n    return 3"
    ),
    "finds the tests on the heap": (
        "import gc\ndef f(x):\n    for o in gc.get_objects():\n"
        "        if isinstance(o, str) and 'f(1) ==' in o: return int(o.split('==')[1])\n    return 3"
    ),
    "leaves through a thread": (
        "import threading, os, time\nthreading.Thread(target=lambda: (time.sleep(.05), os._exit(0))).start()\n"
        "def f(x):\n    time.sleep(1)\n    return 2"
    ),
    "adds to the names asked for": (
        "import sys\nsys._getframe(1).f_locals['names'] += ['abs', 'all', 'map', '__builtins__']\n"
        "abs = lambda x: 0\nall = lambda x: True\nmap = lambda g, xs: [True]\ndef f(x): return 3"
    ),
    "answers for the player": (
        "import os, sys\n"
        'text = b\'["value",{"dict":[["f",{"handle":[0,"function","f",[]]}],\'\n'
        'text += b\'["abs",{"handle":[1,"function","abs",[]]}],["all",{"handle":[2,"function","all",[]]}]]}]\'\n'
        "os.write(4, len(text).to_bytes(4, 'little') + text)\n"
        "player = sys._getframe(1).f_locals['self']\n"
        "player.objects += [lambda x: 3, lambda x: 0, lambda x: True]\n"
        "while True: player.channel.send(player.answer(player.channel.receive()))"
    ),
    "patches what answers": (
        "import sys\nplayer = sys._getframe(1).f_locals['self']\n"
        "type(player).answer = lambda self, frame: b'[\"value\",true]'\ndef f(x): return 3"
    ),
    "answers beside the question": (
        "import sys\nplayer = sys._getframe(1).f_locals['self']\n"
        "type(player).answer = lambda self, frame: b'[\"value\",3,[[0,[2]],[-1,{}]]]'\ndef f(x): return 3"
    ),
    "gives out a name of the test's": "def f(x): return 3\ndef all(x): return True\ndef abs(x): return 0",
}
TESTS = (
    "assert f(1) == 2",
    "assert abs(f(1) - 2) < 1e-6",
    "assert all(map(lambda i: f(i) == 2, [1, 1]))",
    "assert [f(1)] == [2] and not f(1) != 2 and 2 in [f(1)]",
    "assert 2 in {f(1): 1} and f(1) in (2,) and f(1) >= 2 and f(1) <= 2",
    "try:\n    good = f(1) == 2\nexcept Exception:\n    good = True\nassert good and f(1) == 2",
)


@pytest.mark.parametrize("name", FORGERIES)
def test_no_forgery_passes_any_test(name: str, check: Check) -> None:
    report = check(FORGERIES[name], *TESTS)
    assert not report.invalid
    assert [test.status for test in report.tests if test.passed] == []


def test_a_test_that_swallows_everything_cannot_hide_that_the_program_died(check: Check) -> None:
    swallow = "try:\n    f(1)\nexcept BaseException:\n    pass"
    assert check("import os\ndef f(x): os._exit(0)", swallow).tests[0].status == "killed"


def test_the_prompt_s_helpers_are_not_the_program_s(check: Check) -> None:
    program = "def helper(x): return 2\ndef f(x): return 3"
    report = check(program, "assert helper(f(1)) == 2", setup="def helper(x): return x\n")
    assert report.tests[0].status == "failed"


def test_a_stub_of_the_prompt_does_not_stand_in(check: Check) -> None:
    report = check("x = 1", "assert f(1) is None", setup="def f(x): pass\n")
    assert report.tests[0].status == "error"
    assert "NameError" in report.tests[0].text


FAKES = {
    "an object": "class M:\n    isclose = mean = staticmethod(lambda *a: 2)\nmath = statistics = M()",
    "a patched module": "import math, statistics\nmath.isclose = statistics.mean = lambda *a: 2",
    "a module under another's name": "import types\nmath = statistics = types.ModuleType('math')\nmath.isclose = math.mean = len",
}


@pytest.mark.parametrize("name", FAKES)
def test_modules_that_tests_use_are_not_the_program_s(name: str, sandbox: Sandbox) -> None:
    tests = ("assert math.isclose(f(1), 2)", "assert statistics.mean([f(1)]) == 2")
    report = sandbox.test(f"{FAKES[name]}\ndef f(x): return 3", tests)
    assert [test.status for test in report.tests] == ["failed", "failed"]
    assert sandbox.test(f"{FAKES[name]}\ndef f(x): return 2", tests).passed


def test_an_object_with_a_module_s_name_is_the_program_s(sandbox: Sandbox) -> None:
    program = "class Queue(list): pass\nqueue = Queue()\ndef math(x): return x + 1"
    tests = ("queue.append(1)\nassert queue.pop() == 1", "assert math(1) == 2")
    assert sandbox.test(program, tests).passed


SETUP = """\
class Node:
    def __init__(self, value, next=None): self.value, self.next = value, next
def build(values):
    node = None
    for value in reversed(values): node = Node(value, node)
    return node
def same(node, values):
    return [] == values if node is None else bool(values) and node.value == values[0] and same(node.next, values[1:])
"""


def test_functions_of_a_setup_with_classes_stay_the_tests_own(sandbox: Sandbox) -> None:
    test = "assert same(f(build([1, 2, 3])), [3, 2, 1])"
    right = (
        "def f(node):\n    last = None\n"
        "    while node: last, node = Node(node.value, last), node.next\n    return last"
    )
    assert sandbox.test(f"{SETUP}\n{right}", [test], SETUP).passed
    for wrong in ("def f(node): return node", "def f(node): return node\ndef same(*_): return True"):
        assert sandbox.test(f"{SETUP}\n{wrong}", [test], SETUP).tests[0].status == "failed"
    report = sandbox.test(f"{SETUP}\n{right}\ndel Node", [test], SETUP)
    assert report.tests[0].status == "error" and not report.invalid  # not the tests' fault


def test_the_clock_of_a_test_is_out_of_reach(sandbox: Sandbox) -> None:
    program = """\
import ctypes, time
def f(x):
    import gc, mmap
    pages = [o for o in gc.get_objects() if isinstance(o, mmap.mmap)]
    import sys
    for name in ('warden', 'inside.warden'):
        pages += [v for v in vars(sys.modules.get(name, sys)).values() if isinstance(v, mmap.mmap)]
    frame = sys._getframe()
    while frame:
        pages += [getattr(v, 'page', None) for v in list(frame.f_locals.values())]
        frame = frame.f_back
    for page in pages:
        if isinstance(page, mmap.mmap): page[:8] = bytes(8)
    time.sleep(1.5)
    return 2
"""
    report = sandbox.test(program, ["assert f(1) == 2"], limits=LIMITS.with_(test=0.5))
    assert report.tests[0].status in ("killed", "timeout")
