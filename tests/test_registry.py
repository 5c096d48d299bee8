"""Names, factories and the fields recipes may give them."""

from __future__ import annotations

import functools

import pytest

from guerdon import credit, registry
from guerdon.errors import RecipeError


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """Each test registers into its own table."""
    monkeypatch.setattr(registry, "_ADDED", {})


def test_built_in_names_are_imported_when_asked_for():
    assert registry.lookup("credit", "grpo") is credit.grpo
    assert {"grpo", "rloo", "gae", "levels"} <= set(registry.names("credit"))
    assert registry.names("credit") == sorted(registry.names("credit"))
    assert registry.names("nothing") == []


@pytest.mark.parametrize("name", registry.names("credit"))
def test_every_credit_method_exists(name):
    assert callable(registry.lookup("credit", name))


def test_building_from_a_recipe_section():
    method = registry.build("credit", {"use": "grpo", "scale": "batch", "eps": 0.5})
    assert method.levels[0].baseline == credit.MeanStd(eps=0.5, scale="batch")


def test_context_reaches_only_those_who_take_it():
    @registry.register("reward", "needs")
    def needs(task, bonus=1.0):
        return task, bonus

    @registry.register("reward", "plain")
    def plain(bonus=1.0):
        return bonus

    @registry.register("reward", "anything")
    def anything(**given):
        return given

    assert registry.build("reward", {"use": "needs", "bonus": 2}, task="t", step=3) == ("t", 2)
    assert registry.build("reward", {"use": "needs", "task": "own"}, task="t") == ("own", 1.0)
    assert registry.build("reward", {"use": "plain"}, task="t") == 1.0
    assert registry.build("reward", {"use": "anything", "x": 1}, task="t") == {"x": 1, "task": "t"}


def test_registering():
    @registry.register("credit", "mine")
    def mine(gamma=1.0):
        return gamma

    assert registry.lookup("credit", "mine") is mine
    assert "mine" in registry.names("credit")
    assert registry.build("credit", {"use": "mine", "gamma": 0.5}) == 0.5
    registry.register("credit", "mine")(mine)
    registry.register("a new kind", "mine")(mine)
    assert registry.lookup("a new kind", "mine") is mine


def test_a_notebook_cell_may_run_twice():
    def cell():
        @registry.register("credit", "mine")
        def mine():
            return object()

        return mine

    first, second = cell(), cell()
    assert first is not second
    assert registry.lookup("credit", "mine") is second


def test_a_name_is_taken_once():
    registry.register("credit", "mine")(functools.partial(dict, a=1))
    for other in (functools.partial(dict, a=2), lambda: None, dict):
        with pytest.raises(RecipeError, match="credit 'mine' is registered already"):
            registry.register("credit", "mine")(other)
    with pytest.raises(RecipeError, match="credit 'grpo' is registered already"):
        registry.register("credit", "grpo")(dict)
    registry.register("credit", "short")(lambda: 1)
    with pytest.raises(RecipeError, match="'short' is registered already"):
        registry.register("credit", "short")(lambda: 2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"use": "grop"}, r"^credit.use: unknown credit 'grop'; did you mean 'grpo'\? .valid: .*dr_grpo"),
        ({"use": "zzzzzz"}, "unknown credit 'zzzzzz' .valid: "),
        ({"use": None}, "unknown credit 'None'"),
        ({"scale": "group"}, "^credit: expected a mapping with a field 'use' naming one of .*grpo"),
        ("grpo", "^credit: expected a mapping with a field 'use'"),
        (None, "^credit: expected a mapping with a field 'use'"),
        (
            {"use": "grpo", "scael": "group"},
            "^credit.scael: unknown field; did you mean 'scale'. .valid: ddof",
        ),
        ({"use": "grpo", "scale": "std"}, "^credit: scale must be one of group, batch, none; got 'std'"),
        ({"use": "gae", "gamma": "high"}, "^credit: gamma must be a number"),
        ({"use": "levels"}, "^credit.levels: this field is required"),
        ({"use": "levels", "levels": None}, "^credit: "),
    ],
)
def test_sections_that_cannot_be_built(spec, message):
    with pytest.raises(RecipeError, match=message):
        registry.build("credit", spec)


def test_messages_name_the_place_in_the_recipe():
    with pytest.raises(RecipeError, match=r"^rewards\.outcome\.use: unknown credit 'x'"):
        registry.build("credit", {"use": "x"}, where="rewards.outcome")
    with pytest.raises(RecipeError, match=r"^rewards\.outcome\.epsilon: unknown field"):
        registry.build("credit", {"use": "grpo", "epsilon": 1}, where="rewards.outcome")


def test_required_fields_and_classes():
    @registry.register("task", "made")
    class Made:
        def __init__(self, terms, *, digits=2):
            self.terms, self.digits = terms, digits

    assert registry.build("task", {"use": "made", "terms": 3}).terms == 3
    with pytest.raises(RecipeError, match=r"^task\.terms: this field is required"):
        registry.build("task", {"use": "made", "digits": 1})
    assert registry.check_parameters(Made, {"terms": 1}, "task") == {"terms", "digits"}
    assert registry.check_parameters(lambda **given: given, {"a": 1}, "task") is None


def test_nearest():
    assert registry.nearest("grop", ["grpo", "gae"]) == "; did you mean 'grpo'? (valid: gae, grpo)"
    assert registry.nearest("q", ["grpo", "gae"]) == " (valid: gae, grpo)"
    assert registry.nearest("q", []) == ""


def test_verifiers_have_one_name():
    from guerdon import verify

    for name in (name for name in registry.names("reward") if name.startswith("verify.")):
        assert registry.lookup("reward", name) is getattr(verify, name.removeprefix("verify.")), name
