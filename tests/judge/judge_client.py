"""A judge with little patience in front of a scripted server."""

from __future__ import annotations

import re

from judge_server import ScriptedServer, shown

from guerdon import Rollouts
from guerdon.judge import Endpoint, Judge, Retry

QUICK = Retry(attempts=4, first=0.01, longest=0.05, patience=3.0)
TEMPLATE = {
    "messages": [{"role": "user", "content": "Rate.\n{{answer}}\nWrite [[k]]."}],
    "verdict": {"use": "rating", "low": 0, "high": 9},
}


def make(server: ScriptedServer, cache=None, retry=QUICK, timeout=5.0, **options) -> Judge:
    endpoint = {
        name: options.pop(name) for name in ("concurrency", "key_env", "max_reply_bytes") if name in options
    }
    return Judge(Endpoint(server.url, "m", retry=retry, timeout=timeout, **endpoint), cache=cache, **options)


def rollouts(n: int) -> Rollouts:
    return Rollouts(completion=[f"answer {i}" for i in range(n)])


def number_in(body) -> int:
    return int(re.search(r"answer (\d+)", shown(body)).group(1))
