"""Compiling tests: every assert statement may become a verdict of its own."""

from __future__ import annotations

import ast
import types
from typing import Any

PROBE = "__guerdon_probe__"
FILE = "tests.py"
_MOST = 4000


class _Split(ast.NodeTransformer):
    """`assert x` becomes `try: assert x / except: probe(k, error) / else: probe(k, None)`.

    Asserts inside a `with`, or a `try` that has handlers, stay as they are: the test itself may expect them
    to fail.
    """

    def __init__(self) -> None:
        self.lines: list[int] = []

    def visit_Try(self, node: ast.Try) -> Any:
        return node if node.handlers else self.generic_visit(node)

    def visit_TryStar(self, node: ast.TryStar) -> Any:
        return node

    def visit_With(self, node: ast.With) -> Any:
        return node

    def visit_Assert(self, node: ast.Assert) -> Any:
        number = len(self.lines)
        self.lines.append(node.lineno)
        error = f"__guerdon_error_{number}__"
        handler = ast.ExceptHandler(ast.Name("BaseException", ast.Load()), error, [_probe(number, error)])
        split = ast.Try([node], [handler], [_probe(number, None)], [])
        return ast.fix_missing_locations(ast.copy_location(split, node))


def _probe(number: int, error: str | None) -> ast.stmt:
    second = ast.Constant(None) if error is None else ast.Name(error, ast.Load())
    return ast.Expr(ast.Call(ast.Name(PROBE, ast.Load()), [ast.Constant(number), second], []))


def compile_tests(source: str, split: bool) -> tuple[types.CodeType, list[int]]:
    """Code of the tests and, where they are split, the line of each assert statement.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: the tests do not compile.
    """
    if not split:
        return compile(source, FILE, "exec", dont_inherit=True), []
    splitter = _Split()
    tree = splitter.visit(ast.parse(source, FILE))
    if not 2 <= len(splitter.lines) <= _MOST:
        return compile(source, FILE, "exec", dont_inherit=True), []
    return compile(tree, FILE, "exec", dont_inherit=True), splitter.lines
