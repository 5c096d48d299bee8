"""Around one item: its process namespace, its scratch space, its limits, and the way to end all of it."""

from __future__ import annotations

import os
import resource
import signal
import time
from typing import Any

from . import linux

_PAGE = resource.getpagesize()
_TICK = os.sysconf("SC_CLK_TCK")
_YOUNG = 50_000_000  # nanoseconds
_OWN_DIRECTORY = 0o40700


class Namespaces:
    """Inside bubblewrap: every item gets a new PID namespace and a new tmpfs.

    Args:
        user: user id for untrusted code, other than the one the warden starts with; None where only one is
            mapped.
    """

    def __init__(self, user: int | None) -> None:
        self.home = "/tmp"
        self._pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        self.base = _pages("self", self._proc)
        with open(
            "/proc/self/oom_score_adj", "w"
        ) as file:  # out of memory: the kernel takes us, not the trainer
            file.write("900")
        linux.forbid_new_privileges()
        linux.shrink_bounds()
        if user is not None:
            linux.become(user, 1 << linux.CAP_SYS_ADMIN)
        else:
            linux.keep_capabilities(1 << linux.CAP_SYS_ADMIN)
        linux.die_with_parent()  # bubblewrap asked for it too, but a change of user takes it back
        flags = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount(
            "tmpfs", "/proc", flags, "size=4k,mode=0555"
        )  # the directory opened above still sees through
        linux.forbid_inspection()
        self._wanted: tuple[int, int] | None = None
        self._changed = 0

    def close(self) -> None:
        """Nothing outlives the namespaces."""

    def refresh(self, scratch: int, files: int) -> None:
        """An empty scratch directory, and be in it: a new one unless the last was never touched."""
        if self._wanted == (scratch, files) and self._untouched():
            return
        if self._wanted is not None:
            os.chdir("/")
            linux.unmount(self.home)
        options = f"size={scratch},nr_inodes={files},mode=0700,uid={os.getuid()},gid={os.getgid()}"
        linux.mount("tmpfs", self.home, linux.MS_NOSUID | linux.MS_NODEV, options)
        os.chdir(self.home)
        self._wanted, self._changed = (scratch, files), os.stat(self.home).st_ctime_ns

    def _untouched(self) -> bool:
        """Whether no item has changed the directory: entries, mode, attributes all move its change time.

        That time may stand still for some milliseconds, so a young directory is looked at more closely.
        """
        at = os.stat(self.home)
        if at.st_ctime_ns != self._changed or at.st_mode != _OWN_DIRECTORY:
            return False
        young = time.time_ns() - self._changed < _YOUNG
        return not young or not (os.listdir(self.home) or os.listxattr(self.home))

    def fork(self) -> int:
        """Fork; the child is the first process of a new PID namespace, and when it dies all in there die."""
        linux.unshare(linux.CLONE_NEWPID)
        try:
            child = os.fork()
        except OSError:
            linux.setns(self._pids, linux.CLONE_NEWPID)
            raise
        if child:
            linux.setns(self._pids, linux.CLONE_NEWPID)
        return child

    def enter(self, command: bool) -> None:
        """In the child: give up what is left of privilege. Commands get the /proc of their own namespace."""
        if command:
            linux.unshare(linux.CLONE_NEWNS)
            flags = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
            linux.mount("proc", "/proc", flags)
        linux.drop_capabilities()

    def processes(self, root: int, judge: int) -> list[int]:
        """The item's processes."""
        return [
            int(name) for name in os.listdir(self._proc) if name.isdigit() and int(name) not in (1, judge)
        ]

    def usage(self, pid: int) -> tuple[int, float]:
        """Bytes, and CPU seconds with those of children that have ended; (0, 0) where it has ended itself."""
        return _usage(pid, self._proc, self.base[1])

    def end(self, root: int, judge: int) -> tuple[int, Any]:
        """Kill the item; returns when nothing of it is left: wait status and usage of its first process."""
        os.kill(root, signal.SIGKILL)
        return os.wait4(root, 0)[1:]


class ProcessTree:
    """Without isolation (`unsafe=True`): limits and a process tree that is killed; nothing is hidden."""

    def __init__(self) -> None:
        import shutil
        import tempfile

        self._remove = shutil.rmtree
        self.home = tempfile.mkdtemp(prefix="guerdon-")
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        self.base = _pages("self", self._proc)
        linux.adopt_orphans()
        linux.forbid_inspection()

    def refresh(self, scratch: int, files: int) -> None:
        """An empty scratch directory; its size is not limited here."""
        os.chdir("/")
        self._remove(self.home, ignore_errors=True)
        os.makedirs(self.home, 0o700, exist_ok=True)
        os.chdir(self.home)

    def close(self) -> None:
        """End every process below this one and remove the scratch directory."""
        self.end(0, -1)
        self._remove(self.home, ignore_errors=True)

    def fork(self) -> int:
        """Plain fork."""
        return os.fork()

    def enter(self, command: bool) -> None:
        """In the child: die with the warden."""
        linux.die_with_parent()
        linux.forbid_new_privileges()

    def processes(self, root: int, judge: int) -> list[int]:
        """Every descendant of this process but the judge."""
        found, level = [], [os.getpid()]
        while level:
            level = [child for pid in level for child in self._children(pid) if child != judge]
            found += level
        return found

    def _children(self, pid: int) -> list[int]:
        try:
            with open(f"/proc/{pid}/task/{pid}/children") as file:
                return [int(child) for child in file.read().split()]
        except OSError:
            return []

    def usage(self, pid: int) -> tuple[int, float]:
        """Bytes and CPU seconds of one process; (0, 0) where it has ended."""
        return _usage(pid, self._proc, self.base[1])

    def end(self, root: int, judge: int) -> tuple[int, Any]:
        """Kill until nothing is left: orphans become this process's children and are met again."""
        status, used = 0, resource.getrusage(resource.RUSAGE_SELF)
        while alive := self.processes(root, judge):
            for pid in alive:
                _kill(pid)
            for pid in alive:
                try:
                    ended, its_status, its_usage = os.wait4(pid, 0 if pid == root else os.WNOHANG)
                except ChildProcessError:
                    continue
                if ended == root:
                    status, used = its_status, its_usage
        return status, used


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _read(pid: int | str, name: str, proc: int) -> bytes:
    fd = os.open(f"{pid}/{name}", os.O_RDONLY, dir_fd=proc)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def _pages(pid: int | str, proc: int) -> tuple[int, int]:
    """Bytes of address space, bytes resident."""
    size, resident = _read(pid, "statm", proc).split()[:2]
    return int(size) * _PAGE, int(resident) * _PAGE


def _usage(pid: int, proc: int, shared: int) -> tuple[int, float]:
    try:
        fields = _read(pid, "stat", proc).rpartition(b")")[2].split()
        resident = _pages(pid, proc)[1]
    except (OSError, ValueError, IndexError):
        return 0, 0.0
    return max(0, resident - shared), sum(map(int, fields[11:15])) / _TICK


def limit(limits: dict[str, Any], base: int, own: int) -> None:
    """The kernel's own limits, per process; children inherit them.

    Args:
        base: address space of a child that has done nothing yet.
        own: processes of this user that are not the item's; 0 where the kernel cannot tell them apart.
    """
    wanted = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits["file_size"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_AS, base + limits["memory"]),
        (resource.RLIMIT_STACK, 8 << 20),
        (resource.RLIMIT_MEMLOCK, 65536),
        (resource.RLIMIT_SIGPENDING, 256),
        (resource.RLIMIT_MSGQUEUE, 0),
    ]
    if own:
        wanted.append((resource.RLIMIT_NPROC, limits["processes"] + own))
    for kind, most in wanted:
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def counts_per_namespace() -> bool:
    """Whether RLIMIT_NPROC counts the processes of one user namespace only (Linux 5.14)."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(c for c in minor if c.isdigit()) or 0)) >= (5, 14)
