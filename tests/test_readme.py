"""The README's Python examples run and its recipe is valid."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_examples_run():
    code = blocks("python")
    assert len(code) == 2
    space: dict = {}
    for block in code:
        exec(compile(block, "README.md", "exec"), space)
    assert space["signal"].values[0] == 1 - 0.02


def test_the_recipe_is_valid():
    from guerdon.learn.recipe import Recipe

    (text,) = blocks("yaml")
    assert Recipe.from_dict(yaml.safe_load(text)).validate().steps == 200


def test_every_listed_name_exists():
    from guerdon import registry

    listed = " ".join(README.split("Tasks:")[1].split("## Measured")[0].split())
    for kind in ("credit", "objective"):
        for name in registry.names(kind):
            assert re.search(rf"\b{name}\b", listed), name


def test_import_is_light():
    """`import guerdon` loads neither torch nor Numba nor NumPy; the command's help no torch."""
    import subprocess
    import sys

    heavy = "[m for m in ('torch', 'numba', 'numpy', 'pyarrow', 'transformers') if m in sys.modules]"
    for line in ("import guerdon", "import guerdon.cli"):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; {line}; print({heavy})"], capture_output=True, text=True
        )
        assert done.stdout.strip() == "[]", done.stdout + done.stderr
