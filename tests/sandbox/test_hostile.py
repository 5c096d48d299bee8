"""Hostile programs: each is contained, none passes, none leaves a trace, the pool goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guerdon.sandbox import Sandbox
from sandbox.conftest import LIMITS, SHORT, Check, descendants

ESCAPES = {
    "fork bomb": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", {"processes"}),
    "fork bomb in a call": (
        "import os\ndef f(x):\n    while True:\n        try: os.fork()\n        except OSError: pass",
        {"processes"},
    ),
    "memory bomb": ("def f(x):\n    a = []\n    while True: a.append(bytearray(10**7))", {"memory"}),
    "memory at once": ("def f(x): return len(b'x' * (1 << 40))", {"memory"}),
    "memory of many": (
        "import os\ndef f(x):\n    for _ in range(8):\n        if os.fork() == 0: break\n    b = []\n"
        "    while True:\n        try: b.append(bytearray(1 << 20))\n        except MemoryError: pass",
        {"memory"},
    ),
    "endless output": ("def f(x):\n    while True: print('x' * 1000)", {"output"}),
    "output, error ignored": (
        "import os\ndef f(x):\n    while True:\n        try: os.write(2, b'x' * 100000)\n"
        "        except OSError: pass",
        {"output"},
    ),
    "deaf loop": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\ndef f(x):\n    while True: pass",
        {"timeout"},
    ),
    "sleep": ("import time\ndef f(x): time.sleep(1000)", {"timeout"}),
    "stop signal": (
        "import os, signal\ndef f(x): os.kill(0, signal.SIGSTOP); return 0",
        {"failed", "timeout"},
    ),
    "host's users": ("def f(x): return open('/etc/passwd').read()", {"error"}),
    "host's processes": ("def f(x): return open('/proc/1/environ').read()", {"error"}),
    "write to libraries": ("def f(x): return open('/usr/lib/x', 'w')", {"error"}),
    "write to the root": ("def f(x): return open('/x', 'w')", {"error"}),
    "write to Python": ("import os\ndef f(x): return open(os.__file__, 'a')", {"error"}),
    "connect": ("import socket\ndef f(x): socket.create_connection(('1.1.1.1', 80), 1)", {"error"}),
    "connect to the machine": (
        "import socket\ndef f(x): socket.create_connection(('127.0.0.1', 22), 1)",
        {"error"},
    ),
    "vsock to the hypervisor": ("import socket\ndef f(x): socket.socket(40, 1)", {"error"}),
    "trace the first process": (
        "import ctypes\ndef f(x):\n    if ctypes.CDLL(None).ptrace(16, 1, 0, 0) < 0: raise PermissionError",
        {"error"},
    ),
    "new user namespace": (
        "import ctypes\ndef f(x):\n    if ctypes.CDLL(None).unshare(0x10000000) < 0: raise PermissionError",
        {"error"},
    ),
    "mount": (
        "import ctypes\ndef f(x):\n    c = ctypes.CDLL(None)\n"
        "    if c.mount(b'proc', b'/proc', b'proc', 0, None) < 0 and c.umount2(b'/tmp', 2) < 0:\n"
        "        raise PermissionError",
        {"error"},
    ),
    "memory files": ("import os\ndef f(x): return os.memfd_create('x')", {"error"}),
    "deep recursion": ("def f(x): return f(x)", {"error"}),
    "bottomless recursion": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x)",
        {"timeout", "memory", "killed"},
    ),
    "nested data": ("def f(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a", {"error"}),
    "huge exception text": ("def f(x): raise ValueError('x' * 10**7)", {"error"}),
    "exception without text": (
        "class E(Exception):\n    def __str__(self): raise SystemExit(0)\ndef f(x): raise E()",
        {"error"},
    ),
    "fill the scratch": (
        "def f(x):\n    for i in range(100): open(str(i), 'wb').write(b'x' * 10**6)",
        {"error"},
    ),
    "a hundred thousand files": (
        "def f(x):\n    for i in range(10**5): open(str(i), 'w').close()",
        {"error"},
    ),
    "open without end": ("def f(x):\n    a = []\n    while True: a.append(open('/dev/null'))", {"error"}),
    "close everything": (
        "import os\ndef f(x):\n    for i in range(100):\n        try: os.close(i)\n        except OSError: pass\n"
        "    return 2",
        {"killed"},
    ),
    "segmentation fault": ("import ctypes\ndef f(x): ctypes.string_at(0)", {"killed"}),
    "abort": ("import os\ndef f(x): os.abort()", {"killed"}),
    "compiler bomb": ("x = " + "-" * 200000 + "1", {"error", "memory"}),
    "compiler bomb by nesting": ("x = a" + ".a" * 200000, {"error", "memory"}),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_hostile_programs_are_contained(name: str, check: Check) -> None:
    program, statuses = ESCAPES[name]
    before = host_state()
    report = check(program, limits=SHORT if "timeout" in statuses else LIMITS)
    assert not report.passed
    assert not report.invalid
    assert report.tests[0].status in statuses, report.tests
    assert host_state() == before
    assert check("def f(x): return x + 1").passed


def host_state() -> tuple[object, ...]:
    """What an escape would change: files where a program may look first, processes of the machine's own."""
    places = [Path("/tmp"), Path("/usr/lib"), Path("/"), Path(os.__file__).parent]
    return tuple(sorted(p.name for p in place.iterdir() if p.name in ("x", "0", "a")) for place in places)


KILLERS = """\
import os, signal
def f(x):
    for target in (os.getppid(), 0, -1, *range(2, 5000)):
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try: os.kill(target, sign)
            except OSError: pass
    return 2
"""
DAEMON = """\
import os, time
def f(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    return 2
"""


def tree(sandbox: Sandbox) -> list[int]:
    """Processes of the sandbox, all workers together."""
    return [
        pid
        for pid in descendants(os.getpid())
        if b"import warden" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize("program", [KILLERS, DAEMON], ids=["killing everything", "leaving a daemon"])
def test_nothing_outside_dies_and_nothing_inside_stays(program: str, sandbox: Sandbox, check: Check) -> None:
    check("def f(x): return x + 1")
    before = sorted(tree(sandbox))
    assert check(program).passed  # the answers are right; what the program did besides has no effect
    assert sorted(tree(sandbox)) == before


LEAVERS = {
    "file": "open('/tmp/note', 'w').write('x')",
    "shared memory": "open('/dev/shm/note', 'w').write('x')",
    "mode": "import os; os.chmod('/tmp', 0o777)",
    "attribute": "import os\ntry: os.setxattr('/tmp', 'user.note', b'x')\nexcept OSError: pass",
    "closed directory": "import os; os.makedirs('/tmp/a/b'); os.chmod('/tmp/a', 0); os.chmod('/tmp', 0)",
    "link": "import os; os.symlink('/', '/tmp/root'); os.symlink('/proc/self/mem', '/tmp/mem')",
    "deep tree": "import os\nfor _ in range(500): os.mkdir('d'); os.chdir('d')",
}
FINDER = """\
import os
found = os.listdir('/tmp') + os.listdir('/dev/shm') + os.listxattr('/tmp')
def f(x): return [found, os.stat('/tmp').st_mode & 0o777, os.getcwd()]
"""


@pytest.mark.parametrize("name", LEAVERS)
def test_candidates_find_nothing_of_each_other(name: str) -> None:
    from guerdon.sandbox import why_not

    if why_not():
        pytest.skip(why_not())
    with Sandbox(workers=1) as single:
        for _ in range(2):
            single.test(f"{LEAVERS[name]}\ndef f(x): return 2", ["assert f(1) == 2"])
            assert single.test(FINDER, ["assert f(1) == [[], 0o700, '/tmp']"]).passed


def test_memory_of_a_candidate_holds_nothing_of_another(sandbox: Sandbox) -> None:
    secret = "".join(("gold", "fish", "4711"))
    search = """\
import gc
def f(x):
    word = ''.join(('gold', 'fish', '4711'))
    seen = [o for o in gc.get_objects() if isinstance(o, (dict, list, tuple)) and word in repr(o)[:100000]]
    return len(seen)
"""
    sandbox.test(f"x = '{secret}'\ndef f(y): return '{secret}'", [f"assert f(1) == '{secret}'"])
    # its own constants alone: the tests' expectation and the other candidate's text are in other processes
    assert sandbox.test(search, [f"'{secret}'\nassert f(1) == 0"], entry="f").passed
