"""Canonical JSON and content hashes: equal content has one text and one id, however it was written down."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

VOLATILE = ("timestamp", "duration_ms", "bundleId")
"""Fields that differ between two runs over the same content."""


def canonical_json(value: Any) -> str:
    """JSON by RFC 8785 (JCS): sorted keys, no spaces, UTF-8, numbers as ECMAScript writes them.

    Raises:
        ValueError: NaN or infinity.
        TypeError: keys that are no text, values JSON does not have.
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"JSON keys must be text, got {key!r}")
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(key)}:{canonical_json(value[key])}" for key in keys) + "}"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Sequence):
        return "[" + ",".join(map(canonical_json, value)) + "]"
    return _number(value) if isinstance(value, float) else json.dumps(value)


def without(value: Any, fields: Iterable[str]) -> Any:
    """A copy without the named fields, at any depth."""
    dropped = frozenset(fields)
    if isinstance(value, Mapping):
        return {key: without(item, dropped) for key, item in value.items() if key not in dropped}
    if isinstance(value, list | tuple):
        return [without(item, dropped) for item in value]
    return value


def by_location(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Locations (LSP: uri and range) sorted by (uri, start line and character, end line and character)."""

    def place(item: Mapping[str, Any]) -> tuple[Any, ...]:
        span = item.get("range") or {}
        ends = [span.get(end) or {} for end in ("start", "end")]
        numbers = [int(end.get(part, 0)) for end in ends for part in ("line", "character")]
        return (str(item.get("uri", "")), *numbers, canonical_json(item))

    return sorted(items, key=place)


def sort_locations(value: Any) -> Any:
    """A copy in which every list of locations is sorted."""
    if isinstance(value, Mapping):
        return {key: sort_locations(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [sort_locations(item) for item in value]
        located = items and all(isinstance(item, Mapping) and "uri" in item for item in items)
        return by_location(items) if located else items
    return value


def content_id(value: Any, volatile: Iterable[str] = VOLATILE) -> str:
    """SHA-256 (hex) of the canonical JSON, locations sorted, volatile fields left out."""
    return hashlib.sha256(canonical_json(sort_locations(without(value, volatile))).encode()).hexdigest()


def released_id(value: Any) -> str:
    """How the released tool names a bundle: sha256: and the digest of sorted, compact, ASCII-escaped JSON.

    Nothing is left out and no list is sorted, so two runs over equal content may differ in it.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """A double as ECMAScript's Number.prototype.toString writes it."""
    if not math.isfinite(value):
        raise ValueError(f"JSON has no {value}")
    if value == 0:
        return "0"
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, part = mantissa.partition(".")
    part = "" if part == "0" else part
    digits = (whole + part).lstrip("0")
    exponent = len(whole) + int(power or 0)
    if whole.strip("0") == "":
        exponent = int(power or 0) - (len(part) - len(part.lstrip("0")))
    digits = digits.rstrip("0") or "0"
    n, k = exponent, len(digits)
    if k <= n <= 21:
        text = digits + "0" * (n - k)
    elif 0 < n <= 21:
        text = digits[:n] + "." + digits[n:]
    elif -6 < n <= 0:
        text = "0." + "0" * -n + digits
    else:
        sign = "+" if n > 0 else "-"
        text = f"{digits[0]}{'.' + digits[1:] if k > 1 else ''}e{sign}{abs(n - 1)}"
    return "-" + text if value < 0 else text
