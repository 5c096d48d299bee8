"""The candidate's process: runs the program and answers calls. It holds no test and no expected value.

It is forked by the warden as the first process of a new PID namespace: when it ends, the kernel kills every
process it left behind, and it can name no process outside.

Most of what a forked child costs is the pages it copies, about 2 µs each, and every function it runs for the
first time copies some. Hence the one flat loop for the calls that tests make most.
"""

from __future__ import annotations

import copy
import io
import marshal
import operator
import os
import pickle
import sys
import types
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Any

from .values import encode
from .wire import Channel

FILE = "solution.py"
TEXT = 2000
"""Longest exception text reported, in characters."""
_COROUTINE = 0x80  # inspect.CO_COROUTINE, without importing inspect
_APPLY: tuple[str, Any] = ("apply", None)
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
        self.module.__file__ = FILE
        self.stdout = sys.stdout

    def play(self) -> None:
        """Run the program, then answer until the judge hangs up."""
        payload = self.begin()
        while True:
            payload = self.answer(self.exchange(payload))

    def begin(self) -> bytes:
        """Run the program: what it calls by the names asked for."""
        frame = self.channel.receive()
        if frame is None:
            os._exit(0)
        names, code = marshal.loads(frame)
        found = self.module.__dict__
        sys.modules["solution"] = self.module
        try:
            if type(code) is str:
                code = compile(code, FILE, "exec", dont_inherit=True)
            exec(code, found)
            pairs = [
                f"[{encode_basestring_ascii(name)},{encode(found[name], self.handle)}]"
                for name in names
                if name in found
            ]
            text = f'{{"dict":[{",".join(pairs)}]}}'
        except BaseException as error:
            return self._failure(error)
        return f'["value",{text}]'.encode()

    def exchange(self, payload: bytes) -> bytes:
        """Send an answer, wait for the next frame."""
        try:
            self.stdout.flush()
        except (ValueError, OSError):
            self.stdout = io.StringIO()
        self.channel.send(payload)
        frame = self.channel.receive()
        if frame is None:
            os._exit(0)
        return frame

    def answer(self, frame: bytes) -> bytes:
        """Carry out one operation; the common one, a call with plain arguments, comes first."""
        try:
            if frame[:1] == b"c":
                number, args, keywords = marshal.loads(frame[1:])
                text = encode(self.objects[number](*args, **keywords), self.handle)
                before = None if _MUTABLE.isdisjoint(map(type, args)) else marshal.loads(frame[1:])[1]
            else:
                operation, number, args, keywords = self._load(frame)[1]
                text = encode(_OPERATIONS[operation](self.objects[number], *args, **keywords), self.handle)
                before = None if _MUTABLE.isdisjoint(map(type, args)) else self._load(frame)[1][2]
            if before is not None:
                text += self._changes(args, before)
            return f'["value",{text}]'.encode()
        except BaseException as error:
            return self._failure(error)

    def _changes(self, args: tuple[Any, ...], before: tuple[Any, ...]) -> str:
        """Arguments changed in place go back, so that the tests see what the call did to them."""
        pairs = enumerate(zip(args, before, strict=True))
        changed = [[i, after] for i, (after, old) in pairs if type(after) in _MUTABLE and after != old]
        return "," + encode(changed, self.handle) if changed else ""

    def _failure(self, error: BaseException) -> bytes:
        """An exception as a reply: its classes, its text, the line that raised it, its class's number."""
        try:
            text = str(error)[:TEXT]
        except BaseException as second:
            text = f"<{type(second).__name__} while making the exception's text>"
        line, trace = 0, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == FILE:
                line = trace.tb_lineno
            trace = trace.tb_next
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return f'["raised",{encode([kinds, text, line, self._place(type(error))], self.handle)}]'.encode()

    def _place(self, value: Any) -> int:
        place = self.places.get(id(value))
        if place is None:
            place = self.places[id(value)] = len(self.objects)
            self.objects.append(value)
        return place

    def handle(self, value: Any) -> str:
        """What the judge needs to make a stand-in: number, kind, a name, and the bases of an exception."""
        if type(value) is types.FunctionType:
            kind, name, bases = (
                "async" if value.__code__.co_flags & _COROUTINE else "function",
                value.__name__,
                "[]",
            )
        elif isinstance(value, types.ModuleType):
            kind, name, bases = "module", value.__name__, "[]"
        elif isinstance(value, type):
            kind, name, bases = "class", value.__name__, "[]"
            if issubclass(value, Exception):
                kind, bases = "exception", encode([base.__name__ for base in value.__mro__], self.handle)
        else:
            kind, name, bases = "object", type(value).__name__, "[]"
        return f'{{"handle":[{self._place(value)},"{kind}",{encode_basestring_ascii(name)},{bases}]}}'

    def _callback(self, number: int) -> Callable[..., Any]:
        """A function of the tests, as the program sees it."""

        def call(*args: Any, **keywords: Any) -> Any:
            payload = f'["callback",{encode([number, args, keywords], self.handle)}]'.encode()
            while True:
                frame = self.exchange(payload)
                kind, outcome = _APPLY if frame[:1] == b"c" else self._load(frame)
                if kind == "raised":
                    raise outcome[0](outcome[1])
                if kind == "value":
                    return outcome
                payload = self.answer(frame)

        return call

    def _load(self, frame: bytes) -> Any:
        loader = _Loader(io.BytesIO(frame[1:]))
        loader.resolve = lambda kind, number: (
            self.objects[number] if kind == "object" else self._callback(number)
        )
        return loader.load()


class _Loader(pickle.Unpickler):
    """Frames with more than plain data: the program's objects, the tests' functions, what can be imported."""

    resolve: Callable[[str, int], Any]

    def persistent_load(self, reference: Any) -> Any:
        return self.resolve(*reference)


_SAMPLE = """\
from typing import Any, Dict, List, Optional, Set, Tuple, Union
import math
def f(x: List[int], y: List[str] = 1, *z: Optional[int]) -> List[float]:
    return [x, (y, 'a')]
_ = (Dict[str, int], Tuple[int, int], Tuple[float, float], Set[int], List[Any], List[List[int]],
Optional[str], Union[int, str])
"""


def warm(rounds: int = 12) -> None:
    """Go through the motions once before anything is forked.

    Code that has run already is specialised and its memory laid out; a child that runs it copies fewer pages.
    """
    program = compile(_SAMPLE, FILE, "exec")
    calls: list[Any] = [((3, [1, 2]), {}), (("a", 2.5), {}), ((), {"x": {}}), ((None,), {}), ((), {})]
    frames = [b"c" + marshal.dumps((0, *call)) for call in calls]
    for _ in range(rounds):
        to_player, to_judge = os.pipe(), os.pipe()
        judge, player = (
            Channel(to_judge[0], to_player[1], 1 << 20),
            Player(Channel(to_player[0], to_judge[1], 1 << 20)),
        )
        judge.send(marshal.dumps((["f"], program)))
        payload = player.begin()
        for frame in frames:
            judge.send(frame)
            payload = player.answer(player.exchange(payload))
            judge.receive()
        judge.close()
        player.channel.close()
        os.closerange(4000, 4096)
    sys.modules.pop("solution")
