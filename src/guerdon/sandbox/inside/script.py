"""Running a whole program, or any command, with its own standard streams."""

from __future__ import annotations

import atexit
import json
import linecache
import os
import signal
import sys
import threading
import traceback
import types
from typing import Any

from .wire import read_all


def run(kind: str, body_fd: int) -> int:
    """Run what the body describes, in the scratch directory; the exit code (a command replaces us)."""
    body = json.loads(read_all(body_fd))
    os.close(body_fd)
    for name, content in body["files"].items():
        path = os.path.join(os.getcwd(), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(content)
    if kind == "command":
        return _command(body["command"], body["environment"])
    os.environ.update(body["environment"])
    return _python(body["program"], body["command"])


def _command(command: list[str], environment: dict[str, str]) -> int:
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # what Python ignores, a command expects to be told
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, {**os.environ, **environment})
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        return 127 if isinstance(error, FileNotFoundError) else 126


def _python(program: str, arguments: list[str]) -> int:
    """As `python main.py ARGUMENTS` would, without starting an interpreter."""
    main = types.ModuleType("__main__")
    main.__file__ = "main.py"
    sys.modules["__main__"] = main
    sys.argv = ["main.py", *arguments]
    sys.path.insert(0, os.getcwd())
    linecache.cache["main.py"] = (len(program), None, program.splitlines(True), "main.py")
    code: Any = 0
    try:
        exec(compile(program, "main.py", "exec", dont_inherit=True), vars(main))
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        traceback.print_exception(error)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return (code or 0) & 255
