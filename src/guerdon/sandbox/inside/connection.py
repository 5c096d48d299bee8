"""The judge's side of the conversation with the candidate's process."""

from __future__ import annotations

import io
import marshal
import pickle
import sys
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from . import names, remote, values
from .wire import Channel, Oversize


class PlayerGone(BaseException):
    """The candidate's process ended, or answers nothing that can be understood.

    Not an Exception: a test's `except Exception` must not take it for the behaviour under test.
    """


class Unsendable(Exception):
    """The tests pass an object that only exists on their side."""


class Connection:
    """Calls into the candidate's process.

    `gone` says why no more calls are possible: "" while they are, "ended", "output" (an answer beyond the
    limit) or "garbled". Once set it stays, so that a test which swallows PlayerGone still cannot pass.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.gone = ""
        self._decode = values.decoder(self._stand_in)
        self._callbacks: list[Callable[..., Any]] = []
        self._remotes: dict[int, Any] = {}
        self._lock = threading.RLock()

    def load(self, program: types.CodeType | str, wanted: Sequence[str]) -> dict[str, Any]:
        """Run the program: what it calls by the names wanted, and by no others. Raises what it raised."""
        self._send(marshal.dumps((list(wanted), program)))
        found = self._answer(())
        if type(found) is not dict:
            self._lose("garbled", None)
        return {name: found[name] for name in wanted if name in found}

    def apply(self, operation: str, number: int, *args: Any, **keywords: Any) -> Any:
        """One operation on one of the program's objects.

        Raises:
            PlayerGone: no answer; otherwise what the operation raised over there.
        """
        with self._lock:
            if self.gone:
                raise PlayerGone(self.gone)
            if operation == "call" and values.is_plain(args) and (not keywords or values.is_plain(keywords)):
                self._send(b"c" + marshal.dumps((number, args, keywords)))
            else:
                self._send(self._frame("apply", (operation, number, args, keywords)))
            return self._answer(args)

    def _frame(self, kind: str, content: Any) -> bytes:
        file = io.BytesIO(b"p")
        file.seek(1)
        try:
            _Dumper(file, self._callbacks).dump((kind, content))
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise Unsendable(f"the tests pass something that cannot enter the sandbox: {error}") from error
        return file.getvalue()

    def _send(self, payload: bytes) -> None:
        try:
            self.channel.send(payload)
        except OSError as error:
            self._lose("ended", error)

    def _lose(self, why: str, error: BaseException | None) -> NoReturn:
        self.gone = self.gone or why
        raise PlayerGone(why) from error

    def _answer(self, args: tuple[Any, ...]) -> Any:
        """Wait for the answer; callbacks are served meanwhile. An interrupted wait ends the connection."""
        finished = False
        try:
            while True:
                kind, content = self._receive()
                if kind != "callback":
                    break
                self._call_back(content)
            finished = True
        finally:
            if not finished:
                self.gone = self.gone or "garbled"
        if kind == "raised":
            raise self._exception(content[0])
        if len(content) > 1:
            self._write_back(args, content[1])
        return content[0]

    def _write_back(self, args: tuple[Any, ...], changes: Any) -> None:
        """Make the arguments what the call turned them into."""
        try:
            for place, value in changes:
                argument = args[place]
                if type(argument) is not type(value):
                    raise TypeError(type(value).__name__)
                if isinstance(argument, list | bytearray):
                    argument[:] = value
                else:
                    argument.clear()
                    argument.update(value)
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            self._lose("garbled", error)

    def _receive(self) -> tuple[str, list[Any]]:
        try:
            frame = self.channel.receive()
        except Oversize as error:
            self._lose("output", error)
        except OSError as error:
            self._lose("ended", error)
        if frame is None:
            self._lose("ended", None)
        try:
            kind, *content = self._decode((frame or b"").decode())
            if kind not in ("value", "raised", "callback") or not content:
                raise ValueError(kind)
        except Exception as error:
            self._lose("garbled", error)
        return kind, content

    def _call_back(self, content: list[Any]) -> None:
        try:
            number, args, keywords = content[0]
            outcome = ("value", self._callbacks[number](*args, **keywords))
            frame = self._frame(*outcome)
        except Exception as error:
            kind = remote.exception_class([base.__name__ for base in type(error).__mro__])
            known = kind if kind.__module__ == "builtins" else RuntimeError
            frame = self._frame("raised", (known, str(error)[:2000]))
        self._send(frame)

    def _exception(self, content: Any) -> BaseException:
        try:
            kinds, text, line, number = content
            kind = self._remotes.get(number) or self._remember(number, remote.exception_class(kinds))
            try:
                error = kind(text)
            except TypeError:
                error = remote.RemoteError(f"{kinds[0]}: {text}")
            error.remote = True
            error.remote_line = int(line)
        except (TypeError, ValueError, AttributeError, IndexError) as broken:
            self._lose("garbled", broken)
        return error

    def _remember(self, number: int, value: Any) -> Any:
        self._remotes[number] = value
        return value

    def _stand_in(self, content: list[Any]) -> Any:
        number, kind, name = content[:3]
        known = self._remotes.get(number)
        if known is not None:
            return known
        module = names.own_module(name) if kind == "module" else None
        if module is not None:
            return self._remember(number, module)
        if kind == "exception":
            return self._remember(number, remote.exception_class(content[3]))
        if kind in ("function", "async"):
            return self._remember(number, remote.function(self, number, name, kind == "async"))
        return self._remember(number, remote.Remote(self, number, name))

    def close(self) -> None:
        """Hang up."""
        self.gone = self.gone or "ended"
        self.channel.close()


class _Dumper(pickle.Pickler):
    """Arguments that hold stand-ins, or functions of the tests."""

    def __init__(self, file: io.BytesIO, callbacks: list[Callable[..., Any]]) -> None:
        super().__init__(file, 5)
        self._callbacks = callbacks

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, remote.Remote):
            return "object", value._remote[1]
        number = getattr(value, "remote_number", None) if isinstance(value, types.FunctionType) else None
        if number is not None:
            return "object", number
        if isinstance(value, _CALLBACKS) and not _importable(value):
            self._callbacks.append(value)
            return "callback", len(self._callbacks) - 1
        return None

    def reducer_override(self, value: Any) -> Any:
        if hasattr(type(value), "__next__"):
            return iter, (list(value),)
        return NotImplemented


_CALLBACKS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


def _importable(function: Any) -> bool:
    """Whether the other side finds the function by its name."""
    place: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for part in function.__qualname__.split("."):
        place = getattr(place, part, None)
    return place is function
