"""`@system`: what is published under a slug, and where its composition lies.

An entry is a module `guerdon.systems.<family>.<slug with underscores>` whose factory carries the decorator.
Modules are imported when their slug is asked for; listing reads file names only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from guerdon.errors import RecipeError
from guerdon.registry import nearest

F = TypeVar("F", bound=Callable[..., Any])
_FOUND: dict[str, System] = {}


@dataclass(frozen=True)
class System:
    """A published system.

    Attributes:
        slug: its name here, in recipes and on the command line.
        title, arxiv: of the publication; arxiv is "" where there is none.
        family: "credit", "shape", "verify", ...
        kind: what the factory returns: "reward", "shape", "credit" ...
        factory: the composition; its docstring carries equation, shapes, defaults and source.
        others: factories of further kinds: a shaped reward that is a credit method too.
    """

    slug: str
    title: str
    arxiv: str
    family: str
    kind: str
    factory: Callable[..., Any]
    others: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def of_kind(self, kind: str) -> Callable[..., Any] | None:
        """The factory that makes a `kind`, where the system has one."""
        return self.factory if kind == self.kind else self.others.get(kind)


def system(
    slug: str,
    *,
    title: str,
    arxiv: str,
    family: str,
    kind: str,
    others: Mapping[str, Callable[..., Any]] | None = None,
) -> Callable[[F], F]:
    """Decorator: enter a factory into the catalogue under `slug`.

    Args:
        others: further kinds it can be had as, each made from the factory: `{"credit": make}`.
    """

    def enter(factory: F) -> F:
        made = {name: make(factory) for name, make in (others or {}).items()}
        _FOUND[slug] = System(slug, title, arxiv, family, kind, factory, made)
        return factory

    return enter


def slugs() -> dict[str, str]:
    """Slug -> module of every system, sorted by slug."""
    here = Path(__file__).parent
    files = [f for f in here.glob("*/*.py") if not f.stem.startswith("_")]
    return {
        f.stem.replace("_", "-"): f"guerdon.systems.{f.parent.name}.{f.stem}"
        for f in sorted(files, key=lambda f: f.stem)
    }


def find(slug: str) -> System:
    """The system of a slug.

    Raises:
        RecipeError: there is none; the nearest slug is offered.
    """
    known = slugs()
    if slug not in known:
        raise RecipeError(f"unknown system {slug!r}{nearest(slug, known)}")
    importlib.import_module(known[slug])
    return _FOUND[slug]
