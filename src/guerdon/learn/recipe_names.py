"""Recipe sections that name something registered: {use: name, ...parameters of its factory}."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from guerdon import registry
from guerdon.errors import RecipeError
from guerdon.learn.recipe_fields import annotations_of, conform, plain, show

Spec = dict[str, Any]
TASK_REWARDS = ("task.outcome", "task.steps")  # the task's own checkers, resolved by the loop
_LIGHT = ("credit", "filter", "loss", "objective")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")


def read_spec(value: Any, where: str) -> Spec:
    """A section as a mapping with `use`; a bare name is short for {use: name}.

    Raises:
        RecipeError: no `use`, or content that is not plain data.
    """
    if isinstance(value, str):
        value = {"use": value}
    if not isinstance(value, Mapping) or "use" not in value:
        raise RecipeError(
            f"{where}: expected a mapping with a field 'use' naming what to use, got {show(value)}"
        )
    if not isinstance(value["use"], str):
        raise RecipeError(f"{where}.use: expected a registered name, got {show(value['use'])}")
    return plain(value, where)


def read_specs(value: Any, where: str) -> list[Spec]:
    """A list of such sections, applied in order."""
    if not isinstance(value, (list, tuple)):
        raise RecipeError(f"{where}: expected a list of {{use: ...}}, got {show(value)}")
    return [read_spec(item, f"{where}.{i}") for i, item in enumerate(value)]


def read_named(value: Any, where: str) -> list[tuple[str, Any]]:
    """The items of a mapping from signal names."""
    if not isinstance(value, Mapping):
        raise RecipeError(f"{where}: expected a mapping from signal names, got {show(value)}")
    for name in value:
        if not isinstance(name, str) or not _NAME.match(name):  # dots would make paths ambiguous
            raise RecipeError(f"{where}.{name}: a signal's name is made of letters, digits, - and _")
    return list(value.items())


def check_name(kind: str, where: str, spec: Spec) -> None:
    """Refuse a name that is not registered, without importing anything.

    Raises:
        RecipeError: the nearest valid name is offered.
    """
    extra = TASK_REWARDS if kind == "reward" else ()
    known = [*registry.names(kind), *registry.published(kind), *extra]
    use = registry.bare(kind, spec["use"])
    if use not in known and not _is_slug(kind, use):
        hint = registry.nearest(spec["use"], known) or f" (no {kind} is registered)"
        raise RecipeError(f"{where}.use: unknown {kind} {spec['use']!r}{hint}")
    if spec["use"] in extra and len(spec) > 1:
        key = next(key for key in spec if key != "use")
        raise RecipeError(f"{where}.{key}: unknown field; {spec['use']!r} has no parameters")


def _is_slug(kind: str, name: str) -> bool:
    """Whether the catalogue has an entry of that name; that it fits the kind shows when it is looked up."""
    if kind not in ("reward", "shape", "credit"):
        return False
    from guerdon.systems import catalogue

    return name in catalogue.slugs()


def check_parameters(kind: str, where: str, spec: Spec) -> None:
    """Check parameter names and types against the factory's signature; small factories are also called.

    Raises:
        RecipeError: an unknown parameter, a wrong type, a value the factory refuses, or a factory whose
            packages are not installed.
    """
    if kind == "reward" and spec["use"] in TASK_REWARDS:
        return
    factory = _factory(kind, where, spec["use"])
    given = {key: value for key, value in spec.items() if key != "use"}
    registry.check_parameters(factory, given, where)
    hints = annotations_of(factory)
    for key, value in given.items():
        if key in hints:
            conform(value, hints[key], f"{where}.{key}")
    if kind in _LIGHT:  # plain values that check themselves: make one and drop it
        registry.build(kind, spec, where)


def _factory(kind: str, where: str, name: str) -> Callable[..., Any]:
    try:
        return registry.lookup(kind, name, where=f"{where}.use")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "guerdon":
            raise
        raise RecipeError(
            f"{where}.use: {kind} {name!r} needs the package {error.name!r}; pip install 'guerdon[all]'"
        ) from error
