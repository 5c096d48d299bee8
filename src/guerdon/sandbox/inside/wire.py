"""Messages between the host, the warden, the judge and the player.

Two transports: JSON messages with file descriptors over SEQPACKET sockets (host <-> warden, host <-> judge),
and length-prefixed frames over a pair of pipes (judge <-> player), which cost about 5 µs a round trip.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

INLINE = 96 * 1024
"""Messages up to this many bytes travel in the packet; longer ones in a memory file beside it."""
_FDS = 12
_LENGTH = struct.Struct("<I")


class Oversize(Exception):
    """A frame announced more bytes than the limit allows."""


def send(sock: socket.socket, message: Any, fds: Sequence[int] = ()) -> None:
    """Send one JSON message and any file descriptors.

    Raises:
        OSError: the other side is gone.
    """
    data = json.dumps(message).encode()
    if len(data) <= INLINE:
        _send_packet(sock, b"i" + data, fds)
        return
    spill = os.memfd_create("message")
    try:
        write_all(spill, data)
        _send_packet(sock, b"m", [*fds, spill])
    finally:
        os.close(spill)


def _send_packet(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    if fds:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        sock.sendmsg([data], [rights])
    else:
        sock.send(data)


def receive(
    sock: socket.socket, flags: int = 0, parse: Callable[[bytes], Any] = json.loads
) -> tuple[Any, list[int]] | None:
    """One message and its file descriptors; None when the other side has closed.

    Raises:
        BlockingIOError: nothing there and `flags` say not to wait.
        ValueError: not a message.
    """
    data, ancillary, state, _ = sock.recvmsg(INLINE + 1, socket.CMSG_SPACE(_FDS * 4), flags)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    if not data:
        return None
    if state & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(fds)
        raise ValueError("truncated message")
    if data[:1] == b"m":
        spill = fds.pop()
        try:
            data = b"i" + read_all(spill)
        finally:
            os.close(spill)
    return parse(data[1:]), list(fds)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_all(fd: int) -> bytes:
    """The whole content of a memory file, from its start."""
    size = os.fstat(fd).st_size
    parts, at = [], 0
    while at < size:
        part = os.pread(fd, size - at, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def close_all(fds: Iterable[int]) -> None:
    """Close file descriptors that may be closed already."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            continue


class Channel:
    """Frames over two pipes.

    Args:
        limit: the longest frame accepted, in bytes.
    """

    def __init__(self, read_fd: int, write_fd: int, limit: int) -> None:
        self.read_fd, self.write_fd, self.limit = read_fd, write_fd, limit
        self._ahead = b""

    def send(self, payload: bytes) -> None:
        """Raises OSError where the other side is gone."""
        data = _LENGTH.pack(len(payload)) + payload
        sent = os.write(self.write_fd, data)
        if sent < len(data):
            write_all(self.write_fd, data[sent:])

    def receive(self) -> bytes | None:
        """One frame; None at the end of the stream.

        Raises:
            Oversize: the frame announces more than `limit` bytes.
        """
        data = self._ahead or os.read(self.read_fd, 65536)
        self._ahead = b""
        while len(data) < 4:
            part = os.read(self.read_fd, 65536)
            if not part:
                return None
            data += part
        end = _LENGTH.unpack_from(data)[0] + 4
        if len(data) == end:
            return data[4:]
        if end - 4 > self.limit:
            raise Oversize(f"{end - 4} bytes, the limit is {self.limit}")
        parts = [data]
        missing = end - len(data)
        while missing > 0:
            part = os.read(self.read_fd, min(missing, 1 << 20))
            if not part:
                return None
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self._ahead = data[end:]
        return data[4:end]

    def close(self) -> None:
        close_all((self.read_fd, self.write_fd))
