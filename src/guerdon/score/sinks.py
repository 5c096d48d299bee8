"""Where scored records go while a run is under way, so that a kill costs nothing that was committed.

Each sink appends to one file in the work folder and cuts it back to the committed size when it is opened
again. In the end it builds the final file.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from guerdon.data import io
from guerdon.score.chunk import Chunk
from guerdon.score.splice import Fragments, Item, signal_text, with_signals
from guerdon.store.atomic import store_errors, write_all

Streams = Mapping[str, tuple[str, bool]]
"""Name of a signal of the output -> its level, and whether any of its values has a cause."""
_BLOCK = 1 << 20  # bytes in one gzip member, or one write


class Sink(Protocol):
    """Takes chunks with their verdicts in order.

    Attributes:
        file: what it appends to; such files of consecutive records can be joined end to end.
    """

    file: Appended

    def append(self, chunk: Chunk, items: Mapping[str, Sequence[Item]]) -> None:
        """Take one chunk; `items` holds one entry per record for every reward."""

    def commit(self) -> dict[str, Any]:
        """Force what was appended to the disk; the state to open the sink with again."""

    def build(self, streams: Streams) -> Path:
        """The final file, complete and in the work folder, once all is committed."""

    def close(self) -> None:
        """Let go of the file."""


class Appended:
    """A file that only grows, and is cut back to what was committed when it is opened again.

    A thread does the writing (and packing), so that the caller's core is free for records meanwhile.

    Args:
        path: the file.
        size: bytes committed.
        pack: applied to every piece before it is written.
    """

    def __init__(self, path: Path, size: int, pack: Callable[[bytes], bytes] | None = None) -> None:
        self.path, self.size = path, size
        self._pack = pack
        with store_errors(path.name, path):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            os.ftruncate(self._handle, size)
            os.lseek(self._handle, size, os.SEEK_SET)
        self._writer = ThreadPoolExecutor(1, "guerdon-score-writer")
        self._under_way: Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Append; an error of the piece before is raised here."""
        self._wait()
        self._under_way = self._writer.submit(self._write, data)

    def join(self, path: Path) -> None:
        """Append the content of another such file, which is packed already."""
        self._wait()
        with open(path, "rb") as file:
            while data := file.read(_BLOCK):
                self._put(data)

    def _write(self, data: bytes) -> None:
        self._put(data if self._pack is None else self._pack(data))

    def _put(self, data: bytes) -> None:
        with store_errors(self.path.name, self.path):
            write_all(self._handle, data)
        self.size += len(data)

    def _wait(self) -> None:
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None

    def sync(self) -> int:
        """Force everything to the disk; the size then."""
        self._wait()
        with store_errors(self.path.name, self.path):
            os.fsync(self._handle)
        return self.size

    def close(self) -> None:
        """Let go of the file; twice is fine."""
        self._writer.shutdown(wait=True)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class JsonlSink:
    """Lines of the input with signals added.

    Args:
        folder: the work folder.
        out: the final name; its suffix says what is built.
        labels: of the rewards, in order.
        state: of a former commit.
    """

    def __init__(self, folder: Path, out: Path, labels: Sequence[str], state: Mapping[str, Any]) -> None:
        name = out.name.lower()
        self._zipped = name.endswith(".gz")
        self._convert = name.endswith(".parquet")
        self._folder = folder
        # Members of a gzip file can be cut off and appended; readers see one stream.
        pack = partial(gzip.compress, compresslevel=1, mtime=0) if self._zipped else None
        path = folder / f"records.jsonl{'.gz' if self._zipped else ''}"
        self.file = Appended(path, int(state.get("size", 0)), pack)
        self._fragments = Fragments(labels[0]) if len(labels) == 1 else None
        self._waiting: list[bytes] = []
        self._bytes = 0

    def append(self, chunk: Chunk, items: Mapping[str, Sequence[Item]]) -> None:
        """See `Sink`."""
        plain = self._fragments is not None and not chunk.signalled
        values = list(next(iter(items.values())))
        if plain and set(map(type, values)) <= {float}:
            assert self._fragments is not None
            ends = self._fragments.of(values)
            data = b"".join([line[:-1] + end for line, end in zip(chunk.payload, ends, strict=True)])
        else:
            data = b"".join(self._lines(chunk, items))
        self._waiting.append(data)
        self._bytes += len(data)
        if self._bytes >= _BLOCK:
            self._flush()

    def _lines(self, chunk: Chunk, items: Mapping[str, Sequence[Item]]) -> list[bytes]:
        lines = []
        for row, line in enumerate(chunk.payload):
            texts: dict[str, str] = {}
            for label, column in items.items():
                texts |= signal_text(label, column[row])
            if chunk.signalled:
                line = with_signals(line, texts) if texts else line
            elif texts:
                line = line[:-1] + f',"signals":{{{",".join(texts.values())}}}}}'.encode()
            lines.append(line + b"\n")
        return lines

    def _flush(self) -> None:
        data, self._waiting, self._bytes = b"".join(self._waiting), [], 0
        if data:
            self.file.write(data)

    def commit(self) -> dict[str, Any]:
        """See `Sink`."""
        self._flush()
        return {"size": self.file.sync()}

    def build(self, streams: Streams) -> Path:
        """See `Sink`."""
        return convert(self.file.path, self._folder / "final.parquet") if self._convert else self.file.path

    def close(self) -> None:
        """See `Sink`."""
        self.file.close()


def convert(source: Path, target: Path) -> Path:
    """The same records in another format."""
    io.write_batches(target, io.iter_batches(source))
    return target
