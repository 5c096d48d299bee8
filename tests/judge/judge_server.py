"""A scripted server on loopback: every request is answered by the next step of a script."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Step:
    """What the server does with one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    act: Callable[[Any], None] | None = None


def completion(text: str | None, *, usage: bool = True, **choice: Any) -> Step:
    """A well-formed chat completion."""
    content: dict[str, Any] = {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **choice}
        ]
    }
    if usage:
        content["usage"] = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return Step(body=json.dumps(content).encode())


def error(status: int, message: str = "trouble", **headers: str) -> Step:
    return Step(status, json.dumps({"error": {"message": message}}).encode(), headers)


def hang_up(handler: Any) -> None:
    """Close the connection without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def half_a_body(handler: Any) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def slow_loris(handler: Any) -> None:
    """A byte now and then, for ever (until the client goes)."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def endless(handler: Any) -> None:
    """Megabytes without an end (until the client goes)."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b"x" * (1 << 20))


def no_http(handler: Any) -> None:
    """Bytes that are no HTTP at all."""
    handler.wfile.write(b"\x00\x01\x02 what is this\r\n\r\n\xff\xff")
    handler.wfile.flush()


class ScriptedServer:
    """Answers requests by `script`: a function of (request number, request body), or steps to cycle through.

    Attributes:
        seen: bodies of all requests, in order of arrival.
        headers: their headers.
        moments: when they came (monotonic seconds).
    """

    def __init__(self, script: Callable[[int, dict[str, Any]], Step] | Iterable[Step]) -> None:
        if callable(script):
            self.script = script
        else:
            steps = list(script)
            self.script = lambda number, body: steps[number % len(steps)]
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.moments: list[float] = []
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.answer(self, json.loads(data))

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                pass  # clients that go away are part of the plan

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def answer(self, handler: Any, body: dict[str, Any]) -> None:
        with self.lock:
            number = len(self.seen)
            self.seen.append(body)
            self.headers.append(dict(handler.headers))
            self.moments.append(time.monotonic())
        step = self.script(number, body)
        if step.delay:
            time.sleep(step.delay)
        if step.act is not None:
            handler.close_connection = True
            step.act(handler)
            return
        handler.send_response(step.status)
        for name, value in step.headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(step.body)))
        handler.end_headers()
        handler.wfile.write(step.body)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def shown(body: dict[str, Any]) -> str:
    """The text of a request."""
    return "\n".join(message["content"] for message in body["messages"])
