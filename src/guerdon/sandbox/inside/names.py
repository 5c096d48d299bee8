"""What the names in tests mean: something of their setup, of the program, or a module.

What the program gives out is the program's word. So only those names are taken from it that the tests look up
and that nothing else explains: `math.isclose` in a test is not asked of a `math` that the program made.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

from .values import is_plain

TESTS = "__tests__"
"""The module that setup and tests believe to be in."""
_ALIASES = {"np": "numpy", "pd": "pandas"}
_NEVER = frozenset(("__main__", "antigravity", "inside", "solution", "this"))
_CONTAINERS = (list, tuple, set, frozenset, dict)


def looked_up(codes: Iterable[types.CodeType]) -> set[str]:
    """Global names that code may look up and that are no builtin's."""
    found = {name for code in codes for name in _names(code)} - vars(builtins).keys()
    return {name for name in found if not name.startswith("__")}


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def defines_class(code: types.CodeType) -> bool:
    """Whether the code's top level holds a class statement."""
    return any(isinstance(c, types.CodeType) and "__module__" in c.co_names[:2] for c in code.co_consts)


def shared(namespace: dict[str, Any]) -> set[str]:
    """Names of a setup that must be the program's: its classes, whose objects travel, and such objects.

    Functions of the setup stay the tests' own.
    """
    classes = {n: v for n, v in namespace.items() if isinstance(v, type) and v.__module__ == TESTS}
    kinds = tuple(classes.values())
    objects = (
        n
        for n, v in namespace.items()
        if not n.startswith("__")
        and (isinstance(v, kinds) or (isinstance(v, _CONTAINERS) and not is_plain(v)))
    )
    return {*classes, *objects}


def modules(sources: Iterable[str], wanted: Iterable[str]) -> dict[str, types.ModuleType]:
    """Modules that tests use without importing them.

    A name means a module if it is one's, tests do nothing with it but look up attributes, and the module has
    all of these.

    Args:
        sources: of the tests.
        wanted: names they look up.
    """
    likely = [name for name in wanted if _may_be_imported(_ALIASES.get(name, name))]
    uses = [_uses(source) for source in sources] if likely else []
    found = {}
    for name in likely:
        attributes = {attribute for looked_up, _ in uses for attribute in looked_up.get(name, ())}
        if attributes and not any(name in others for _, others in uses):
            module = own_module(_ALIASES.get(name, name))
            if module is not None and all(hasattr(module, attribute) for attribute in attributes):
                found[name] = module
    return found


@functools.lru_cache(maxsize=128)
def _uses(source: str) -> tuple[dict[str, set[str]], set[str]]:
    """Attributes looked up on every name, and names that are used in another way."""
    attributes: dict[str, set[str]] = {}
    owners, others = set(), set()
    for node in ast.walk(ast.parse(source)):  # an attribute comes before the name it is looked up on
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owners.add(id(node.value))
            attributes.setdefault(node.value.id, set()).add(node.attr)
        elif isinstance(node, ast.Name) and id(node) not in owners:
            others.add(node.id)
    return attributes, others


def own_module(name: str) -> types.ModuleType | None:
    """This process's own copy of a module, which no program can have changed; None where it may have none."""
    try:
        return importlib.import_module(name) if _may_be_imported(name) else None
    except ImportError:
        return None


@functools.lru_cache(maxsize=4096)
def _may_be_imported(name: str) -> bool:
    """The standard library, and the packages that were chosen."""
    top = name.partition(".")[0]
    if top in _NEVER or not top.isidentifier():
        return False
    return top in sys.stdlib_module_names or importlib.util.find_spec(top) is not None
