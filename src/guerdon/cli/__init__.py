"""`guerdon ...`: what each command is called and takes. The work is imported when a command runs."""

from __future__ import annotations

import os
import sys
from typing import Any

from guerdon.cli import on_records, on_rewards, on_runs
from guerdon.cli.app import app

__all__ = ["app", "main", "on_records", "on_rewards", "on_runs"]


def main(arguments: list[str] | None = None) -> Any:
    """Entry point. Exit codes: 0 done, 2 an error in the input, 130 Ctrl-C, 141 the reader went away."""
    # Idle OpenMP threads sleep instead of spinning: many times faster where other work shares the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(args=arguments, prog_name="guerdon")
    except KeyboardInterrupt:
        sys.exit(130)
