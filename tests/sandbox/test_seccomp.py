"""The system-call filter, run by an interpreter of classic BPF that knows nothing of how it was written."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from guerdon.sandbox.inside import seccomp

ALLOW, ENOSYS, EPERM, KILL = 0x7FFF0000, 0x00050026, 0x00050001, 0x80000000
X86, ARM = 0xC000003E, 0xC00000B7


def decide(program: bytes, number: int, arch: int, *args: int) -> int:
    """What the kernel would do with a system call."""
    data = struct.pack("<iIQ6Q", number, arch, 0, *(list(args) + [0] * 6)[:6])
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        operation, then, otherwise, value = code[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif operation == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x45: bool(accumulator & value)}
            at += then if holds[operation] else otherwise


@pytest.mark.parametrize(("machine", "arch", "column"), [("x86_64", X86, 0), ("aarch64", ARM, 1)])
def test_every_denied_call_is_denied(machine: str, arch: int, column: int) -> None:
    program = seccomp.program(machine)
    assert len(program) // 8 < 4096
    for numbers in seccomp._DENIED.values():
        if numbers[column] is not None:
            assert decide(program, numbers[column], arch) == EPERM
    for numbers in seccomp._ABSENT.values():
        assert decide(program, numbers[column], arch) == ENOSYS
    assert decide(program, 0, ARM if arch == X86 else X86) == KILL
    assert decide(program, 0, 0x40000003) == KILL  # 32-bit calls
    assert decide(program, 457, arch) == ENOSYS
    assert decide(program, 0x40000000, arch) == ENOSYS  # the x32 table


def test_arguments_decide() -> None:
    program = seccomp.program("x86_64")
    clone, unshare, socket, ioctl = 56, 272, 41, 16
    assert decide(program, clone, X86, 0x01200011) == ALLOW
    assert decide(program, clone, X86, 0x11 | 0x10000000) == EPERM
    assert decide(program, unshare, X86, 0x20000000) == ALLOW  # refused for want of capabilities instead
    assert decide(program, unshare, X86, 0x10000000) == EPERM
    assert decide(program, socket, X86, 1) == ALLOW
    for family in (2, 10, 16, 17, 38, 40):
        assert decide(program, socket, X86, family) == EPERM
    assert decide(program, ioctl, X86, 0, 0x5401) == ALLOW
    assert decide(program, ioctl, X86, 0, 0x5412) == EPERM


def test_ordinary_calls_are_allowed() -> None:
    program = seccomp.program("x86_64")
    for number in (0, 1, 2, 3, 9, 10, 12, 22, 33, 39, 57, 59, 60, 61, 62, 202, 231, 257, 262, 318, 334, 436):
        assert decide(program, number, X86) == ALLOW


def test_the_numbers_are_the_kernel_headers() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers on this machine")
    known = dict(
        line.split()[1:3] for line in header.read_text().splitlines() if line.startswith("#define __NR_")
    )
    for name, numbers in {**seccomp._DENIED, **seccomp._ABSENT}.items():
        number = known.get(f"__NR_{name}") or known.get(f"__NR__{name}")
        if number is not None:
            assert int(number) == numbers[0], name
