"""Values that leave the candidate's process: plain data by copy, everything else as a numbered handle.

JSON, not pickle: what comes from untrusted code is parsed by a parser that can build nothing but data.
None, booleans, numbers, strings and lists are themselves; every other type is an object with one key, its tag.
Instances of subclasses (named tuples, IntEnum, Counter, numpy scalars) cross as the plain value they hold, so that
no method of theirs, `__eq__` above all, takes part in a verdict.
"""

from __future__ import annotations

import base64
import datetime
import json
import re
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

_ATOMS = frozenset((type(None), bool, int, float, str))
_slice_all = slice(None)


def encode(value: Any, handle: Callable[[Any], list[Any]]) -> str:
    """JSON text of a value.

    Args:
        handle: called for what is not data; returns what the other side needs to make a stand-in.

    Raises:
        RecursionError: nested too deeply, or within itself.
    """
    return json.dumps(value if type(value) in _ATOMS else _tree(value, handle))


def _tree(value: Any, handle: Callable[[Any], list[Any]]) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        return value if _ATOMS.issuperset(map(type, value)) else [_tree(item, handle) for item in value]
    encoder = _ENCODERS.get(kind)
    if encoder is not None:
        return encoder(value, handle)
    return _tree_of_subclass(value, handle)


def _items(tag: str) -> Callable[[Any, Callable[[Any], list[Any]]], Any]:
    return lambda value, handle: {tag: [_tree(item, handle) for item in value]}


def _pairs(value: dict[Any, Any], handle: Callable[[Any], list[Any]]) -> Any:
    return {"dict": [[_tree(k, handle), _tree(v, handle)] for k, v in value.items()]}


_ENCODERS: dict[type, Callable[[Any, Callable[[Any], list[Any]]], Any]] = {
    tuple: _items("tuple"),
    set: _items("set"),
    frozenset: _items("frozenset"),
    dict: _pairs,
    deque: lambda v, handle: {"deque": [[_tree(item, handle) for item in v], v.maxlen]},
    bytes: lambda v, _: {"bytes": v.decode("latin-1")},
    bytearray: lambda v, _: {"bytearray": v.decode("latin-1")},
    complex: lambda v, _: {"complex": [v.real, v.imag]},
    range: lambda v, _: {"range": [v.start, v.stop, v.step]},
    Fraction: lambda v, _: {"fraction": [v.numerator, v.denominator]},
    Decimal: lambda v, _: {"decimal": str(v)},
    datetime.date: lambda v, _: {"date": v.isoformat()},
    datetime.datetime: lambda v, _: {"datetime": v.isoformat()},
    datetime.time: lambda v, _: {"time": v.isoformat()},
    datetime.timedelta: lambda v, _: {"timedelta": [v.days, v.seconds, v.microseconds]},
}


def _tree_of_subclass(value: Any, handle: Callable[[Any], list[Any]]) -> Any:
    if isinstance(value, int):
        return int.__pos__(value)
    if isinstance(value, float):
        return float.__pos__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return _tree(list.__getitem__(value, _slice_all), handle)
    if isinstance(value, tuple):
        return _items("tuple")(tuple.__iter__(value), handle)
    if isinstance(value, dict):
        return {"dict": [[_tree(k, handle), _tree(v, handle)] for k, v in dict.items(value)]}
    if isinstance(value, set | frozenset):
        tag, iterate = ("set", set.__iter__) if isinstance(value, set) else ("frozenset", frozenset.__iter__)
        return _items(tag)(iterate(value), handle)
    if type(value).__module__ == "numpy":
        return _tree_of_numpy(value, handle)
    return {"handle": handle(value)}


def _tree_of_numpy(value: Any, handle: Callable[[Any], list[Any]]) -> Any:
    import numpy as np

    if isinstance(value, np.generic) and value.dtype.kind in "biufcUS":
        return _tree(value.item(), handle)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcUS":
        raw = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": [value.dtype.str, list(value.shape), raw]}
    return {"handle": handle(value)}


def decoder(stand_in: Callable[[list[Any]], Any]) -> Callable[[str], Any]:
    """The reader of `encode`'s text.

    Args:
        stand_in: makes the stand-in of a handle.

    Returns:
        A function of the text. It raises ValueError, TypeError, KeyError, RecursionError or ArithmeticError on
        text that `encode` would not write.
    """

    def build(tagged: dict[str, Any]) -> Any:
        ((tag, content),) = tagged.items()
        return stand_in(content) if tag == "handle" else _BUILDERS[tag](content)

    return json.JSONDecoder(object_hook=build).decode


def _array(content: list[Any]) -> Any:
    import numpy as np

    kind, shape, raw = content
    if not re.fullmatch(r"[<>|=]?[biufcUS]\d{1,6}", kind):
        raise ValueError(f"array of {kind!r}")
    return np.frombuffer(base64.b64decode(raw), dtype=kind).reshape(shape).copy()


_BUILDERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "deque": lambda c: deque(c[0], c[1]),
    "bytes": lambda c: c.encode("latin-1"),
    "bytearray": lambda c: bytearray(c.encode("latin-1")),
    "complex": lambda c: complex(c[0], c[1]),
    "range": lambda c: range(*c),
    "fraction": lambda c: Fraction(c[0], c[1]),
    "decimal": lambda c: Decimal(c),
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda c: datetime.timedelta(*c),
    "array": _array,
}
