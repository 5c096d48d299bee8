"""How a server is to be run: where it listens, who may ask, and how much it takes on."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Limits are per server unless they say otherwise.

    Attributes:
        host, port: where to listen; port 0: any free one.
        token: what clients must send as `Authorization: Bearer TOKEN`; None: anyone may ask.
        body_bytes: of one request.
        records: of one request.
        fields: of one record, signals and partitions counted.
        containers: lists and objects in one request, about.
        depth: how deeply the values of a record may be nested.
        requests: accepted and not answered yet; more are sent away with 429.
        waiting_bytes: of the bodies of all of them; likewise.
        seconds: until an accepted request must be answered; then 504.
        body_seconds: in which the body of a request must arrive; then 408.
        header_seconds: in which the head of a request must arrive; then the connection is closed.
        connections: open at a time; more get 503.
        grace: seconds for answering what was accepted after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8077
    token: str | None = None
    body_bytes: int = 16 << 20
    records: int = 8192
    fields: int = 256
    containers: int = 500_000
    depth: int = 64
    requests: int = 256
    waiting_bytes: int = 256 << 20
    seconds: float = 60.0
    body_seconds: float = 30.0
    header_seconds: float = 10.0
    connections: int = 1024
    grace: float = 30.0


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
