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


def test_scoring_commands_run(tmp_path):
    """All but the judge's, which would need a server; tests/score/test_judged.py has one."""
    import json
    import os
    import shlex
    import subprocess
    import sys

    import numpy as np

    import guerdon as gd
    from guerdon.engines import LabEngine

    records = [
        {"prompt": "6*7?", "completion": text, "reference": "42"}
        for text in (r"\boxed{42}", "The answer is 41.", "?" * 90)
    ]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (function,) = re.findall(r"`(def short\([^`]*)`", README)
    (tmp_path / "mine.py").write_text(function + "\n")
    commands = re.findall(r"^guerdon score .*", README, flags=re.MULTILINE)
    assert len(commands) == 4
    LabEngine(dim=16, layers=1, heads=2, context=160, device="cpu").save(tmp_path / "MODEL_FOLDER")
    environment = {**os.environ, "GUERDON_CACHE": str(tmp_path / "cache")}
    for command in [*commands[:2], commands[3]]:
        line = [sys.executable, "-m", *shlex.split(command, comments=True)]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    answers = gd.read(tmp_path / "scored.jsonl").signals
    assert answers["rlpr"].values.shape == (3,) and not np.isnan(answers["rlpr"].values[0])
    found = gd.read(tmp_path / "scored.parquet").signals
    assert found["verify.math"].values[:2].tolist() == [1.0, 0.0]
    assert found["short"].values.tolist() == [1.0, 1.0, 0.0]


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
