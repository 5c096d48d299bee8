"""One event loop per process, in a thread of its own, where all judges live.

Sync code, async code and code inside a running event loop can therefore all wait for a judge, connections
outlive a call, and a limit on concurrency holds for all callers together.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from guerdon.errors import GuerdonError

T = TypeVar("T")

_SETTLE = 10.0  # seconds an interrupted call may take to put its things in order
_lock = threading.Lock()
_thread: threading.Thread | None = None
_loop: asyncio.AbstractEventLoop | None = None
_owner = 0
_connections: weakref.WeakSet[Any] = weakref.WeakSet()


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process; a forked child gets its own."""
    global _thread, _loop, _owner
    with _lock:
        if _loop is None or _owner != os.getpid():
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_serve, args=(_loop,), name="guerdon-judge", daemon=True)
            _owner = os.getpid()
            _thread.start()
        return _loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the background and wait for it.

    Ctrl-C (or any exception in the waiting thread) cancels it and waits until it has put its things in
    order: what was answered is in the cache.

    Raises:
        GuerdonError: called from the background thread itself (a progress hook), which would wait for ever.
    """
    loop = background_loop()
    if threading.current_thread() is _thread:
        work.close()
        raise GuerdonError("a judge cannot be asked from its own progress hook; collect and ask afterwards")
    settled = threading.Event()
    future = asyncio.run_coroutine_threadsafe(_settling(work, settled), loop)
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            settled.wait(_SETTLE)
        raise


async def _settling(work: Awaitable[T], settled: threading.Event) -> T:
    try:
        return await work
    finally:
        settled.set()


async def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the background and await it from any event loop; cancelling cancels it there."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, background_loop()))


def adopt(owner: Any, connection: Any) -> None:
    """Have `connection.close()` awaited in the background when its owner or the process is gone.

    Call it from the background loop the connection belongs to.
    """
    _connections.add(connection)
    loop, pid = asyncio.get_running_loop(), os.getpid()
    weakref.finalize(owner, _dispose, connection, loop, pid).atexit = False


def _dispose(connection: Any, loop: asyncio.AbstractEventLoop, pid: int) -> None:
    # a forked child must not close what its parent uses
    if pid == os.getpid() and loop.is_running():
        with suppress(RuntimeError):  # the loop was closed a moment ago
            loop.call_soon_threadsafe(lambda: loop.create_task(connection.close()))


async def _close_all() -> None:
    open_ones = [connection for connection in list(_connections) if not connection.closed]
    await asyncio.gather(*(connection.close() for connection in open_ones), return_exceptions=True)


@atexit.register
def _shut_down() -> None:
    if _loop is None or _owner != os.getpid() or _thread is None or not _thread.is_alive():
        return
    with suppress(Exception):  # the process is ending: nobody is left to tell
        asyncio.run_coroutine_threadsafe(_close_all(), _loop).result(timeout=2.0)
    _loop.call_soon_threadsafe(_loop.stop)
    _thread.join(timeout=2.0)
