"""What names in tests mean, decided from their text alone."""

from __future__ import annotations

import math

import pytest

from guerdon.sandbox.inside import names


@pytest.mark.parametrize(
    ("source", "name", "module"),
    [
        ("assert math.isclose(f(1), 2)", "math", "math"),
        ("assert np.allclose(f(1), 2)", "np", "numpy"),
        ("assert os.path.basename(f(1)) == 'x'", "os", "os"),
        ("x = [1]\nassert f(x.copy()) == x", "copy", None),  # a method
        ("assert calendar.book(1)", "calendar", None),  # nothing the module has
        ("assert math(1) == 2", "math", None),  # called: a function of the program
        ("queue.put(1)\nassert f(queue)", "queue", None),
        ("assert stack.pop() == 1", "stack", None),
        ("assert this.s", "this", None),
    ],
)
def test_names_of_modules(source: str, name: str, module: str | None) -> None:
    found = names.modules([source, "assert f(1)"], {name, "f"})
    assert [m.__name__ for m in found.values()] == ([module] if module else [])


def test_modules_of_this_process_only() -> None:
    assert names.own_module("math") is math
    for name in (
        "antigravity",
        "solution",
        "inside",
        "__main__",
        "",
        ".",
        "..x",
        "a-b",
        "no_such_module",
        "math.x",
    ):
        assert names.own_module(name) is None


def test_names_looked_up() -> None:
    code = compile("assert len(f(x)) == g.h\ndef t(): return __y__ + z(lambda: w)", "t", "exec")
    assert names.looked_up([code]) == {"f", "x", "g", "h", "t", "z", "w"}


def test_what_a_setup_shares_with_the_program() -> None:
    space: dict[str, object] = {"__name__": names.TESTS}
    exec(
        "class A: pass\nimport re\ndef g(): pass\nx, y, z, w = 1, A(), [A()], {1: [2]}\nk = int\np = re.compile('')",
        space,
    )
    assert names.shared(space) == {"A", "y", "z"}
