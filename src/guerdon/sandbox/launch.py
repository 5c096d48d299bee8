"""Starting a sandbox: bubblewrap where it is allowed to isolate, a bare process where that was asked for."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import IO, Any

from guerdon.sandbox import root
from guerdon.sandbox.errors import SandboxError
from guerdon.sandbox.inside import seccomp, wire
from guerdon.sandbox.limits import Limits

PRELOAD = (
    *(
        "bisect",
        "collections",
        "collections.abc",
        "copy",
        "datetime",
        "functools",
        "heapq",
        "itertools",
        "json",
        "math",
    ),
    *("operator", "random", "re", "string", "time", "typing"),
)
"""Imported before candidates are forked. Each shared library mapped costs every fork a few microseconds, so
what few programs import is left out."""
_INSTALL = (
    "apt-get install bubblewrap  (Debian, Ubuntu) | dnf install bubblewrap  (Fedora) | "
    "pacman -S bubblewrap  (Arch) | apk add bubblewrap  (Alpine)"
)
_UNSAFE = "or pass unsafe=True to run untrusted code with limits but without isolation"
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "USER": "sandbox",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",  # the order of a set of strings, and with it a verdict, must not depend on the run
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUTF8": "1",
    "LD_BIND_NOW": "1",  # else every child binds the same functions anew
    "MALLOC_ARENA_MAX": "2",
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")},
}
# `random` reseeds itself in every forked child; kept from doing so, children start sooner and verdicts
# repeat.
_BOOTSTRAP = """
import os, sys
keep, os.register_at_fork = os.register_at_fork, lambda **_: None
import random, threading
os.register_at_fork = keep
sys.path.append(sys.argv[1])
from inside import warden
sys.path.pop()
warden.main(int(sys.argv[2]))
"""
_UNOWNED = 1_879_048_192
"""A user id that owns nothing on any host (0x70000000)."""


@dataclass(frozen=True)
class Settings:
    """What a sandbox is made of. See `Sandbox`."""

    packages: tuple[str, ...] = ()
    preload: tuple[str, ...] = PRELOAD
    system: bool = False
    unsafe: bool = False
    judge_items: int = 200
    answer: int = 16 << 20


def obstacle(settings: Settings) -> str:
    """What is known to keep the sandbox from starting, without trying; "" where nothing is."""
    if sys.platform != "linux":
        return f"the sandbox needs Linux, this is {sys.platform}"
    if settings.unsafe:
        return ""
    if not seccomp.supported():
        return f"no system-call filter for {os.uname().machine} (x86_64 and aarch64 are known); {_UNSAFE}"
    if shutil.which("bwrap") is None:
        return f"bubblewrap is not installed: {_INSTALL}; {_UNSAFE}"
    return ""


def start(settings: Settings, limits: Limits) -> tuple[subprocess.Popen[bytes], socket.socket, IO[bytes]]:
    """Start a warden: its process, the host's end of its control socket, and where its errors go.

    Raises:
        SandboxError: it cannot be isolated here, or a package is missing.
    """
    reason = obstacle(settings)
    if reason:
        raise SandboxError(reason)
    user = None if settings.unsafe else untrusted_user()
    command = _bare() if settings.unsafe else _isolated(settings, user)
    hello = _hello(settings, limits, user)
    host, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    errors = tempfile.TemporaryFile()  # noqa: SIM115  (the worker closes it once the sandbox is up)
    try:
        with ours:
            process = _spawner().spawn(command, ours.fileno(), errors)
    except OSError as error:
        host.close()
        errors.close()
        raise SandboxError(f"the sandbox does not start: {error}") from error
    own = os.pidfd_open(os.getpid())  # by which the sandbox notices our death
    with contextlib.suppress(OSError):  # it has ended already: nobody answers, and `errors` says why
        wire.send(host, hello, [own])
    os.close(own)
    return process, host, errors


def _spawn(command: list[str], control: int, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, str(control)],  # bubblewrap hands its command every file descriptor it was given
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        pass_fds=(control,),
        env=_ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


class _Spawner:
    """One thread that lives as long as this process: bubblewrap dies with the *thread* that started it.

    Not a thread pool's: when the interpreter exits that ends before the sandboxes are closed, which would
    then die without being waited for.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], tuple[Any, ...]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="guerdon-sandbox", daemon=True).start()

    def spawn(self, *job: Any) -> subprocess.Popen[bytes]:
        """`_spawn` in that thread."""
        future: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((future, job))
        return future.result()

    def _work(self) -> None:
        while True:
            future, job = self._jobs.get()
            try:
                future.set_result(_spawn(*job))
            except BaseException as error:
                future.set_exception(error)


_spawners: dict[int, _Spawner] = {}


def _spawner() -> _Spawner:
    """This process's own: a fork has its parent's, but not the thread."""
    return _spawners.get(os.getpid()) or _spawners.setdefault(os.getpid(), _Spawner())


def _hello(settings: Settings, limits: Limits, user: int | None) -> dict[str, object]:
    files = root.package_files(settings.packages)
    path = (
        sorted({os.path.dirname(file) for file in files})
        if settings.unsafe
        else [root.PACKAGES] * bool(files)
    )
    return {
        "isolated": not settings.unsafe,
        "user": 1 if user is not None else None,
        "path": path,
        "preload": list(settings.preload),
        "judge_items": settings.judge_items,
        "limits": asdict(limits),
        "answer": settings.answer,
    }


def untrusted_user() -> int | None:
    """The host user that untrusted code runs as: where we are root one that owns nothing, else us (None)."""
    if os.geteuid() != 0:
        return None
    with open("/proc/self/uid_map") as file:
        ranges = [tuple(map(int, line.split())) for line in file]
    for first, _, count in ranges:
        if first <= _UNOWNED < first + count:
            return _UNOWNED
    first, _, count = max(ranges, key=lambda entry: entry[2])
    return first + count - 1 if count > 1 else None


def _python(folder: str) -> list[str]:
    return [root.interpreter(), "-P", "-s", "-S", "-c", _BOOTSTRAP, folder]


def _bare() -> list[str]:
    return _python(root.inside())


def _isolated(settings: Settings, user: int | None) -> list[str]:
    """bubblewrap's command line."""
    command = ["bwrap"]
    keep = ["CAP_SYS_ADMIN", "CAP_SETPCAP"]
    if user is None:
        command += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    else:
        root.check_readable()
        enter = f"{root.inside()}/inside/enter.py"
        command = [root.interpreter(), "-I", "-S", enter, str(user), shutil.which("bwrap") or ""]
        keep += ["CAP_SETUID", "CAP_SETGID"]
    command += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--as-pid-1"]
    command += ["--cap-drop", "ALL"]
    for capability in keep:
        command += ["--cap-add", capability]
    return [*command, *root.mounts(settings.packages, settings.system), "--", *_python(root.INSIDE)]


def explain(errors: IO[bytes]) -> str:
    """The last line a failed start wrote, and what usually helps."""
    errors.seek(0)
    lines = errors.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
    said = lines[-1] if lines else "it ended without a word"
    help_ = ""
    if "ermission denied" in said or "not permitted" in said or "No permissions" in said:
        help_ = (
            " (user namespaces may be switched off: on Ubuntu 24.04 sysctl kernel.apparmor_restrict_"
            "unprivileged_userns=0, elsewhere sysctl user.max_user_namespaces=15000;"
            " in Docker run with --security-opt seccomp=unconfined --cap-add SYS_ADMIN)"
        )
    return f"{said}{help_}; {_UNSAFE}"
