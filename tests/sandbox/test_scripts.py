"""Whole programs and commands with standard streams."""

from __future__ import annotations

import pytest

from guerdon.errors import RecipeError
from guerdon.sandbox import Limits, Sandbox, why_not


def test_a_program_reads_and_prints(sandbox: Sandbox) -> None:
    run = sandbox.python(
        "import sys\nfor line in sys.stdin: print(int(line) * 2)\nprint('e', file=sys.stderr)", "1\n2\n"
    )
    assert (run.status, run.exit_code, run.stdout, run.stderr) == ("finished", 0, "2\n4\n", "e\n")


@pytest.mark.parametrize(
    ("program", "code", "stderr"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
        ("raise SystemExit", 0, ""),
        ("import os; os._exit(5)", 5, ""),
    ],
)
def test_exit_codes(program: str, code: int, stderr: str, sandbox: Sandbox) -> None:
    run = sandbox.python(program)
    assert (run.exit_code, run.stderr) == (code, stderr)


def test_a_traceback_shows_the_program_and_not_the_sandbox(sandbox: Sandbox) -> None:
    run = sandbox.python("x = 1\nprint(x / 0)")
    assert run.exit_code == 1
    assert run.stderr.splitlines()[1:3] == ['  File "main.py", line 2, in <module>', "    print(x / 0)"]
    assert "warden" not in run.stderr


def test_threads_finish_and_exit_functions_run(sandbox: Sandbox) -> None:
    program = (
        "import atexit, threading, time\natexit.register(print, 'last')\n"
        "threading.Thread(target=lambda: (time.sleep(.1), print('thread'))).start()\nprint('main')"
    )
    assert sandbox.python(program).stdout == "main\nthread\nlast\n"


def test_it_is_the_main_module_with_arguments_files_and_environment(sandbox: Sandbox) -> None:
    program = (
        "import helper, os, sys\nif __name__ == '__main__': print(sys.argv[1:], helper.x, os.environ['KEY'],"
        " open('data/in.txt').read(), os.listdir('.'))"
    )
    run = sandbox.python(
        program, arguments=["a"], files={"helper.py": "x = 5", "data/in.txt": "é"}, environment={"KEY": "v"}
    )
    assert (
        run.stdout == "['a'] 5 v é ['helper.py', 'data']\n"
        or run.stdout == "['a'] 5 v é ['data', 'helper.py']\n"
    )
    with pytest.raises(RecipeError, match="scratch"):
        sandbox.python("", files={"../x": ""})


def test_large_input_and_output_limits(sandbox: Sandbox) -> None:
    text = "x" * 5_000_000
    assert sandbox.python("import sys; print(len(sys.stdin.read()))", text).stdout == "5000000\n"
    run = sandbox.python("print('y' * 3_000_000)", limits=Limits(output=1000))
    assert run.status == "output" and run.exit_code is None and run.stdout == "y" * 1000
    assert "1000 bytes" in run.text


def test_limits_of_scripts(sandbox: Sandbox) -> None:
    assert sandbox.python("while True: pass", limits=Limits(wall=0.5)).status == "timeout"
    assert sandbox.python("while True: pass", limits=Limits(wall=60, cpu=0.3)).status == "timeout"
    assert sandbox.python("import os; os.kill(0, 9); import ctypes; ctypes.string_at(0)").status == "killed"


def test_candidates_may_use_processes_and_threads(sandbox: Sandbox) -> None:
    program = (
        "from multiprocessing import Pool, Queue\nimport subprocess, sys\n"
        "def g(x): return x * x\n"
        "if __name__ == '__main__':\n    with Pool(2) as p: print(p.map(g, range(4)))\n"
        "    print(subprocess.run([sys.executable, '-c', 'print(7)'], capture_output=True, text=True).stdout)"
    )
    assert sandbox.python(program).stdout == "[0, 1, 4, 9]\n7\n\n"


def test_commands() -> None:
    if why_not():
        pytest.skip(why_not())
    with Sandbox(workers=1, system=True, limits=Limits(wall=60)) as shell:
        run = shell.command(
            ["sh", "-c", "cat; id -u; ls /; cat /proc/1/comm; ls /home /root /work /etc/passwd"], "in\n"
        )
        assert run.stdout.startswith("in\n")
        assert "home" not in run.stdout and "work" not in run.stdout and "sh\n" in run.stdout
        assert "/etc/passwd" in run.stderr
        assert shell.command(["sh", "-c", "exit 7"]).exit_code == 7
        assert shell.command(["no-such-command"]).exit_code == 127
        deaf = ["sh", "-c", "(sleep 987 &) ; sleep 1; kill -KILL $$; sleep 987"]
        assert shell.command(deaf, limits=Limits(wall=2)).status == "timeout"
        assert shell.command(["sh", "-c", "mount -t tmpfs x /mnt || unshare -r true"]).exit_code not in (
            0,
            None,
        )
        assert shell.command(["sh", "-c", "echo $HOME $PATH; pwd"]).stdout.split()[-1] == "/tmp"


def test_without_system_there_are_no_commands(sandbox: Sandbox) -> None:
    assert sandbox.command(["sh", "-c", "true"]).exit_code == 127
