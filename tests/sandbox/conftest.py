"""One sandbox for all tests; skipped, with the reason, where this machine cannot isolate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guerdon.sandbox import Limits, Report, Sandbox, why_not

LIMITS = Limits(wall=60.0, cpu=60.0, memory=256 << 20)
SHORT = LIMITS.with_(wall=2.0, cpu=2.0)
"""For programs that would never end."""


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with Sandbox(workers=2, limits=LIMITS) as made:
        yield made


Check = Callable[..., Report]


@pytest.fixture(scope="session")
def check(sandbox: Sandbox) -> Check:
    """`check(program, *tests)`: a report on a program whose function is `f`."""

    def run(program: str, *tests: str, **options: object) -> Report:
        return sandbox.test(program, tests or ("assert f(1) == 2",), entry="f", **options)  # type: ignore[arg-type]

    return run


def descendants(pid: int, depth: int = 99) -> list[int]:
    """Every process under `pid`, down to so many generations, parents before their children."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            own = [int(child) for child in children.read_text().split()]
        except OSError:
            continue
        for child in own:
            found += [child, *(descendants(child, depth - 1) if depth > 1 else [])]
    return found


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
