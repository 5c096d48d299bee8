"""Static analysis of Python code as diagnostics: what an analyser reports, without running anything.

The built-in one needs only the standard library: syntax errors, and names that are read but defined nowhere
in the file. `command` runs any analyser that prints JSON (ruff, pyright).
"""

from __future__ import annotations

import ast
import builtins
import json
import re
import subprocess
import symtable
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from guerdon.errors import EngineError

_SUPPRESSION = re.compile(r"#\s*(?:type:\s*ignore|noqa|pyright:|mypy:|ruff:|pylint:)", re.IGNORECASE)
_KNOWN = frozenset(dir(builtins)) | {
    "__file__",
    "__name__",
    "__doc__",
    "__builtins__",
    "__class__",
    "__module__",
}
_KNOWN |= {"__qualname__", "__annotations__", "__path__", "__spec__", "__loader__", "__package__"}


@dataclass(frozen=True)
class Diagnostic:
    """One finding: line from 1, a rule's name, a message."""

    line: int
    rule: str
    message: str


Analyser = Callable[[Mapping[str, str]], list[Diagnostic]]
"""Files (name -> source) to diagnostics."""


def builtin(files: Mapping[str, str]) -> list[Diagnostic]:
    """Syntax errors and undefined names of Python files; other files are not looked at."""
    return [found for name in sorted(files) if name.endswith(".py") for found in check(files[name], name)]


def check(source: str, name: str = "code.py") -> list[Diagnostic]:
    """Syntax errors and undefined names of one Python source, by line."""
    try:
        tree = ast.parse(source)
        table = symtable.symtable(source, name, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        return [Diagnostic(line, "syntax-error", str(getattr(error, "msg", error)))]
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(tree)):
        return []  # a star import may define any name
    defined = {
        symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()
    }
    defined |= _declared_global(table)
    lines: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
    unknown = {name for name in _read_globals(table) if name not in defined and name not in _KNOWN}
    found = [Diagnostic(lines.get(name, 1), "undefined-name", f"{name!r} is not defined") for name in unknown]
    return sorted(found, key=lambda diagnostic: (diagnostic.line, diagnostic.message))


def suppressions(files: Mapping[str, str]) -> int:
    """Comments that silence an analyser (`# type: ignore`, `# noqa`, ...), over all files."""
    return sum(len(_SUPPRESSION.findall(source)) for source in files.values())


def command(arguments: Sequence[str], seconds: float = 60.0) -> Analyser:
    """An analyser that is a program: it gets a folder with the files and prints JSON.

    Args:
        arguments: program and arguments; the folder is appended. Read are ruff's list
            (`ruff check --output-format json`) and pyright's object (`pyright --outputjson`).
        seconds: after which it is killed.

    Raises:
        EngineError: on a call: it does not exist, takes too long, or prints something else.
    """
    return partial(_run, arguments=tuple(arguments), seconds=seconds)


def _run(files: Mapping[str, str], arguments: tuple[str, ...], seconds: float) -> list[Diagnostic]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for name, source in files.items():
            path = (root / name).resolve()
            if not path.is_relative_to(root):
                raise EngineError(f"file name {name!r} leads out of the folder that is analysed")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        try:
            done = subprocess.run(
                [*arguments, str(root)],
                capture_output=True,
                text=True,
                timeout=seconds,
                cwd=root,
                check=False,
            )
            return _read(json.loads(done.stdout))
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(f"analyser {arguments[0]!r} gave no diagnostics: {error}") from error


def _read(report: object) -> list[Diagnostic]:
    if isinstance(report, Mapping):
        listed = report["generalDiagnostics"]
        return [
            Diagnostic(int(d["range"]["start"]["line"]) + 1, str(d.get("rule", "")), str(d["message"]))
            for d in listed
            if d.get("severity") == "error"
        ]
    if not isinstance(report, list):
        raise ValueError("expected ruff's list or pyright's object")
    return [Diagnostic(int(d["location"]["row"]), str(d["code"] or ""), str(d["message"])) for d in report]


def _read_globals(table: symtable.SymbolTable) -> set[str]:
    found = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module")
    }
    for child in table.get_children():
        found |= _read_globals(child)
    return found


def _declared_global(table: symtable.SymbolTable) -> set[str]:
    found = {s.get_name() for s in table.get_symbols() if s.is_declared_global() and s.is_assigned()}
    for child in table.get_children():
        found |= _declared_global(child)
    return found
