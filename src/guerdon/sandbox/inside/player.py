"""The candidate's process: runs the program and answers calls. It holds no test and no expected value.

It is forked by the warden as the first process of a new PID namespace: when it ends, the kernel kills every
process it left behind, and it can name no process outside.
"""

from __future__ import annotations

import copy
import io
import operator
import os
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

from . import values
from .wire import Channel

TEXT = 2000
"""Longest exception text reported, in characters."""
_COROUTINE = 0x80  # inspect.CO_COROUTINE, without importing inspect
_MUTABLE = frozenset((list, dict, set, bytearray))


def _await(function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    import asyncio

    return asyncio.run(function(*args, **keywords))


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda function, *args, **keywords: function(*args, **keywords),
    "await": _await,
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "isinstance": lambda kind, value: isinstance(value, kind),
    "issubclass": lambda kind, other: issubclass(other, kind),
    "format": format,
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "next": lambda iterator: [next(iterator)],
    "enter": lambda manager: type(manager).__enter__(manager),
    "exit": lambda manager: type(manager).__exit__(manager, None, None, None),
    **{kind.__name__: kind for kind in (bool, int, float, complex, str)},
    **{function.__name__: function for function in (len, iter, repr, reversed, round, divmod)},
    **{
        name: getattr(operator, name)
        for name in (
            *("eq", "ne", "lt", "le", "gt", "ge", "getitem", "setitem", "delitem", "index"),
            *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift"),
            *("and_", "or_", "xor", "neg", "pos", "abs", "invert"),
        )
    },
}


class Player:
    """Executes the program, then operations on its objects, in the order asked."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.objects: list[Any] = []
        self.places: dict[int, int] = {}
        self.module = types.ModuleType("solution")
        self.stdout, self.stderr = sys.stdout, sys.stderr

    def play(self) -> None:
        """Answer until the judge hangs up."""
        failure = self.execute(pickle.loads(self._next()))
        names = pickle.loads(self._next())
        found = vars(self.module)
        if failure is None:
            self._reply(lambda: {name: found[name] for name in names if name in found})
        else:
            self.channel.send(failure)
        while True:
            self._serve(self._next())

    def _next(self) -> bytes:
        frame = self.channel.receive()
        if frame is None:
            os._exit(0)
        return frame

    def execute(self, program: str) -> bytes | None:
        """Run the program as module `solution`; what it raised, as a reply, or None."""
        sys.modules["solution"] = self.module
        self.module.__file__ = "solution.py"
        try:
            exec(compile(program, "solution.py", "exec", dont_inherit=True), vars(self.module))
        except BaseException as error:
            return self._failure(error)
        self._flush()
        return None

    def _serve(self, frame: bytes) -> tuple[str, Any] | None:
        """One frame from the judge: an operation to carry out (None), or the answer to a callback."""
        kind, content = self._load(frame)
        if kind != "apply":
            return kind, content
        operation, number, args, keywords = content
        target = self.objects[number]
        self._reply(lambda: _OPERATIONS[operation](target, *args, **keywords), frame, args)
        return None

    def _reply(self, act: Callable[[], Any], frame: bytes = b"", args: tuple[Any, ...] = ()) -> None:
        try:
            result = values.encode(act(), self.handle)
            payload = f'["value",{result}{self._changes(frame, args)}]'.encode()
        except BaseException as error:
            payload = self._failure(error)
        self._flush()
        self.channel.send(payload)

    def _changes(self, frame: bytes, args: tuple[Any, ...]) -> str:
        """Arguments changed in place go back, so that the tests see what the call did to them."""
        if _MUTABLE.isdisjoint(map(type, args)):
            return ""
        before = self._load(frame)[1][2]
        pairs = enumerate(zip(args, before, strict=True))
        changed = [[i, after] for i, (after, old) in pairs if type(after) in _MUTABLE and after != old]
        return "," + values.encode(changed, self.handle) if changed else ""

    def _flush(self) -> None:
        for stream in (self.stdout, self.stderr):
            try:
                stream.flush()
            except (ValueError, OSError):
                continue

    def _failure(self, error: BaseException) -> bytes:
        """An exception as a reply: its classes, its text, the line that raised it, its class's number."""
        try:
            text = str(error)[:TEXT]
        except BaseException as second:
            text = f"<{type(second).__name__} while making the exception's text>"
        line, trace = 0, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "solution.py":
                line = trace.tb_lineno
            trace = trace.tb_next
        kinds = [kind.__name__ for kind in type(error).__mro__]
        content = values.encode([kinds, text, line, self._place(type(error))], self.handle)
        return f'["raised",{content}]'.encode()

    def _place(self, value: Any) -> int:
        place = self.places.get(id(value))
        if place is None:
            place = self.places[id(value)] = len(self.objects)
            self.objects.append(value)
        return place

    def handle(self, value: Any) -> list[Any]:
        """What the judge needs to make a stand-in: number, kind, a name, and the bases of an exception."""
        place = self._place(value)
        if isinstance(value, types.ModuleType):
            return [place, "module", value.__name__]
        if isinstance(value, type):
            if issubclass(value, Exception):
                return [place, "exception", value.__name__, [base.__name__ for base in value.__mro__]]
            return [place, "class", value.__name__]
        if isinstance(value, types.FunctionType):
            waits = value.__code__.co_flags & _COROUTINE
            return [place, "async" if waits else "function", value.__name__]
        return [place, "object", type(value).__name__]

    def _callback(self, number: int) -> Callable[..., Any]:
        """A function of the tests, as the program sees it."""

        def call(*args: Any, **keywords: Any) -> Any:
            content = values.encode([number, args, keywords], self.handle)
            self.channel.send(f'["callback",{content}]'.encode())
            answer = None
            while answer is None:
                answer = self._serve(self._next())
            kind, outcome = answer
            if kind == "raised":
                raise outcome[0](outcome[1])
            return outcome

        return call

    def _load(self, frame: bytes) -> Any:
        if frame[:1] == b"p":
            return pickle.loads(memoryview(frame)[1:])
        loader = _Loader(io.BytesIO(frame[1:]))
        loader.resolve = lambda kind, number: self.objects[number] if kind == "object" else self._callback(number)
        return loader.load()


class _Loader(pickle.Unpickler):
    """Frames that refer to the program's objects or to functions of the tests."""

    resolve: Callable[[str, int], Any]

    def persistent_load(self, reference: Any) -> Any:
        return self.resolve(*reference)
