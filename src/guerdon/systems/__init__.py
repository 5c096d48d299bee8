"""The catalogue: one entry per published system, a small composition with its source and its claim."""

from __future__ import annotations

from guerdon.systems.catalogue import System, find, slugs, system

__all__ = ["System", "find", "slugs", "system"]
