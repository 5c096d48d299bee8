"""The file system a candidate sees: the Python installation, C libraries, chosen packages, nothing else."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from guerdon.sandbox.errors import SandboxError

INSIDE = "/opt/guerdon"
PACKAGES = "/opt/packages"
_LIBRARIES = ("/lib", "/lib64", "/lib32", "/usr/lib", "/usr/lib64", "/usr/lib32")
_SYSTEM = ("/bin", "/sbin", "/usr", "/etc/alternatives", "/etc/ld.so.cache")
_DEVICES = ("null", "zero", "full", "random", "urandom")


def interpreter() -> str:
    """The base interpreter's binary, behind any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def inside() -> str:
    """The folder that holds the package `inside`."""
    return str(Path(__file__).parent)


def mounts(packages: Sequence[str], system: bool) -> list[str]:
    """bubblewrap's arguments for the root directory.

    Args:
        packages: distributions or import names of this environment to show.
        system: show the system's programs too, for commands.

    Raises:
        SandboxError: a package is not installed here.
    """
    shown = [path for path in (*_LIBRARIES, *(_SYSTEM if system else ())) if os.path.lexists(path)]
    out = _parents(shown)
    for path in shown:
        out += _same_place(path)
    python, stdlib = interpreter(), sysconfig.get_path("stdlib")
    library = os.path.join(sys.base_prefix, "lib")
    binds = {os.path.join(inside(), "inside"): f"{INSIDE}/inside"}
    if sys.base_prefix != "/usr":
        binds[library] = library
    if not stdlib.startswith((library + "/", "/usr/lib")):
        binds[stdlib] = stdlib
    if not (system and python.startswith("/usr/")):
        binds[python] = python
    binds |= {source: f"{PACKAGES}/{os.path.basename(source)}" for source in package_files(packages)}
    out += _parents(binds.values())
    for source, target in binds.items():
        out += ["--ro-bind", source, target]
    for name in ("site-packages", "dist-packages"):
        hidden = os.path.join(stdlib, name)
        if os.path.isdir(hidden):
            out += ["--tmpfs", hidden, "--remount-ro", hidden]
    for device in _DEVICES:
        out += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    out += ["--symlink", "/tmp", "/dev/shm", "--symlink", "/proc/self/fd", "/dev/fd"]
    return [*out, "--dir", "/tmp", "--proc", "/proc", "--chdir", "/", "--remount-ro", "/"]


def _parents(paths: Iterable[str]) -> list[str]:
    """Open directories on the way to every path: bubblewrap would copy the host's mode (/root is closed)."""
    parents = {str(parent) for path in paths for parent in Path(path).parents} - {"/"}
    return [word for parent in sorted({*parents, "/dev"}) for word in ("--perms", "0755", "--dir", parent)]


def _same_place(path: str) -> list[str]:
    if os.path.islink(path):
        return ["--symlink", os.readlink(path), path]
    return ["--ro-bind", path, path]


def package_files(packages: Sequence[str]) -> list[str]:
    """Top-level files and folders of the packages.

    Raises:
        SandboxError: one is not installed, or installed in a way that has no files (editable).
    """
    return sorted({source for name in packages for source in _files_of(name)})


def _files_of(name: str) -> Iterator[str]:
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
        if spec is None or spec.origin is None:
            raise SandboxError(
                f"package {name!r} is not installed in this environment; install it first"
            ) from None
        origin = Path(spec.origin)
        yield str(origin.parent if spec.submodule_search_locations else origin)
        return
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    found = [path for top in sorted(tops) if os.path.exists(path := str(distribution.locate_file(top)))]
    if not any(not path.endswith((".dist-info", ".pth", ".egg-info")) for path in found):
        raise SandboxError(f"package {name!r} has no files to show in the sandbox (an editable install?)")
    yield from found


def check_readable() -> None:
    """Raises SandboxError where only this user may read the Python installation: programs run as another."""
    landmark = os.path.join(sysconfig.get_path("stdlib"), "os.py")
    if not os.stat(landmark).st_mode & 0o004:
        raise SandboxError(
            f"{landmark} is not readable by other users; when guerdon runs as root, untrusted code runs as a "
            f"user of its own. Do chmod -R o+rX {sysconfig.get_path('stdlib')}, or run as an ordinary user"
        )
