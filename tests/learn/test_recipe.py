from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon import registry
from guerdon.errors import RecipeError
from guerdon.learn.recipe import Checkpoint, Eval, Optim, Recipe, Sampler
from guerdon.learn.recipe_fields import conform

BUILT: list[str] = []


class ToyEngine:
    """An engine that must not be built by validation."""

    def __init__(self, width: int = 8, lora: Mapping[str, Any] | None = None, device: str = "cpu") -> None:
        BUILT.append("engine")


def toy_task(
    terms: int = 3, kind: Literal["easy", "hard"] = "easy", spread: tuple[int, int] = (1, 2)
) -> object:
    BUILT.append("task")
    return object()


def toy_reward(weight: float, tags: Sequence[str] = ()) -> object:
    BUILT.append("reward")
    return object()


def toy_shape(eta: float = 0.5, limit: float | None = None) -> object:
    return object()


def toy_objective(clip: float | Sequence[float] = 0.2, kl: Mapping[str, Any] | None = None) -> object:
    if clip == 99:
        raise ValueError("clip must be below 1")
    return object()


def toy_credit(scale: str = "group", eps: float = 1e-6, **rest: Any) -> object:
    return object()


def toy_filter(source: str = "outcome") -> object:
    return object()


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    added = {
        "engine": {"toy_engine": ToyEngine},
        "task": {"toy_task": toy_task},
        "reward": {"toy_reward": toy_reward},
        "shape": {"toy_shape": toy_shape},
        "objective": {"toy_objective": toy_objective},
        "credit": {"toy_credit": toy_credit},
        "filter": {"toy_filter": toy_filter},
    }
    monkeypatch.setattr(registry, "_ADDED", added)
    BUILT.clear()
    yield


FULL: dict[str, Any] = {
    "engine": {"use": "toy_engine", "width": 16, "lora": {"r": 4}},
    "task": {"use": "toy_task", "terms": 6},
    "sampler": {"group": 4, "prompts": 2, "stop": ["\n\n", "é"], "top_p": 0.9},
    "rewards": {"outcome": {"use": "task.outcome"}, "process": {"use": "toy_reward", "weight": 2}},
    "shape": {"process": [{"use": "toy_shape", "eta": 0.25}, {"use": "toy_shape"}]},
    "credit": {"use": "toy_credit", "eps": 1e-5},
    "objective": {"use": "toy_objective", "clip": [0.2, 0.28], "kl": {"estimator": "k3", "coef": 0.0}},
    "optim": {"lr": 1e-5, "warmup_steps": 3, "betas": [0.9, 0.99], "schedule": "cosine"},
    "minibatches": 2,
    "micro_rollouts": 4,
    "truncated": "mask",
    "filters": [{"use": "toy_filter"}],
    "steps": 20,
    "seed": 7,
    "eval": {"every": 5, "problems": 10, "k": 4, "temperature": 0.6, "split": "test"},
    "checkpoint": {"every": 2, "keep": 1},
    "device": "cuda:1",
    "out": "runs/x",
}


@pytest.fixture
def recipe() -> Recipe:
    return Recipe.from_dict(FULL)


# -- plain data and YAML ---------------------------------------------------------------------------


def test_sections_become_typed(recipe: Recipe):
    assert recipe.sampler == Sampler(group=4, prompts=2, stop=("\n\n", "é"), top_p=0.9)
    assert recipe.optim == Optim(lr=1e-5, warmup_steps=3, betas=(0.9, 0.99), schedule="cosine")
    assert recipe.eval == Eval(every=5, problems=10, k=4, temperature=0.6, split="test")
    assert recipe.checkpoint == Checkpoint(every=2, keep=1)
    assert recipe.rewards["process"] == {"use": "toy_reward", "weight": 2}


def test_defaults_need_engine_and_task_only():
    recipe = Recipe.from_dict({"engine": "toy_engine", "task": "toy_task"})
    assert recipe.engine == {"use": "toy_engine"}
    assert recipe.rewards == {"outcome": {"use": "task.outcome"}}
    assert (recipe.credit, recipe.objective) == ({"use": "grpo"}, {"use": "ppo"})
    assert recipe.steps == 100 and recipe.sampler == Sampler() and recipe.out is None


def test_round_trips_are_exact(recipe: Recipe, tmp_path: Path):
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    text = recipe.to_yaml(tmp_path / "recipe.yaml")
    again = Recipe.from_yaml(tmp_path / "recipe.yaml")
    assert again == recipe and again.to_yaml() == text and again.fingerprint() == recipe.fingerprint()


@settings(max_examples=50, deadline=None)
@given(
    lr=st.floats(1e-12, 1e3),
    stop=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3),
    seed=st.integers(0, 2**70),
    value=st.none() | st.booleans() | st.floats(allow_nan=False) | st.sampled_from(["1e5", "no", "~"]),
)
def test_any_values_survive_yaml(
    tmp_path_factory: pytest.TempPathFactory, lr: float, stop: list[str], seed: int, value: Any
):
    recipe = Recipe(
        engine={"use": "toy_engine", "x": value},
        task="toy_task",  # type: ignore[arg-type]
        optim=Optim(lr=lr),
        sampler=Sampler(stop=tuple(stop)),
        seed=seed,
    )
    path = tmp_path_factory.mktemp("recipes") / "r.yaml"
    recipe.to_yaml(path)
    assert Recipe.from_yaml(path) == recipe


def test_a_recipe_shares_nothing_with_its_source(recipe: Recipe):
    data = recipe.to_dict()
    again = Recipe.from_dict(data)
    data["engine"]["lora"]["r"] = 99
    data["filters"].append({"use": "x"})
    assert again == recipe
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.steps = 1  # type: ignore[misc]


def test_replace_checks_again(recipe: Recipe):
    assert dataclasses.replace(recipe, steps=50).steps == 50
    with pytest.raises(RecipeError, match="steps: must be at least 1, got 0"):
        dataclasses.replace(recipe, steps=0)


# -- errors name the field -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("samplr.group=4", r"^samplr: unknown field; did you mean 'sampler'\?"),
        ("sampler.grup=4", r"^sampler\.grup: unknown field; did you mean 'group'\?"),
        ("steps=-1", r"^steps: must be at least 1, got -1"),
        ("steps=2.5", r"^steps: expected a whole number, got 2\.5"),
        ("steps=true", r"^steps: expected a whole number, got True"),
        ("steps=", r"^steps: expected a whole number, got None"),
        ("sampler.group=eight", r"^sampler\.group: expected a whole number, got 'eight'"),
        ("sampler.top_p=1.5", r"^sampler\.top_p: must be at most 1, got 1\.5"),
        ("sampler.top_p=0", r"^sampler\.top_p: must be greater than 0"),
        ("sampler.temperature=.nan", r"^sampler\.temperature: expected a finite number"),
        ("sampler.stop=x", r"^sampler\.stop: expected a list \(text each\), got 'x'"),
        ("sampler.stop.1=3", r"^sampler\.stop\.1: expected text, got 3"),
        ("sampler=4", r"^sampler: expected a mapping of fields, got 4"),
        ("sampler.group.x=4", r"^sampler\.group\.x: cannot be set, .* single value 4"),
        ("optim.lr=0", r"^optim\.lr: must be greater than 0"),
        ("optim.betas=[0.9]", r"^optim\.betas: expected a list of 2 \(a number, a number\), got \[0\.9\]"),
        ("optim.betas.1=x", r"^optim\.betas\.1: expected a number, got 'x'"),
        ("optim.betas.1=2", r"^optim\.betas: must be at most 1"),
        ("optim.schedule=cosin", r"^optim\.schedule: unknown value 'cosin'; did you mean 'cosine'\?"),
        ("eval.temperature=hot", r"^eval\.temperature: expected a number or null, got 'hot'"),
        ("eval.split=validation", r"^eval\.split: unknown value 'validation'"),
        ("checkpoint.keep=0", r"^checkpoint\.keep: must be at least 1"),
        ("truncated=masked", r"^truncated: unknown value 'masked'; did you mean 'mask'\?"),
        ("device=gpu", r"^device: expected auto, cpu, mps, cuda or cuda:N, got 'gpu'"),
        ("out=3", r"^out: expected text or null, got 3"),
        ("micro_rollouts=0", r"^micro_rollouts: must be at least 1"),
        ("minibatches=9", r"^minibatches: 9 cannot be cut from 8 rollouts"),
        ("credit={scale: batch}", r"^credit: expected a mapping with a field 'use'"),
        ("credit.use=3", r"^credit\.use: expected a registered name, got 3"),
        ("rewards={}", r"^rewards: at least one reward is needed"),
        ("rewards=[]", r"^rewards: expected a mapping from signal names"),
        ("rewards={a.b: task.outcome}", r"^rewards\.a\.b: a signal's name"),
        ("rewards.new.weight=1", r"^rewards\.new: expected a mapping with a field 'use'"),
        ("shape.proces=[]", r"^shape\.proces: no reward of that name; did you mean 'process'\?"),
        ("shape.process=toy_shape", r"^shape\.process: expected a list of \{use: \.\.\.\}"),
        ("shape.process.5.eta=1", r"^shape\.process\.5\.eta: expected an index from 0 to 2"),
        ("filters.one=x", r"^filters\.one: expected an index from 0 to 1"),
        ("objective.kl={1: 2}", r"^objective\.kl\.1: expected text as the field's name"),
        ("steps", r"^--set steps: expected key=value"),
        ("out=[", r"^--set out=\[, line 1, column 2: not valid YAML"),
    ],
)
def test_wrong_values_name_the_field(recipe: Recipe, change: str, message: str):
    with pytest.raises(RecipeError, match=message):
        recipe.override([change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("engine=toy_engin", r"^engine\.use: unknown engine 'toy_engin'; did you mean 'toy_engine'\?"),
        ("engine.wdth=3", r"^engine\.wdth: unknown field; did you mean 'width'\?"),
        ("engine.width=big", r"^engine\.width: expected a whole number, got 'big'"),
        ("engine.lora=4", r"^engine\.lora: expected a mapping or null, got 4"),
        ("task.kind=medium", r"^task\.kind: unknown value 'medium' \(valid: easy, hard\)"),
        ("task.spread=[1, x]", r"^task\.spread\.1: expected a whole number, got 'x'"),
        (
            "rewards.outcome=task.outcom",
            r"^rewards\.outcome\.use: unknown reward .*did you mean 'task\.outcome'\?",
        ),
        (
            "rewards.outcome.weight=1",
            r"^rewards\.outcome\.weight: unknown field; 'task\.outcome' has no parameters",
        ),
        ("rewards.process.weight=x", r"^rewards\.process\.weight: expected a number, got 'x'"),
        ("rewards.process.tags=[1]", r"^rewards\.process\.tags\.0: expected text, got 1"),
        ("shape.process.1.etta=1", r"^shape\.process\.1\.etta: unknown field; did you mean 'eta'\?"),
        ("shape.process.0.limit=x", r"^shape\.process\.0\.limit: expected a number or null, got 'x'"),
        ("credit=toy_credits", r"^credit\.use: unknown credit 'toy_credits'; did you mean 'toy_credit'\?"),
        ("credit.scale=[1]", r"^credit\.scale: expected text, got \[1\]"),
        ("objective.clip=x", r"^objective\.clip: expected a number or a list \(a number each\), got 'x'"),
        ("objective.clip=[0.2, x]", r"^objective\.clip\.1: expected a number, got 'x'"),
        ("objective.clip=99", r"^objective: clip must be below 1"),
        ("filters.1=toy_filtr", r"^filters\.1\.use: unknown filter 'toy_filtr'; did you mean 'toy_filter'\?"),
    ],
)
def test_validation_names_the_field(recipe: Recipe, change: str, message: str):
    with pytest.raises(RecipeError, match=message):
        recipe.override([change]).validate()


def test_validation_builds_nothing_heavy(recipe: Recipe):
    assert recipe.validate() is recipe
    assert BUILT == []
    recipe.override(["credit.anything=1"]).validate()  # a factory that takes anything


def test_a_missing_package_is_named(recipe: Recipe, monkeypatch: pytest.MonkeyPatch):
    def lookup(kind: str, name: str, where: str | None = None) -> object:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(registry, "lookup", lookup)
    with pytest.raises(
        RecipeError, match=r"^task\.use: task 'toy_task' needs the package 'torch'; pip install"
    ):
        recipe.validate()


def test_missing_fields_and_other_shapes():
    with pytest.raises(RecipeError, match=r"^engine: this field is missing"):
        Recipe.from_dict({})
    with pytest.raises(RecipeError, match=r"^recipe: expected a mapping of fields, got \['steps'\]"):
        Recipe.from_dict(["steps"])
    with pytest.raises(RecipeError, match=r"^engine\.model: expected plain data"):
        Recipe.from_dict({"engine": {"use": "toy_engine", "model": object()}, "task": "toy_task"})


def test_broken_files(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("engine: {use: lab\ntask: chain\n")
    with pytest.raises(RecipeError, match=r"recipe\.yaml, line 2, column 5: not valid YAML"):
        Recipe.from_yaml(path)
    path.write_text("engine: lab\ntask: chain\nsteps: -1\n")
    with pytest.raises(RecipeError, match=r"recipe\.yaml: steps: must be at least 1, got -1"):
        Recipe.from_yaml(path)
    path.write_text("")
    with pytest.raises(RecipeError, match=r"recipe\.yaml: engine: this field is missing"):
        Recipe.from_yaml(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"cannot be read as a recipe"):
        Recipe.from_yaml(path)
    with pytest.raises(RecipeError, match=r"no such recipe file; did you mean 'recipe\.yaml'\?"):
        Recipe.from_yaml(tmp_path / "recpe.yaml")
    with pytest.raises(RecipeError, match=r"no such recipe file$"):
        Recipe.from_yaml(tmp_path / "absent" / "recipe.yaml")
    with pytest.raises(RecipeError, match=r"cannot be read as a recipe"):
        Recipe.from_yaml(tmp_path)


# -- overrides and fingerprints --------------------------------------------------------------------


def test_override(recipe: Recipe):
    changed = recipe.override(
        [
            "optim.lr=1e-4",
            "steps=1e3",
            "shape.process.0.eta=0.75",
            "filters.1={use: toy_filter, source: process}",
            "rewards.steps=task.steps",
            "credit=toy_credit",
            "engine.lora.alpha=8",
            "out=null",
            "sampler.stop=[]",
        ]
    )
    assert changed.optim.lr == 1e-4 and changed.steps == 1000 and type(changed.steps) is int
    assert changed.shape["process"] == [{"use": "toy_shape", "eta": 0.75}, {"use": "toy_shape"}]
    assert changed.filters == [{"use": "toy_filter"}, {"use": "toy_filter", "source": "process"}]
    assert changed.rewards["steps"] == {"use": "task.steps"} and changed.credit == {"use": "toy_credit"}
    assert (
        changed.engine["lora"] == {"r": 4, "alpha": 8} and changed.out is None and changed.sampler.stop == ()
    )
    assert recipe == Recipe.from_dict(FULL) and recipe.override([]) == recipe


def test_fingerprint_depends_on_content_only(recipe: Recipe):
    backwards = Recipe.from_dict(dict(reversed(FULL.items())))
    whole = recipe.override(["rewards.process.weight=2.0"])
    elsewhere = recipe.override(["out=elsewhere"])
    assert {r.fingerprint() for r in (recipe, backwards, whole, elsewhere)} == {recipe.fingerprint()}
    assert len(recipe.fingerprint()) == 16
    assert recipe.override(["seed=8"]).fingerprint() != recipe.fingerprint()
    assert recipe.override(["rewards.process.weight=2.5"]).fingerprint() != recipe.fingerprint()


def test_fingerprint_does_not_change_between_processes(recipe: Recipe, tmp_path: Path):
    recipe.to_yaml(tmp_path / "r.yaml")
    show = f"print(Recipe.from_yaml({str(tmp_path / 'r.yaml')!r}).fingerprint())"
    command = [sys.executable, "-c", f"from guerdon.learn.recipe import Recipe; {show}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == recipe.fingerprint()


# -- the type check behind it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "hint", "result"),
    [
        (3, float, 3.0),
        (3.0, int, 3),
        (1, float | int, 1),
        (None, int | None, None),
        ([1, 2], tuple[float, ...], (1.0, 2.0)),
        ([[1], []], list[list[int]], [[1], []]),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ("x", Any, "x"),
        ("x", Path, "x"),
        (2, Literal[1, 2], 2),
        ([1, "a"], tuple[int, str], (1, "a")),
        ([1, "a"], list, [1, "a"]),
    ],
)
def test_conform(value: Any, hint: Any, result: Any):
    found = conform(value, hint, "field")
    assert found == result and type(found) is type(result)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int),
        (True, float),
        (1, bool),
        (1, str),
        ("a", list[str]),
        (True, Literal[1, 2]),
        ([1], dict),
        (1, None),
    ],
)
def test_conform_refuses(value: Any, hint: Any):
    with pytest.raises(RecipeError, match=r"^field: "):
        conform(value, hint, "field")
