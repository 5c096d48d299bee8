"""References of code problems, in the forms that datasets use, as something the sandbox can run.

HumanEval `{"prompt", "test", "entry_point"}`; MBPP `{"test_list", "test_setup_code"}`; a list of assert
statements or of whole test sources; APPS, TACO and LiveCodeBench `{"inputs", "outputs"}` with or without
`fn_name`; a list of `{"input", "output"}`. Any of them as JSON text.
"""

from __future__ import annotations

import ast
import builtins
import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon.errors import DataError

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^`\n]*$", re.MULTILINE)
_DEFINITION = re.compile(r"^(?:async\s+)?def\s+(\w+)", re.MULTILINE)
_HAS_CODE = re.compile(r"^\s*[^\s#]", re.MULTILINE)
_PYTHON = frozenset(("", "python", "py", "python3", "python2", "ipython", "sage"))
_MATCH = """\
def __matches__(got, want):
    got = list(got) if isinstance(got, tuple) else got
    return got == want or (isinstance(want, list) and len(want) == 1 and got == want[0])
"""


@dataclass(frozen=True)
class CallTests:
    """Tests that call the program's functions. See `Sandbox.test`."""

    tests: tuple[str, ...]
    setup: str = ""
    taken: tuple[str, ...] = ()
    """Names taken from the program; empty: those the tests use."""
    prompt: str = ""
    """Code that the completion continues."""


@dataclass(frozen=True)
class StreamTests:
    """Standard input and what must come out for it."""

    cases: tuple[tuple[str, str], ...]


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Fenced code blocks as (language, code); one left open reaches to the end of the text."""
    blocks: list[tuple[str, str]] = []
    opened: tuple[str, str, int] | None = None
    for fence in _FENCE.finditer(text):
        marks, language = fence.group(1), fence.group(2)
        if opened is None:
            opened = (marks, language.lower(), fence.end() + 1)
        elif marks[0] == opened[0][0] and len(marks) >= len(opened[0]) and not language:
            blocks.append((opened[1], text[opened[2] : fence.start()]))
            opened = None
    if opened is not None:
        blocks.append((opened[1], text[opened[2] :]))
    return blocks


def find_code(completion: str, which: str) -> str | None:
    """The program in a completion: the last or first Python block, or all of them; None without any."""
    blocks = [code for language, code in code_blocks(completion) if language in _PYTHON]
    if not blocks:
        return None
    if which == "all":
        return "\n".join(blocks)
    return blocks[-1 if which == "last" else 0]


def program_of(code: str, fenced: bool, tests: CallTests) -> str:
    """The whole program: the completion alone, or continuing the prompt.

    A raw completion continues the prompt, as HumanEval has it. A code block may instead hold the whole
    function; the prompt before it then still provides the imports and helpers.
    """
    if not tests.prompt:
        return code
    if fenced and tests.taken and _definitions(tests.taken[0], code):
        return f"{before_entry(tests.prompt, tests.taken[0])}\n{code}"
    if fenced and not code[:1].isspace():
        code = "".join(f"    {line}" if line.strip() else line for line in code.splitlines(True))
    return tests.prompt + code


def _definitions(name: str, code: str) -> list[int]:
    """Where a function of that name is defined at the top level of some code."""
    return [match.start() for match in _DEFINITION.finditer(code) if match.group(1) == name]


@functools.lru_cache(maxsize=4096)
def before_entry(prompt: str, entry: str) -> str:
    """What a prompt provides beside the function to write: the text before it, if that is code."""
    found = _definitions(entry, prompt)
    text = prompt[: found[-1]] if found else ""
    try:
        compile(text, "prompt", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return ""
    return text


def read_reference(reference: Any, prompt: Any = None) -> CallTests | StreamTests:
    """The tests in a reference.

    Args:
        prompt: the row's prompt, where the reference does not hold its own.

    Raises:
        DataError: no known form; the message says what was found.
    """
    tests = _read(reference, prompt)
    if isinstance(tests, CallTests):
        for number, test in enumerate(tests.tests):
            if not _HAS_CODE.search(test):
                raise DataError(f"test {number} of the reference is empty: every program would pass it")
    return tests


def _read(reference: Any, prompt: Any) -> CallTests | StreamTests:
    if isinstance(reference, str):
        try:
            reference = json.loads(reference)
        except ValueError:
            return CallTests((reference,))
    if isinstance(reference, Mapping):
        return _from_mapping(reference, prompt)
    if isinstance(reference, Sequence) and reference:
        if all(isinstance(test, str) for test in reference):
            return CallTests(tuple(reference), taken=_called(tuple(reference)))
        if all(isinstance(test, Mapping) for test in reference):
            return StreamTests(tuple(_case(test) for test in reference))
    raise DataError(_unknown(reference))


def _from_mapping(reference: Mapping[str, Any], prompt: Any) -> CallTests | StreamTests:
    if "inputs" in reference and "outputs" in reference:
        return _from_pairs(reference)
    if "entry_point" in reference and isinstance(reference.get("test"), str):
        entry = str(reference["entry_point"])
        own = reference.get("prompt", prompt if isinstance(prompt, str) else "")
        test = reference["test"]
        if "def check(" in test:
            test += f"\ncheck({entry})"
        return CallTests((test,), before_entry(own, entry), (entry,), own)
    for name in ("test_list", "tests", "asserts", "test"):
        tests = reference.get(name)
        if isinstance(tests, str) and tests:
            tests = [tests]
        if isinstance(tests, Sequence) and tests:
            if all(isinstance(test, Mapping) for test in tests):
                return StreamTests(tuple(_case(test) for test in tests))
            setup = [reference.get("setup"), reference.get("test_setup_code")]
            setup += reference.get("test_imports") or ()
            sources = tuple(map(str, [*tests, *(reference.get("challenge_test_list") or ())]))
            taken = _defined(str(reference.get("code") or "")) or _called(sources)
            return CallTests(sources, "\n".join(part for part in setup if part), taken)
    if "stdin" in reference or "input" in reference:
        return StreamTests((_case(reference),))
    raise DataError(_unknown(reference))


def _from_pairs(reference: Mapping[str, Any]) -> CallTests | StreamTests:
    inputs, outputs = reference["inputs"], reference["outputs"]
    if len(inputs) != len(outputs) or not inputs:
        raise DataError(
            f"the reference has {len(inputs)} inputs and {len(outputs)} outputs; as many of each are needed"
        )
    name = reference.get("fn_name")
    if not name:
        return StreamTests(tuple((_text(i), _text(o)) for i, o in zip(inputs, outputs, strict=True)))
    tests = (f"assert __matches__({name}(*{i!r}), {o!r})" for i, o in zip(inputs, outputs, strict=True))
    return CallTests(tuple(tests), _MATCH, (str(name),))


@functools.lru_cache(maxsize=4096)
def _defined(code: str) -> tuple[str, ...]:
    """Functions and classes at the top level of a reference solution."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return ()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return tuple(node.name for node in body if isinstance(node, kinds))


@functools.lru_cache(maxsize=4096)
def _called(tests: tuple[str, ...]) -> tuple[str, ...]:
    """The one function that every test calls, where it has the name of a builtin; else nothing.

    Names of builtins are not taken from the program otherwise, so that it cannot redefine `len`.
    """
    common: set[str] | None = None
    for test in tests:
        try:
            nodes = list(ast.walk(ast.parse(test)))
        except (SyntaxError, ValueError):
            return ()
        names = {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        common = names if common is None else common & names
    found = common or set()
    return tuple(found) if len(found) == 1 and found <= vars(builtins).keys() else ()


def _case(test: Mapping[str, Any]) -> tuple[str, str]:
    given = next((test[name] for name in ("stdin", "input") if name in test), None)
    wanted = next((test[name] for name in ("stdout", "output") if name in test), None)
    if given is None or wanted is None:
        found = ", ".join(map(str, test)) or "nothing"
        raise DataError(f"a test needs input (or stdin) and output (or stdout), got {found}")
    return _text(given), _text(wanted)


def _text(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _unknown(reference: Any) -> str:
    if isinstance(reference, Mapping):
        found = f"fields {', '.join(map(str, reference)) or 'none'}"
    else:
        found = "nothing" if reference is None else f"{type(reference).__name__} {str(reference)[:40]!r}"
    return (
        f"the reference holds no tests that are understood ({found}); expected test + entry_point, a list of "
        "asserts, or inputs and outputs"
    )


def same_output(got: str, want: str, compare: str) -> bool:
    """Whether a program printed what was wanted.

    Args:
        compare: "exact"; "lines": but for white space at line ends and empty lines at the end; "tokens": the
            same words and numbers, whatever the white space, numbers within 1e-6 relative.
    """
    if compare == "exact":
        return got == want
    if compare == "lines":
        return _lines(got) == _lines(want)
    mine, theirs = got.split(), want.split()
    return len(mine) == len(theirs) and all(map(_same_token, mine, theirs))


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_token(mine: str, theirs: str) -> bool:
    if mine == theirs:
        return True
    try:
        a, b = float(mine), float(theirs)
    except ValueError:
        return False
    return "." in theirs + mine and abs(a - b) <= 1e-6 * max(1.0, abs(b))
