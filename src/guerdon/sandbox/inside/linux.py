"""The few system calls that Python 3.11 does not offer: namespaces, mounts, capabilities."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
CAP_SYS_ADMIN = 21
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_CAPBSET_DROP = 1, 4, 8, 24
_PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 22, 36, 38

libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """Raises OSError where the kernel refuses."""
    _check(libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: int) -> None:
    """Raises OSError where the kernel refuses."""
    _check(libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(kind: str, target: str, flags: int, options: str = "") -> None:
    """Mount a virtual file system. Raises OSError where the kernel refuses."""
    result = libc.mount(
        kind.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    _check(result, f"mount {kind} on {target}")


def unmount(target: str) -> None:
    """Detach a mount at once, whatever still holds it. Raises OSError where the kernel refuses."""
    _check(libc.umount2(target.encode(), MNT_DETACH), f"unmount {target}")


def prctl(option: int, value: int) -> None:
    """Raises OSError where the kernel refuses."""
    zero = ctypes.c_ulong(0)
    _check(libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero), f"prctl {option}")


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends."""
    prctl(_PR_SET_PDEATHSIG, 9)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_inspection() -> None:
    """No ptrace, no core dump, no /proc/<pid>/mem for processes of the same user."""
    prctl(_PR_SET_DUMPABLE, 0)


def forbid_new_privileges() -> None:
    """exec never grants anything (set-uid files, file capabilities)."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_CapabilityData = ctypes.c_uint32 * 6


def keep_capabilities(mask: int) -> None:
    """Make `mask` the permitted and effective set; nothing is inheritable or ambient."""
    header = _CapabilityHeader(0x20080522, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = _CapabilityData(low, low, 0, high, high, 0)
    _check(libc.capset(ctypes.byref(header), data), "capset")


_capset = libc.capset
_NONE = (ctypes.byref(_CapabilityHeader(0x20080522, 0)), ctypes.byref(_CapabilityData()))
_REFUSED = (ctypes.byref(_CapabilityHeader(0x20080522, 1 << 30)), ctypes.byref(_CapabilityData()))


def drop_capabilities() -> None:
    """Keep none. Everything is prepared, because this runs in every child."""
    if _capset(*_NONE):
        raise OSError("capset")


def rehearse() -> None:
    """`drop_capabilities`, but refused: memory that a call has touched before costs children less."""
    for _ in range(20):
        _capset(*_REFUSED)


def shrink_bounds() -> None:
    """Make every capability unreachable, also by exec. What is held already stays."""
    capability = 0
    while libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) == 0:
        capability += 1


def become(uid: int, capabilities: int) -> None:
    """Change every user and group id to `uid`, keeping `capabilities`."""
    prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    keep_capabilities(capabilities)


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install_filter(instructions: bytes) -> None:
    """Install a seccomp filter (classic BPF, 8 bytes an instruction) on this process and its children."""
    program = _FilterProgram(len(instructions) // 8, instructions)
    zero = ctypes.c_ulong(0)
    result = libc.prctl(ctypes.c_int(_PR_SET_SECCOMP), ctypes.c_ulong(2), ctypes.byref(program), zero, zero)
    _check(result, "install the seccomp filter")
