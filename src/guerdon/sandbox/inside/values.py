"""Values that leave the candidate's process: plain data by copy, everything else as a numbered handle.

JSON, not pickle: what comes from untrusted code is parsed by a parser that can build nothing but data.
None, booleans, numbers, strings and lists are themselves; every other type is an object with one key, its
tag. Instances of subclasses (named tuples, IntEnum, Counter, numpy scalars) cross as the plain value they
hold, so that no method of theirs, `__eq__` above all, takes part in a verdict.

Values that enter (the tests' arguments) come from the trusted side and travel as marshal or pickle.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import types
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii
from typing import Any

Handle = Callable[[Any], str]
"""Makes the JSON text by which the other side knows an object that is not data."""
_slice_all = slice(None)


def _float(value: float, handle: Handle) -> str:
    text = float.__repr__(value)
    return text if text[-1] not in "fn" else {"inf": "Infinity", "-inf": "-Infinity"}.get(text, "NaN")


def _list(values: Iterable[Any], handle: Handle) -> str:
    return f"[{','.join([encode(value, handle) for value in values])}]"


def _pairs(items: Iterable[tuple[Any, Any]], handle: Handle) -> str:
    pairs = [f"[{encode(key, handle)},{encode(value, handle)}]" for key, value in items]
    return f'{{"dict":[{",".join(pairs)}]}}'


_WRITERS: dict[type, Callable[[Any, Handle], str]] = {
    int: lambda value, handle: int.__repr__(value),
    bool: lambda value, handle: "true" if value else "false",
    type(None): lambda value, handle: "null",
    str: lambda value, handle: encode_basestring_ascii(value),
    float: _float,
    list: _list,
    tuple: lambda value, handle: f'{{"tuple":{_list(value, handle)}}}',
    set: lambda value, handle: f'{{"set":{_list(value, handle)}}}',
    frozenset: lambda value, handle: f'{{"frozenset":{_list(value, handle)}}}',
    dict: lambda value, handle: _pairs(value.items(), handle),
    bytes: lambda value, handle: f'{{"bytes":{encode_basestring_ascii(value.decode("latin-1"))}}}',
    bytearray: lambda value, handle: f'{{"bytearray":{encode_basestring_ascii(value.decode("latin-1"))}}}',
    complex: lambda value, handle: (
        f'{{"complex":[{_float(value.real, handle)},{_float(value.imag, handle)}]}}'
    ),
    range: lambda value, handle: f'{{"range":[{value.start},{value.stop},{value.step}]}}',
    types.FunctionType: lambda value, handle: handle(value),
}


def encode(value: Any, handle: Handle) -> str:
    """JSON text of a value.

    Raises:
        RecursionError: nested too deeply, or within itself.
    """
    writer = _WRITERS.get(type(value))
    return writer(value, handle) if writer is not None else _uncommon(value, handle)


def _uncommon(value: Any, handle: Handle) -> str:
    """Subclasses of plain types, and a few types of the standard library and numpy."""
    if isinstance(value, int):
        return int.__repr__(int.__pos__(value))
    if isinstance(value, float):
        return _float(float.__pos__(value), handle)
    if isinstance(value, str):
        return encode_basestring_ascii(str.__str__(value))
    if isinstance(value, list):
        return _list(list.__getitem__(value, _slice_all), handle)
    if isinstance(value, tuple):
        return f'{{"tuple":{_list(tuple.__iter__(value), handle)}}}'
    if isinstance(value, dict):
        return _pairs(dict.items(value), handle)
    if isinstance(value, set):
        return f'{{"set":{_list(set.__iter__(value), handle)}}}'
    if isinstance(value, frozenset):
        return f'{{"frozenset":{_list(frozenset.__iter__(value), handle)}}}'
    kind = type(value)
    fields = _FIELDS.get((kind.__module__, kind.__name__))
    if fields is not None and getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind:
        return f'{{"{kind.__name__}":{_list(fields(value), handle)}}}'
    if kind.__module__ == "numpy":
        return _numpy(value, handle)
    return handle(value)


_FIELDS: dict[tuple[str, str], Callable[[Any], list[Any]]] = {
    ("collections", "deque"): lambda value: [list(value), value.maxlen],
    ("fractions", "Fraction"): lambda value: [value.numerator, value.denominator],
    ("decimal", "Decimal"): lambda value: [str(value)],
    ("datetime", "date"): lambda value: [value.isoformat()],
    ("datetime", "datetime"): lambda value: [value.isoformat()],
    ("datetime", "time"): lambda value: [value.isoformat()],
    ("datetime", "timedelta"): lambda value: [value.days, value.seconds, value.microseconds],
}


def _numpy(value: Any, handle: Handle) -> str:
    import numpy as np

    if isinstance(value, np.generic) and value.dtype.kind in "biufcUS":
        return encode(value.item(), handle)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcUS":
        raw = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return f'{{"array":["{value.dtype.str}",{_list(value.shape, handle)},"{raw}"]}}'
    return handle(value)


def decoder(stand_in: Callable[[list[Any]], Any]) -> Callable[[str], Any]:
    """The reader of `encode`'s text.

    Args:
        stand_in: makes the stand-in of a handle.

    Returns:
        A function of the text. It raises ValueError, TypeError, KeyError, RecursionError or ArithmeticError
        on text that `encode` would not write.
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


def _fraction(content: list[Any]) -> Any:
    from fractions import Fraction

    return Fraction(*content)


def _decimal(content: list[Any]) -> Any:
    from decimal import Decimal

    return Decimal(*content)


def _deque(content: list[Any]) -> Any:
    from collections import deque

    return deque(*content)


def _time(name: str) -> Callable[[list[Any]], Any]:
    def build(content: list[Any]) -> Any:
        import datetime

        kind = getattr(datetime, name)
        return kind(*content) if name == "timedelta" else kind.fromisoformat(*content)

    return build


_BUILDERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "bytes": lambda content: content.encode("latin-1"),
    "bytearray": lambda content: bytearray(content.encode("latin-1")),
    "complex": lambda content: complex(content[0], content[1]),
    "range": lambda content: range(*content),
    "deque": _deque,
    "Fraction": _fraction,
    "Decimal": _decimal,
    "array": _array,
    **{name: _time(name) for name in ("date", "datetime", "time", "timedelta")},
}

_ATOMS = frozenset((type(None), bool, int, float, str, bytes, complex))
_NESTS = frozenset((list, tuple, set, frozenset))


def is_plain(value: Any) -> bool:
    """Whether marshal carries a value faithfully: builtin types, exactly, all the way down."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind in _NESTS:
        return _ATOMS.issuperset(map(type, value)) or all(map(is_plain, value))
    return kind is dict and all(map(is_plain, value)) and all(map(is_plain, value.values()))
