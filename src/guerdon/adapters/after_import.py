"""Run something when a module is imported, so that a plugin costs nothing until its host needs it."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Watch(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module by the other finders, once, and calls back when it has been executed."""

    def __init__(self, name: str, then: Callable[[], Any]) -> None:
        self.name, self.then = name, then
        self.inner: importlib.abc.Loader | None = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            sys.meta_path.insert(0, self)
            return None
        self.inner, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        assert self.inner is not None
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert self.inner is not None and module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.inner
        self.inner.exec_module(module)
        self.then()


def after_import(name: str, then: Callable[[], Any]) -> None:
    """Call `then` once the module `name` has been imported; at once where it has been.

    Args:
        name: full name of a module.
        then: what it raises reaches whoever imports the module.
    """
    if name in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, _Watch(name, then))
