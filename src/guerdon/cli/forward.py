"""From a declared command to its work: imported late, errors told in one line, telling exit codes."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

import typer

from guerdon.errors import GuerdonError

INPUT_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
_EXTRAS = {
    "torch": "lab",
    "safetensors": "lab",
    "matplotlib": "lab",
    "transformers": "hf",
    "tokenizers": "hf",
    "peft": "hf",
    "reasoning_gym": "tasks",
    "math_verify": "math",
    "sympy": "math",
    "sqlglot": "sql",
    "duckdb": "sql",
    "jsonschema": "schema",
    "aiohttp": "judge",
    "ray": "ray",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
}
_debug = False


def show_tracebacks(wanted: bool) -> None:
    """Whether errors show where they were raised; the environment variable GUERDON_DEBUG asks for it too."""
    global _debug
    _debug = wanted or os.environ.get("GUERDON_DEBUG", "0") not in ("", "0")


def call(target: str, **arguments: Any) -> None:
    """Import `module:function` and call it; its return value, if any, is the exit code.

    Raises:
        typer.Exit: with the exit code, after an error was told on stderr.
    """
    try:
        module, name = target.split(":")
        code = getattr(importlib.import_module(module), name)(**arguments)
        sys.stdout.flush()
    except GuerdonError as error:
        _tell(str(error))
        raise typer.Exit(INPUT_ERROR) from None
    except KeyboardInterrupt:
        if _debug:
            traceback.print_exc()
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # the interpreter flushes stdout once more on its way out and would complain then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from None
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        _tell(
            f"this needs the package {package!r}; install it with: pip install 'guerdon[{_EXTRAS[package]}]'"
        )
        raise typer.Exit(INPUT_ERROR) from None
    except OSError as error:
        if error.filename is None:  # no file of the user's is at fault: a bug, to be seen in full
            raise
        _tell(f"{error.filename}: {error.strerror}")
        raise typer.Exit(INPUT_ERROR) from None
    if code:
        raise typer.Exit(int(code))


def _tell(message: str) -> None:
    if _debug:
        traceback.print_exc()
    typer.secho("error: ", fg=None if "NO_COLOR" in os.environ else "red", bold=True, nl=False, err=True)
    typer.echo(message, err=True)
