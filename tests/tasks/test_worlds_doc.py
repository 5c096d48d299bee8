"""What docs/worlds.md shows is true."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from guerdon.learn.recipe import Recipe
from guerdon.tasks import GridWorld

TEXT = (Path(__file__).parents[2] / "docs" / "worlds.md").read_text(encoding="utf-8")


def test_the_python_example_learns():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    space: dict = {}
    exec(compile(code, "worlds.md", "exec"), space)
    untrained = space["TabularPolicy"](space["policy"].mdps).success_rate().mean()
    assert space["policy"].success_rate().mean() > untrained


def test_the_recipe_is_valid():
    (code,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    recipe = Recipe.from_dict(yaml.safe_load(code) | {"engine": "lab"})
    assert recipe.validate().task["use"] == "grid_world"


def test_the_episode_shown_is_the_worlds_own():
    world = GridWorld()
    shown = TEXT.split("completion   ")[1].split("\n")[0].replace(" ", "").replace("⏎", "\n")
    assert shown == world.transcript({"map": "@..G"}, ["r", "r", "r"])
    acted = re.search(r"acted +([01| ]+?)   ", TEXT)[1].replace(" ", "").split("|")
    assert acted == ["11000000", "11000000", "11"]
