"""Killable, isolated, pre-forked execution of untrusted code.

In: a program and its tests, a program and its standard input, or any command, with `Limits`. Out: a `Report`
with one verdict per test, or an `Execution`. Needs Linux and bubblewrap; refuses to run where it cannot
isolate, unless told `unsafe=True`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guerdon.sandbox.errors import SandboxError
    from guerdon.sandbox.limits import Limits
    from guerdon.sandbox.pool import Sandbox, why_not
    from guerdon.sandbox.verdicts import Execution, Report, TestVerdict

_NAMES = {
    "Execution": "verdicts",
    "Limits": "limits",
    "Report": "verdicts",
    "Sandbox": "pool",
    "SandboxError": "errors",
    "TestVerdict": "verdicts",
    "why_not": "pool",
}

__all__ = ["Execution", "Limits", "Report", "Sandbox", "SandboxError", "TestVerdict", "why_not"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"guerdon.sandbox.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'guerdon.sandbox' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
