"""Typed fields of a recipe: values checked against annotations, errors that name the whole path.

`Section` turns a frozen dataclass into a recipe section; `conform` is the check behind it, also used for
the parameters of registered factories.
"""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from guerdon.errors import RecipeError
from guerdon.registry import nearest

_SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)
_MAPPINGS = (dict, collections.abc.Mapping)
_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}


def setting(default: Any, **limits: Any) -> Any:
    """A field with a default and limits: `low` and `high` (allowed themselves), `above` (not allowed)."""
    return dataclasses.field(default=default, metadata=limits)


class Section:
    """Base of frozen dataclasses that stand for a section of a recipe.

    On construction every field is converted to its annotated type and checked against its limits.

    Attributes:
        where: the section's path in the recipe, "" for the recipe itself.
    """

    where: ClassVar[str] = ""

    def __post_init__(self) -> None:
        owner: Any = type(self)
        hints = annotations_of(owner)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            path = join(self.where, field.name)
            value = conform(getattr(self, field.name), hints[field.name], path)
            _check_limits(value, field.metadata, path)
            object.__setattr__(self, field.name, value)

    @classmethod
    def from_mapping(cls, data: Any) -> Self:
        """Build from plain data.

        Raises:
            RecipeError: not a mapping, an unknown or missing field, a wrong type or a value out of range.
        """
        if not isinstance(data, Mapping):
            raise RecipeError(f"{cls.where or 'recipe'}: expected a mapping of fields, got {show(data)}")
        fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        for key in data:
            if key not in fields:
                raise RecipeError(f"{join(cls.where, str(key))}: unknown field{nearest(str(key), fields)}")
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in data:
                raise RecipeError(f"{join(cls.where, name)}: this field is missing and has no default")
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: `from_mapping` gives back an equal section."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: plain(getattr(self, field.name), field.name) for field in fields}


def join(where: str, name: str) -> str:
    """The path of a field inside a section."""
    return f"{where}.{name}" if where else name


def plain(value: Any, where: str) -> Any:
    """A deep copy made of dict, list, text, numbers, booleans and None only.

    Raises:
        RecipeError: anything else inside; its path is named.
    """
    if isinstance(value, Section):
        return value.to_dict()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise RecipeError(
                    f"{join(where, str(key))}: expected text as the field's name, got {show(key)}"
                )
        return {key: plain(item, join(where, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, join(where, str(i))) for i, item in enumerate(value)]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise RecipeError(f"{where}: expected plain data (numbers, text, lists, mappings), got {show(value)}")


def conform(value: Any, hint: Any, where: str) -> Any:
    """The value in its annotated type: whole floats become int, int becomes float, lists become tuples.

    Args:
        value: plain data.
        hint: a type annotation, resolved. Annotations this function does not know accept everything.
        where: the path, for messages.

    Raises:
        RecipeError: the value has another type; what was expected is said in words.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _conform_union(value, hint, where)
    if origin is typing.Literal:
        if value in arguments and type(value) in {type(a) for a in arguments}:
            return value
        raise RecipeError(f"{where}: unknown value {show(value)}{nearest(str(value), map(str, arguments))}")
    if hint in _PLAIN or hint is None:
        return _conform_plain(value, hint, where)
    if hint in _SEQUENCES or origin in _SEQUENCES:
        return _conform_sequence(value, hint, where)
    if hint in _MAPPINGS or origin in _MAPPINGS:
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where}: expected a mapping, got {show(value)}")
        item = arguments[1] if len(arguments) == 2 else Any
        return {key: conform(v, item, join(where, str(key))) for key, v in value.items()}
    if isinstance(hint, type) and issubclass(hint, Section) and not isinstance(value, hint):
        return hint.from_mapping(value)
    return value


def _conform_plain(value: Any, hint: Any, where: str) -> Any:
    if type(value) is hint or (value is None and hint is None):
        return value
    if hint is float and type(value) is int:
        return float(value)
    if hint is int and type(value) is float and value.is_integer():
        return int(value)
    raise RecipeError(f"{where}: expected {describe(hint)}, got {show(value)}")


def _conform_union(value: Any, hint: Any, where: str) -> Any:
    deepest = RecipeError(f"{where}: expected {describe(hint)}, got {show(value)}")
    for member in typing.get_args(hint):  # as it is, before converted: 1 in `float | int` stays whole
        if type(value) is member or (value is None and member is type(None)):
            return value
    for member in typing.get_args(hint):
        try:
            return conform(value, member, where)
        except RecipeError as error:
            inside = str(error).partition(":")[0]
            if inside.startswith(f"{where}."):  # right container, wrong content: the better message
                deepest = error
    raise deepest


def _conform_sequence(value: Any, hint: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise RecipeError(f"{where}: expected {describe(hint)}, got {show(value)}")
    arguments = typing.get_args(hint)
    is_tuple = tuple in (hint, typing.get_origin(hint))
    if is_tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise RecipeError(f"{where}: expected {describe(hint)}, got {show(value)}")
        items = arguments
    else:
        items = (arguments[0] if arguments else Any,) * len(value)
    found = [
        conform(v, item, join(where, str(i))) for i, (v, item) in enumerate(zip(value, items, strict=True))
    ]
    return tuple(found) if is_tuple else found


def describe(hint: Any) -> str:
    """An annotation in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint in _PLAIN:
        return _PLAIN[type(None) if hint is None else hint]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(a) for a in arguments)
    if origin is typing.Literal:
        return " or ".join(repr(a) for a in arguments)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)} ({', '.join(describe(a) for a in arguments)})"
    if hint in _SEQUENCES or origin in _SEQUENCES:
        return f"a list ({describe(arguments[0])} each)" if arguments else "a list"
    if hint in _MAPPINGS or origin in _MAPPINGS:
        return "a mapping"
    return getattr(hint, "__name__", str(hint))


def show(value: Any) -> str:
    """A value as messages show it, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_limits(value: Any, limits: Mapping[str, Any], where: str) -> None:
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        if not math.isfinite(number):
            raise RecipeError(f"{where}: expected a finite number, got {number!r}")
        low, high, above = limits.get("low"), limits.get("high"), limits.get("above")
        if low is not None and number < low:
            raise RecipeError(f"{where}: must be at least {low}, got {number!r}")
        if above is not None and number <= above:
            raise RecipeError(f"{where}: must be greater than {above}, got {number!r}")
        if high is not None and number > high:
            raise RecipeError(f"{where}: must be at most {high}, got {number!r}")


@functools.cache
def annotations_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Resolved annotations of a dataclass, or of what a factory takes; {} where they cannot be resolved."""
    function: Any = target
    if isinstance(target, type) and not dataclasses.is_dataclass(target):
        function = vars(target).get("__init__", target)
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # names imported for type checkers only
        return {}


def replace_at(data: Any, path: list[str], value: Any, where: str) -> Any:
    """A deep copy of plain data with the value at a dotted path replaced; missing mappings are made.

    Args:
        data: nested mappings and lists.
        path: field names and list indices; an index equal to the list's length appends.
        value: the new value.
        where: the whole path, for messages.

    Raises:
        RecipeError: the path leads through a single value, or an index is not in the list.
    """
    if not path:
        return value
    key, rest = path[0], path[1:]
    if data is None:
        data = {}
    if isinstance(data, Mapping):
        return {**copy.deepcopy(dict(data)), key: replace_at(data.get(key), rest, value, where)}
    if isinstance(data, list):
        if not key.isdigit() or int(key) > len(data):
            raise RecipeError(f"{where}: expected an index from 0 to {len(data)} into the list, got {key!r}")
        index, changed = int(key), copy.deepcopy(data)
        changed[index : index + 1] = [
            replace_at(data[index] if index < len(data) else None, rest, value, where)
        ]
        return changed
    raise RecipeError(f"{where}: cannot be set, since what holds {key!r} is the single value {show(data)}")
