"""A server in a thread of the test process, on a free port of the loopback interface."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from guerdon.score.report import Options
from guerdon.serve import server
from guerdon.serve.settings import Settings


@contextmanager
def serving(
    rewards: Any, options: Options | None = None, desks: list[Any] | None = None, **settings: Any
) -> Iterator[str]:
    """The URL of a server with these rewards; closed, with all it accepted answered, at the end."""
    made = Settings(port=0, **settings)
    listening = server.listen(made)
    desk = server.open_desk(rewards, None, options or Options(workers=0, cache=None))
    if desks is not None:
        desks.append(desk)
    running = server.make_server(desk, made)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[listening])), daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not running.started and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(60)
        listening.close()


class LengthOfGroup:
    """A reward that looks at whole groups: characters beyond the shortest completion of the group."""

    name, version, shape = "length_of_group", "1", "group"

    def __call__(self, rollouts: Any, ctx: Any = None) -> Any:
        import numpy as np

        from guerdon.data.signal import Signal

        labels, n = rollouts.groups()
        sizes = np.array([float(len(rollouts.text(i))) for i in range(len(rollouts))])
        shortest = np.full(n, np.inf)
        np.minimum.at(shortest, labels, sizes)
        return Signal(sizes - shortest[labels], "rollout", "length")
