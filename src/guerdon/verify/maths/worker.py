"""The program of a worker process: reads one request a line, answers one result a line.

Run as `python -m guerdon.verify.maths.worker`. It ends when its input ends or its parent is gone, and the
kernel ends it when a single request takes more processor time than allowed: no request can outlive the
process that asked.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import queue
import resource
import select
import sys
import threading
from typing import Any

_GRACE = 2


def main() -> None:
    """Serve requests until the input ends."""
    memory = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # libraries may print; only replies may reach the parent
    os.dup2(nowhere, 2)
    logging.disable(logging.CRITICAL)
    importlib.import_module("math_verify")  # slow, so done before the first request

    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    _reply(replies, {"ready": True})
    while True:
        request = json.loads(requests.get())
        _allow(float(request["budget"]))
        _reply(replies, _answer(request))


def _reply(replies: Any, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _receive(requests: queue.SimpleQueue[str]) -> None:
    """Pass lines on; end the process with the input or the parent."""
    parent, buffer = os.getppid(), b""
    while True:
        ready, _, _ = select.select([0], [], [], 2.0)
        if os.getppid() != parent:
            os._exit(0)
        if not ready:
            continue
        data = os.read(0, 1 << 16)
        if not data:
            os._exit(0)
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            requests.put(line.decode("utf-8"))


def _allow(budget: float) -> None:
    """Processor time for the next request; the kernel kills the process beyond it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime + budget) + _GRACE
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return _equal(request) if request["op"] == "equal" else _grade(request)
    except MemoryError:
        return {"cause": "too large", "why": "out of memory"}
    except RecursionError:
        return {"cause": "too large", "why": "nested too deep"}
    except Exception as error:  # a computer algebra system may raise anything on hostile input
        return {"cause": "unparsable", "why": f"{type(error).__name__}: {error}"[:300]}


def _equal(request: dict[str, Any]) -> dict[str, Any]:
    """Two bare answers, accepted only where both directions agree."""
    peer = importlib.import_module("math_verify")
    sides = [
        peer.parse(f"${request[side]}$", fallback_mode="no_fallback", parsing_timeout=None)
        for side in ("gold", "prediction")
    ]
    for side, found in zip(("reference", "prediction"), sides, strict=True):
        if not found:
            return {"equal": False, "why": f"math-verify cannot read the {side}"}
    gold, prediction = sides
    equal = peer.verify(gold, prediction, timeout_seconds=None) and peer.verify(
        prediction, gold, timeout_seconds=None
    )
    return {"equal": bool(equal)}


def _grade(request: dict[str, Any]) -> dict[str, Any]:
    """math-verify as its users call it: a bare gold against a whole text."""
    peer = importlib.import_module("math_verify")
    gold = peer.parse(f"${request['gold']}$", parsing_timeout=None)
    prediction = peer.parse(request["prediction"], parsing_timeout=None)
    return {"equal": bool(peer.verify(gold, prediction, timeout_seconds=None))}


if __name__ == "__main__":
    main()
