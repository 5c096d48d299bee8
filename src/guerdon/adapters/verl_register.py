"""Importing this registers guerdon's credit methods with verl; see `guerdon.adapters.verl`."""

from __future__ import annotations

from guerdon.adapters.verl import register

NAMES = register()
