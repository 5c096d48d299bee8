from __future__ import annotations

import errno
from pathlib import Path

import pytest

from guerdon.errors import StoreError
from guerdon.store import atomic


def test_write_bytes_makes_the_folder_and_replaces(tmp_path: Path):
    path = tmp_path / "deep" / "file.bin"
    atomic.write_bytes(path, b"one")
    atomic.write_bytes(path, b"two")
    assert path.read_bytes() == b"two" and [p.name for p in path.parent.iterdir()] == ["file.bin"]


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "file.parquet"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic.atomic_file(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".parquet"
        temporary.write_bytes(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole(tmp_path: Path):
    path = tmp_path / "folder"
    with atomic.atomic_folder(path) as temporary:
        (temporary / "a").mkdir()
        (temporary / "a" / "b").write_text("x")
        assert not path.exists()
    assert (path / "a" / "b").read_text() == "x" and list(tmp_path.iterdir()) == [path]


def test_refusals_name_what_was_written_and_where(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write the plot \(.*file/x\.png\)"):
        atomic.write_bytes(tmp_path / "file" / "x.png", b"", "the plot")


def test_no_room_is_found_down_the_chain():
    try:
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        except OSError as inner:
            raise ValueError("could not write rollouts") from inner
    except ValueError as error:
        assert atomic.no_room(error)
    assert not atomic.no_room(ValueError("no room for improvement"))


def test_remove_and_leftovers(tmp_path: Path):
    for name in ("step_1", f"{atomic.TEMPORARY}a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("x")
    atomic.remove(tmp_path / "step_1")
    atomic.discard_leftovers(tmp_path)
    atomic.discard_leftovers(tmp_path / "absent")
    assert not list(tmp_path.iterdir())
