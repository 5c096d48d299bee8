"""Names that recipes and commands may use, and the factories behind them.

A factory is a class or function whose keyword parameters are the recipe's fields. Built-ins are listed
as "module:attribute" and imported when first asked for, so that the list costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from guerdon.errors import RecipeError

_CREDIT = "guerdon.credit.methods"
_BUILTIN: dict[str, dict[str, str]] = {
    "engine": {"lab": "guerdon.engines.lab:LabEngine", "hf": "guerdon.engines.hf:HFEngine"},
    "task": {
        "chain": "guerdon.tasks.chain:Chain",
        "countdown": "guerdon.tasks.countdown:Countdown",
        "grid_world": "guerdon.tasks.grid_world:GridWorld",
        "hops": "guerdon.tasks.hop_world:HopQuestions",
        "knowrl": "guerdon.learn.self_knowledge:SelfKnowledge",
        "plain_text": "guerdon.tasks.plain_text:PlainText",
        "random_calculation": "guerdon.tasks.random_calculation:RandomCalculation",
        "reasoning_gym": "guerdon.tasks.reasoning_gym:ReasoningGym",
        "tools": "guerdon.tasks.tool_world:ToolQuestions",
        "verifiers": "guerdon.tasks.verifiers_tasks:Verifiers",
    },
    "reward": {
        "audit.reasoning_patterns": "guerdon.audit.behaviours:reasoning_patterns",
        "bench.answer_vote": "guerdon.bench.baselines:answer_vote",
        "bench.length": "guerdon.bench.baselines:length",
        "bench.step_classifier": "guerdon.bench.step_classifier:load",
        "bench.step_count": "guerdon.bench.baselines:step_count",
        "judge.checklist": "guerdon.judge.factories:checklist",
        "judge.first_error": "guerdon.judge.factories:first_error",
        "judge.pairwise": "guerdon.judge.factories:pairwise",
        "judge.rate": "guerdon.judge.factories:rate",
        "models.answer_logprob": "guerdon.models.answer_logprob:AnswerLogprob",
        "models.classifier": "guerdon.models.factories:classifier",
        "models.forced_answers": "guerdon.models.forced_answers:ForcedAnswers",
        "models.implicit": "guerdon.models.factories:implicit",
        "models.load": "guerdon.models.folders:load",
        "models.prefix_values": "guerdon.models.prefix_values:PrefixValues",
        "models.progress": "guerdon.models.factories:progress",
        "verify.math": "guerdon.verify.maths.reward:math",
        "verify.math_verify": "guerdon.verify.maths.peer:math_verify",
        "verify.bleu": "guerdon.verify.text_overlap:bleu",
        "verify.boxes": "guerdon.verify.box_overlap:boxes",
        "verify.checklist": "guerdon.verify.checklists:checklist",
        "verify.choice": "guerdon.verify.choices:choice",
        "verify.chrf": "guerdon.verify.text_overlap:chrf",
        "verify.code": "guerdon.verify.programs:code",
        "verify.edit": "guerdon.verify.text_overlap:edit",
        "verify.graph": "guerdon.verify.graphs:graph",
        "verify.json_schema": "guerdon.verify.schemas:json_schema",
        "verify.length": "guerdon.verify.lengths:length",
        "verify.match": "guerdon.verify.answers_match:match",
        "verify.overlong": "guerdon.verify.lengths:overlong",
        "verify.pattern": "guerdon.verify.templates:pattern",
        "verify.points": "guerdon.verify.box_overlap:points",
        "verify.ranking": "guerdon.verify.rankings:ranking",
        "verify.repeats": "guerdon.verify.lengths:repeats",
        "verify.rouge": "guerdon.verify.text_overlap:rouge",
        "verify.step_checks": "guerdon.verify.steps.reward:step_checks",
        "verify.sql": "guerdon.verify.sql_reward:sql",
        "verify.tags": "guerdon.verify.templates:tags",
        "verify.tool_calls": "guerdon.verify.tools:tool_calls",
    },
    "model": {
        "answer_logprob": "guerdon.models.answer_logprob:AnswerLogprob",
        "critic": "guerdon.models.factories:critic",
        "forced_answers": "guerdon.models.forced_answers:ForcedAnswers",
        "load": "guerdon.models.folders:load",
        "prefix_values": "guerdon.models.prefix_values:PrefixValues",
        "utterance_critic": "guerdon.models.factories:utterance_critic",
    },
    "shape": {
        name: f"guerdon.shape.transforms:{name}"
        for name in (
            "anneal",
            "clip",
            "clip_above",
            "clip_delta",
            "combine",
            "delta",
            "gate",
            "hinge",
            "length_price",
            "log_sigmoid",
            "mixed_groups_only",
            "normalise",
            "over_limit",
            "polynomial",
            "scale",
            "sigmoid",
            "suffix_max_scale",
            "tanh",
            "versus_references",
        )
    },
    "credit": {
        name: f"{_CREDIT}:{name}"
        for name in (
            "grpo",
            "dr_grpo",
            "rloo",
            "reinforce_pp",
            "reinforce_pp_baseline",
            "gae",
            "opo",
            "remax",
            "gpg",
            "pass_at_k",
            "outcome_and_steps",
        )
    }
    | {"levels": "guerdon.credit.written:levels"},
    "objective": {
        name: f"guerdon.learn.objective:{name}" for name in ("reinforce", "ppo", "gspo", "cispo", "minirl")
    }
    | {"dpo": "guerdon.learn.preferences:dpo"},
    "pairs": {
        "best_and_worst": "guerdon.systems.intrinsic.flr:pairs_of_extremes",
        "confidence": "guerdon.systems.intrinsic.crew:pairs_by_confidence",
        "outcome": "guerdon.learn.preferences:by_outcome",
    },
    "loss": {
        "laser": "guerdon.systems.intrinsic.laser:Calibration",
        "likelihood": "guerdon.systems.intrinsic.likelihood_rewards:Likelihood",
    },
    "splitter": {
        name: f"guerdon.data.splitters:{name}"
        for name in ("blank_line", "newline", "regex", "sentence", "tags")
    },
    "filter": {name: f"guerdon.learn.filters:{name}" for name in ("uniform_groups", "unscored", "band")}
    | {
        "deviation": "guerdon.systems.intrinsic.rlpr:DeviationFilter",
        "reflective": "guerdon.systems.intrinsic.dro_r3:ReflectiveFilter",
    },
}
_CATALOGUED = ("reward", "shape", "credit")
_ADDED: dict[str, dict[str, Callable[..., Any]]] = {}


def register(kind: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: make `factory` reachable as `{use: name}` for `kind`.

    Registering the same definition again (a notebook cell run twice, a reloaded module) replaces it.

    Raises:
        RecipeError: the name is taken by another factory.
    """

    def decorate(factory: Callable[..., Any]) -> Callable[..., Any]:
        known = _ADDED.setdefault(kind, {})
        if name in _BUILTIN.get(kind, {}) or _origin(known.get(name, factory)) != _origin(factory):
            raise RecipeError(f"{kind} {name!r} is registered already; choose another name")
        known[name] = factory
        return factory

    return decorate


def _origin(factory: Callable[..., Any]) -> Any:
    """Where a factory was defined; the factory itself where that is unknown."""
    place = (getattr(factory, "__module__", None), getattr(factory, "__qualname__", None))
    return factory if None in place or "<lambda>" in str(place[1]) else place


def names(kind: str) -> list[str]:
    """All registered names of a kind, sorted."""
    return sorted({*_BUILTIN.get(kind, {}), *_ADDED.get(kind, {})})


def lookup(kind: str, name: str, where: str | None = None) -> Callable[..., Any]:
    """The factory registered as `name`; transforms may be called `shape.<name>` too.

    Raises:
        RecipeError: unknown name; the message offers the nearest valid one.
    """
    name = bare(kind, name)
    if name in _ADDED.get(kind, {}):
        return _ADDED[kind][name]
    if name in _BUILTIN.get(kind, {}):
        module, attribute = _BUILTIN[kind][name].split(":")
        return getattr(importlib.import_module(module), attribute)
    found = _published(kind, name)
    if found is not None:
        return found
    known = {*names(kind), *published(kind)}
    raise RecipeError(f"{where or kind}: unknown {kind} {name!r}{nearest(name, known)}")


def bare(kind: str, name: str) -> str:
    """The name without its room: a transform may be called `shape.clip` or `clip`."""
    return name.removeprefix("shape.") if kind == "shape" else name


def published(kind: str) -> list[str]:
    """Slugs of the catalogue's families that have this kind, sorted; their modules are not imported."""
    if kind not in _CATALOGUED:
        return []
    from guerdon.systems import catalogue

    families = ("credit", "shape") if kind == "credit" else (kind,)
    return [slug for slug, module in catalogue.slugs().items() if module.split(".")[2] in families]


def _published(kind: str, name: str) -> Callable[..., Any] | None:
    """The catalogue's factory of that slug, where there is one of this kind."""
    if kind not in _CATALOGUED:
        return None
    from guerdon.systems import catalogue

    if name not in catalogue.slugs():
        return None
    return catalogue.find(name).of_kind(kind)


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: the closest valid name and the whole list where it is short."""
    valid = sorted(valid)
    close = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (valid: {', '.join(valid)})" if valid else hint


def build(kind: str, spec: Mapping[str, Any], where: str | None = None, **context: Any) -> Any:
    """Call the factory named by `spec["use"]` with the remaining keys as keyword arguments.

    Args:
        kind: what to build ("credit", "task", ...).
        spec: recipe section, e.g. `{"use": "grpo", "scale": "batch"}`.
        where: the section's place in the recipe, for messages ("rewards.outcome").
        context: extra keyword arguments, passed only where the factory takes them.

    Raises:
        RecipeError: no `use`, an unknown name, an unknown or missing parameter, or a value refused.
    """
    where = where or kind
    if not isinstance(spec, Mapping) or "use" not in spec:
        valid = ", ".join(names(kind))
        raise RecipeError(f"{where}: expected a mapping with a field 'use' naming one of {valid}")
    factory = lookup(kind, str(spec["use"]), where=f"{where}.use")
    given = {key: value for key, value in spec.items() if key != "use"}
    accepted = check_parameters(factory, given, where, supplied=context)
    extra = {k: v for k, v in context.items() if k not in given and (accepted is None or k in accepted)}
    try:
        return factory(**given, **extra)
    except (TypeError, ValueError) as error:
        named = isinstance(error, RecipeError) and str(error).startswith(where)
        raise error if named else RecipeError(f"{where}: {error}") from error


def check_parameters(
    factory: Callable[..., Any], given: Mapping[str, Any], where: str, supplied: Iterable[str] = ()
) -> set[str] | None:
    """Refuse parameters the factory does not have; return the accepted names (None: any).

    Args:
        factory: what will be called.
        given: its keyword arguments as a recipe names them.
        where: the section's place in the recipe, for messages.
        supplied: names the caller adds by itself; they may be missing in `given`.

    Raises:
        RecipeError: an unknown field (nearest valid one offered) or a missing required one.
    """
    parameters = inspect.signature(factory).parameters
    keyword = {
        name: p
        for name, p in parameters.items()
        if p.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for key in given:
        if key not in keyword and not open_ended:
            raise RecipeError(f"{where}.{key}: unknown field{nearest(key, keyword)}")
    for name, p in keyword.items():
        if p.default is p.empty and name not in given and name not in supplied:
            raise RecipeError(f"{where}.{name}: this field is required")
    return None if open_ended else set(keyword)
