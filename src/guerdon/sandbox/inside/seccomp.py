"""The system-call filter, assembled here as classic BPF.

Denied: everything newer than this table knows, namespaces and mounts beyond what a process without
capabilities could do anyway, tracing and reading other processes, kernel modules, keys, bpf, perf, io_uring,
System V and POSIX message IPC, memory files (they escape every memory limit), the clock, and every socket
family but AF_UNIX. The warden itself runs under the filter, so forking a candidate costs nothing for it.

Reference: Linux, Documentation/userspace-api/seccomp_filter.rst; include/uapi/linux/{filter,seccomp,audit}.h.
"""

from __future__ import annotations

import errno
import os
import struct

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_NEWEST = 456  # futex_requeue, Linux 6.7; the C library falls back where a newer call is missing

# name: (x86_64, aarch64), None where the architecture never had it
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, None),
    "init_module": (175, 105),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_getsetattr": (245, 185),
    "mq_notify": (244, 184),
    "mq_open": (240, 180),
    "mq_timedreceive": (243, 183),
    "mq_timedsend": (242, 182),
    "mq_unlink": (241, 181),
    "msgctl": (71, 187),
    "msgget": (68, 186),
    "msgrcv": (70, 188),
    "msgsnd": (69, 189),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semctl": (66, 191),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "settimeofday": (164, 170),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmdt": (67, 197),
    "shmget": (29, 194),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysctl": (156, None),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
    "vserver": (236, None),
}
_ABSENT: dict[str, tuple[int, int]] = {  # "not implemented", so that callers use their older way
    "clone3": (435, 435),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
}
_CLONE, _UNSHARE, _SOCKET, _IOCTL = (56, 220), (272, 97), (41, 198), (16, 29)
_AF_UNIX = 1
_CLONE_NEWUSER = 0x10000000
_TERMINAL_IOCTLS = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into a terminal one shares

_LOAD, _JUMP, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENT0, _ARGUMENT1 = (
    0,
    4,
    16,
    24,
)  # offsets into struct seccomp_data (little endian)


def supported() -> bool:
    """Whether the filter knows this machine's system-call numbers."""
    return os.uname().machine in _ARCHITECTURES


def _op(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("<HBBI", code, then, otherwise, value)


def _refuse_if(
    number: int, offset: int, test: int, values: tuple[int, ...], allowed_when_equal: bool
) -> bytes:
    """Refuse a call by one argument; other calls skip the block."""
    body = _op(_LOAD, offset)
    for value in values:
        body += _op(test, value, 0, 1) if not allowed_when_equal else _op(test, value, 1, 0)
        body += _op(_RETURN, _ERRNO | errno.EPERM)
    body += _op(_RETURN, _ALLOW)
    return _op(_EQUAL, number, 0, len(body) // 8) + body


def program(machine: str | None = None) -> bytes:
    """The filter for this machine, 8 bytes an instruction.

    Raises:
        KeyError: no table for the machine's architecture.
    """
    audit, column = _ARCHITECTURES[machine or os.uname().machine]
    out = _op(_LOAD, _ARCHITECTURE) + _op(_EQUAL, audit, 1, 0) + _op(_RETURN, _KILL)
    out += _op(_LOAD, _NUMBER) + _op(_GREATER, _NEWEST, 0, 1) + _op(_RETURN, _ERRNO | errno.ENOSYS)
    out += _refuse_if(_CLONE[column], _ARGUMENT0, _ANY_BIT, (_CLONE_NEWUSER,), False)
    out += _refuse_if(_UNSHARE[column], _ARGUMENT0, _ANY_BIT, (_CLONE_NEWUSER,), False)
    out += _refuse_if(_SOCKET[column], _ARGUMENT0, _EQUAL, (_AF_UNIX,), True)
    out += _refuse_if(_IOCTL[column], _ARGUMENT1, _EQUAL, _TERMINAL_IOCTLS, False)
    for table, code in ((_ABSENT, errno.ENOSYS), (_DENIED, errno.EPERM)):
        for numbers in table.values():
            number = numbers[column]
            if number is not None:
                out += _op(_EQUAL, number, 0, 1) + _op(_RETURN, _ERRNO | code)
    return out + _op(_RETURN, _ALLOW)
