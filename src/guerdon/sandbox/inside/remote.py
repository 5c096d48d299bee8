"""Stand-ins, in the judge, for what lives in the candidate's process.

A stand-in forwards what is asked of it, but never shows the candidate a value it is compared with: `==` with
plain data is False and arithmetic with plain data is a TypeError, both decided here. An object whose `__eq__`
always says yes passes no test.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import Any, Protocol


class Caller(Protocol):
    """The connection a stand-in calls through."""

    def apply(self, operation: str, number: int, *args: Any, **keywords: Any) -> Any: ...


class RemoteError(Exception):
    """An exception of a class the judge does not know."""


class RemoteExit(BaseException):
    """The program raised SystemExit, KeyboardInterrupt or the like."""


_SHOWN = frozenset(
    ("__name__", "__doc__", "__qualname__", "__module__", "__annotations__", "__dict__", "__members__")
)


class Remote:
    """An object of the candidate's process."""

    __slots__ = ("_remote",)
    _remote: tuple[Caller, int, str]

    def __init__(self, caller: Caller, number: int, name: str) -> None:
        object.__setattr__(self, "_remote", (caller, number, name))

    def _ask(self, operation: str, *args: Any, **keywords: Any) -> Any:
        caller, number, _ = self._remote
        return caller.apply(operation, number, *args, **keywords)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._ask("call", *args, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__" and name not in _SHOWN:
            raise AttributeError(name)
        return self._ask("getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("setattr", name, value)

    def __delattr__(self, name: str) -> None:
        self._ask("delattr", name)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Remote) and self._ask("eq", other) is True)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._remote[1])

    def __iter__(self) -> Iterator[Any]:
        iterator = self._ask("iter")
        if not isinstance(iterator, Remote):
            return iter(iterator)
        return iterator._steps()

    def _steps(self) -> Iterator[Any]:
        while True:
            try:
                step = self._ask("next")
            except RemoteError as error:
                if type(error).__name__ != "StopIteration":
                    raise
                return
            yield step[0]

    def __next__(self) -> Any:
        for step in self._steps():
            return step
        raise StopIteration

    def __contains__(self, item: Any) -> bool:
        return any(item == own for own in self)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Remote) and self._ask("isinstance", instance) is True

    def __subclasscheck__(self, other: Any) -> bool:
        return isinstance(other, Remote) and self._ask("issubclass", other) is True

    def __enter__(self) -> Any:
        return self._ask("enter")

    def __exit__(self, *_: object) -> None:
        self._ask("exit")

    def __repr__(self) -> str:
        return self._ask("repr")

    def __deepcopy__(self, _: Any) -> Any:
        return self._ask("deepcopy")

    def __format__(self, spec: str) -> str:
        return self._ask("format", spec)

    def __reduce_ex__(self, _: Any) -> Any:
        raise TypeError("objects of the candidate's process travel by number")


def _forward(method: str, operation: str) -> None:
    def ask(self: Remote, *args: Any) -> Any:
        return self._ask(operation, *args)

    setattr(Remote, method, ask)


def _between_remotes(method: str, operation: str) -> None:
    def ask(self: Remote, other: Any) -> Any:
        return self._ask(operation, other) if isinstance(other, Remote) else NotImplemented

    setattr(Remote, method, ask)


for _name in (
    "bool",
    "len",
    "int",
    "float",
    "complex",
    "str",
    "index",
    "reversed",
    "getitem",
    "setitem",
    "delitem",
):
    _forward(f"__{_name}__", _name)
for _name in ("neg", "pos", "abs", "invert", "round", "copy"):
    _forward(f"__{_name}__", _name)
for _name in (
    "lt",
    "le",
    "gt",
    "ge",
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "divmod",
):
    _between_remotes(f"__{_name}__", _name)
for _name in ("and", "or", "xor"):
    _between_remotes(f"__{_name}__", f"{_name}_")


def function(caller: Caller, number: int, name: str, waits: bool) -> Callable[..., Any]:
    """A function of the program; `waits` for one declared `async def`, run to its end by the other side."""

    def call(*args: Any, **keywords: Any) -> Any:
        return caller.apply("call", number, *args, **keywords)

    async def wait(*args: Any, **keywords: Any) -> Any:
        return caller.apply("await", number, *args, **keywords)

    made: Any = wait if waits else call
    made.__name__ = made.__qualname__ = name
    made.remote_number = number
    return made


_NEVER = frozenset(("StopIteration", "StopAsyncIteration", "BaseExceptionGroup", "ExceptionGroup"))


def exception_class(names: list[str]) -> type[BaseException]:
    """The class under which the judge raises a program's exception; `names` are its classes, nearest first.

    Builtin exceptions are themselves, so that tests that expect one can catch it. StopIteration is not:
    raised inside `all(map(f, ...))` it would end the loop as if every test had passed.
    """
    if "Exception" not in names:
        return type(names[0], (RemoteExit,), {})
    known = _builtin(names[0])
    if known is not None and known is not Exception:
        return known
    parent = next((kind for name in names[1:] if (kind := _builtin(name)) is not None), Exception)
    return type(names[0], (RemoteError,) if parent is Exception else (parent, RemoteError), {})


def _builtin(name: str) -> type[Exception] | None:
    kind = getattr(builtins, name, None) if name not in _NEVER else None
    return kind if isinstance(kind, type) and issubclass(kind, Exception) else None
