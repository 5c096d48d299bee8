"""Where it cannot isolate it refuses, says why, and what to do."""

from __future__ import annotations

import shutil
import warnings

import pytest

from guerdon.errors import GuerdonError, RecipeError
from guerdon.sandbox import Limits, Sandbox, SandboxError, launch, root
from guerdon.sandbox.inside import seccomp


def test_without_bubblewrap_it_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SandboxError, match="apt-get install bubblewrap") as caught:
        Sandbox(workers=1).test("def f(): pass", ["f()"])
    assert "unsafe=True" in str(caught.value)
    assert isinstance(caught.value, GuerdonError)


def test_on_an_unknown_machine_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "supported", lambda: False)
    with pytest.raises(SandboxError, match="system-call filter"):
        Sandbox(workers=1).python("")


def test_where_namespaces_are_refused_it_says_what_bubblewrap_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(
        launch,
        "_isolated",
        lambda settings, user: [
            "sh",
            "-c",
            "echo bwrap: No permissions to create a new namespace >&2; exit 1",
        ],
    )
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/bwrap")
    with pytest.raises(SandboxError, match="No permissions to create") as caught:
        Sandbox(workers=1).python("")
    assert "sysctl" in str(caught.value)


def test_unsafe_is_explicit_and_warns() -> None:
    with pytest.warns(UserWarning, match="your rights"), Sandbox(workers=1, unsafe=True) as bare:
        assert bare.test("def f(x): return x + 1", ["assert f(1) == 2"]).passed
        forged = bare.test("import os\nos._exit(0)", ["assert f(1) == 2"])
        assert forged.tests[0].status == "killed"
        assert bare.python("print(input())", "hi").stdout == "hi\n"
        daemon = (
            "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(1000)\n"
            "    os._exit(0)\ndef f(x): return 2"
        )
        assert bare.test(daemon, ["assert f(1) == 2"]).passed
        assert bare.test("while True: pass", ["f(1)"], limits=Limits(wall=0.3)).tests[0].status == "timeout"


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"wall": 0}, "wall"),
        ({"wall": float("nan")}, "wall"),
        ({"cpu": "3"}, "cpu"),
        ({"memory": 1.5}, "memory"),
        ({"processes": True}, "processes"),
        ({"open_files": 3}, "open_files"),
        ({"test": -1}, "test"),
    ],
)
def test_limits_that_make_no_sense(limits: dict[str, object], field: str) -> None:
    with pytest.raises(RecipeError, match=f"limits.{field}"):
        Limits(**limits)  # type: ignore[arg-type]


def test_parameters_that_make_no_sense() -> None:
    with pytest.raises(RecipeError, match="workers"):
        Sandbox(workers=0)
    with warnings.catch_warnings(), pytest.raises(RecipeError, match="2 names for 1 tests"):
        Sandbox(workers=1).test("", ["x"], names=["a", "b"])
    with pytest.raises(SandboxError, match="no_such_package"):
        root.package_files(["no_such_package"])


def test_a_preload_that_fails_is_told() -> None:
    from guerdon.sandbox import why_not

    if why_not():
        pytest.skip(why_not())
    with pytest.raises(SandboxError, match="no_such_module"):
        Sandbox(workers=1, preload=["no_such_module"]).python("")
