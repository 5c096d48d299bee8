"""Started as root: enter a user namespace of two users, then become the given command.

Inside, user 0 is the caller (who may read the Python installation, wherever it lies) and user 1 is a user id
that owns nothing on the host; untrusted code runs as user 1. Root of the host is exempt from the limit on
processes, which is why a second user is needed.

Usage: enter.py UID COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import os
import sys

CLONE_NEWUSER = 0x10000000


def _write_maps(pid: int, uid: int) -> None:
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(f"0 0 1\n1 {uid} 1\n")


def _unshare_user() -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        code = ctypes.get_errno()
        sys.exit(f"user namespaces are not permitted here: {os.strerror(code)}")


def main() -> None:
    uid, command = int(sys.argv[1]), sys.argv[2:]
    ready, done = os.pipe(), os.pipe()
    helper = os.fork()
    if helper == 0:  # stays outside the new namespace: only a process of the parent one may map two users
        try:
            os.close(ready[1])
            if os.read(ready[0], 1):
                _write_maps(os.getppid(), uid)
                os.write(done[1], b"k")
        except OSError as error:
            sys.stderr.write(f"cannot map users into a namespace: {error}\n")
        os._exit(0)
    os.close(done[1])
    _unshare_user()
    os.write(ready[1], b"r")
    mapped = os.read(done[0], 1)
    os.waitpid(helper, 0)
    if not mapped:
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
