"""`@system`: what is published under a slug, and where its composition lies.

An entry is a module `guerdon.systems.<family>.<slug with underscores>` whose factory carries the decorator.
Modules are imported when their slug is asked for; listing reads file names only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
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
    """

    slug: str
    title: str
    arxiv: str
    family: str
    kind: str
    factory: Callable[..., Any]


def system(slug: str, *, title: str, arxiv: str, family: str, kind: str) -> Callable[[F], F]:
    """Decorator: enter a factory into the catalogue under `slug`."""

    def enter(factory: F) -> F:
        _FOUND[slug] = System(slug, title, arxiv, family, kind, factory)
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
