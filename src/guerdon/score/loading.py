"""From a spec to a reward object, and what the pipeline needs to know about it.

Users' code is imported in worker processes only (`guerdon.score.worker`): importing it may hang, or end the
process.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from guerdon import registry
from guerdon.errors import RecipeError
from guerdon.score.spec import Policy, Spec
from guerdon.scoring import FunctionReward, Reward, SampleReward
from guerdon.scoring import reward as lift_function

READABLE = ("prompt", "completion", "reference", "meta")
_SHAPES, _PLACES = ("sample", "group", "all"), ("worker", "main")
_LIFT = ("name", "version", "batch", "on_error")
_BATCH = {"completions", "references", "metas"}
_SAMPLE = {"completion", "reference", "meta", "messages"} | _BATCH
UNSAID = -1.0


@dataclass(frozen=True)
class Traits:
    """What is known of a loaded reward; rewards may say it by attributes of the same names.

    Attributes:
        name, version: of the reward.
        sample: whether it gives verdicts row by row (`SampleReward`).
        shape: "sample" looks at one record, "group" at all records of a group, "all" at the whole file.
        where: "worker" processes, or the "main" process (needs an engine, or keeps state).
        reads: columns a verdict depends on; None: the whole record.
        keyed: whether it has a `key(row)` of its own.
        together: whether it scores many records in one call.
        batch_rows: how many then; 0: at least 64, and more where that is fast.
        item_seconds, batch_seconds: limits of its own (None: it needs none, UNSAID: the run's).
        on_error: its own failure policy.
        stateful: whether verdicts depend on what was scored before.
        single: whether one worker does all of its work, since it shares a limit (requests at a time,
            money) or learns that a server is down.
        quick: whether a verdict takes microseconds, in time linear in the texts: it needs no watching where
            they are short.
        versioned: whether `version` tells all settings that verdicts depend on.
        asks: names of the engines it reads in its context; it runs where they are, in the main process.
        code: digest of the file its code is from, b"" for registered rewards.
    """

    name: str
    version: str
    sample: bool
    shape: str
    where: str
    reads: tuple[str, ...] | None
    keyed: bool
    together: bool
    batch_rows: int
    item_seconds: float | None
    batch_seconds: float | None
    on_error: Policy
    stateful: bool
    single: bool = False
    versioned: bool = False
    quick: bool = False
    asks: tuple[str, ...] = ()
    code: bytes = b""


def load(spec: Spec) -> Reward:
    """The reward of a spec.

    Raises:
        RecipeError: unknown name, file or attribute; code that cannot be imported; wrong settings.
    """
    where = f"--reward {spec.use}"
    if not spec.by_path:
        made = registry.build("reward", {"use": spec.use, **spec.settings}, where)
        return _checked(made, where)
    place, _, attribute = spec.use.rpartition(":")
    return lift(_find(_module(place, where), attribute, where), spec.settings, where)


def lift(found: Any, settings: Mapping[str, Any], where: str) -> Reward:
    """A reward from what a path led to.

    That is a Reward; a function, sync or async, that asks for `completion`, `reference`, `meta` or
    `messages` (and `prompt`), or for lists of them under the plural names; or a class or function that
    makes a Reward when called with the settings. Settings of a function are its other parameters, and
    `name`, `version` and `batch`.
    """
    if isinstance(found, FunctionReward) and settings:
        said = {name: getattr(found, name) for name in _LIFT}
        return _lifted(found.function, said | dict(settings), where)
    if _is_reward(found):
        if settings:
            raise RecipeError(f"{where}: takes no settings, got {', '.join(settings)}")
        return found
    if not callable(found):
        raise RecipeError(f"{where}: expected a function or a reward, got {type(found).__name__}")
    if _asks_for_a_sample(found):
        return _lifted(found, settings, where)
    registry.check_parameters(found, settings, where)
    return _checked(found(**settings), where)


def _lifted(function: Callable[..., Any], settings: Mapping[str, Any], where: str) -> Reward:
    own = inspect.signature(function).parameters
    lifting = {key: value for key, value in settings.items() if key in _LIFT and key not in own}
    extra = {key: value for key, value in settings.items() if key not in lifting}
    registry.check_parameters(function, extra, where, supplied=own)
    lifting.setdefault("batch", bool(_BATCH & set(own)))
    if extra:
        lifting.setdefault("name", getattr(function, "__name__", type(function).__name__))
        function = partial(function, **extra)
    return lift_function(**lifting)(function)


def _asks_for_a_sample(found: Any) -> bool:
    return not isinstance(found, type) and bool(_SAMPLE & set(inspect.signature(found).parameters))


def _is_reward(found: Any) -> bool:
    return not isinstance(found, type) and isinstance(found, Reward)


def _checked(made: Any, where: str) -> Reward:
    if not _is_reward(made):
        raise RecipeError(f"{where}: expected a reward (name, version, callable), got {type(made).__name__}")
    return made


def _module(place: str, where: str) -> ModuleType:
    if not place.endswith(".py"):
        _make_importable(Path.cwd())
        return _imported(lambda: importlib.import_module(place), place, where)
    path = Path(place).resolve()
    if not path.is_file():
        raise RecipeError(f"{where}: no file {place}")
    taken = path.stem in sys.stdlib_module_names
    name = f"user_{path.stem}" if taken or path.stem in sys.modules else path.stem
    for known in (path.stem, name):
        if getattr(sys.modules.get(known), "__file__", None) == str(path):
            return sys.modules[known]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look there for what the file defines
    _make_importable(path.parent)
    run = partial(spec.loader.exec_module, module)
    return _imported(lambda: run() or module, place, where)


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:  # and it stays there: functions may import when they are called
        sys.path.insert(0, str(folder))


def _imported(run: Callable[[], ModuleType], place: str, where: str) -> ModuleType:
    try:
        return run()
    except (Exception, SystemExit) as error:  # the user's code may raise anything while it is imported
        line = error.lineno if isinstance(error, SyntaxError) else _line_in(place, error)
        at = f" (line {line})" if line else ""
        raise RecipeError(
            f"{where}: importing {place} failed{at}: {type(error).__name__}: {error}"
        ) from error


def _line_in(place: str, error: BaseException) -> int | None:
    trace, line = error.__traceback__, None
    name = Path(place).name if place.endswith(".py") else place.rpartition(".")[2] + ".py"
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).name == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _find(module: ModuleType, attribute: str, where: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            inside = getattr(found, "__dict__", {}).items()
            names = [name for name, value in inside if callable(value) and not name.startswith("_")]
            raise RecipeError(f"{where}: there is no {part!r} in it{registry.nearest(part, names)}")
        found = getattr(found, part)
    return found


def traits_of(reward: Reward, spec: Spec | None = None) -> Traits:
    """What the pipeline needs to know about a reward.

    Raises:
        RecipeError: an attribute with a value that means nothing.
    """
    sample = isinstance(reward, SampleReward)
    stateful = bool(getattr(reward, "stateful", hasattr(reward, "state_dict")))
    asks = tuple(getattr(reward, "asks", ()))
    traits = Traits(
        name=str(reward.name),
        version=str(reward.version),
        sample=sample,
        shape=getattr(reward, "shape", "sample" if sample else "group"),
        where="main" if stateful or asks else getattr(reward, "where", "worker"),
        reads=_reads(reward),
        keyed=sample and type(reward).key is not SampleReward.key,  # type: ignore[attr-defined]
        together=_together(reward),
        batch_rows=int(getattr(reward, "batch_rows", 0)),
        item_seconds=getattr(reward, "item_seconds", UNSAID),
        batch_seconds=getattr(reward, "batch_seconds", UNSAID),
        on_error=getattr(reward, "on_error", "nan"),
        stateful=stateful,
        single=bool(getattr(reward, "single", False)),
        versioned=bool(getattr(reward, "versioned", False)),
        quick=sample and bool(getattr(reward, "quick", False)),
        asks=asks,
        code=_code(reward) if spec is not None and spec.by_path else b"",
    )
    for name, valid in (("shape", _SHAPES), ("where", _PLACES)):
        if getattr(traits, name) not in valid:
            raise RecipeError(
                f"reward {traits.name!r}: {name} must be one of {', '.join(valid)}, "
                f"got {getattr(traits, name)!r}"
            )
    return traits


def _reads(reward: Reward) -> tuple[str, ...] | None:
    said = getattr(reward, "reads", None)
    if said is not None:
        return tuple(name for name in READABLE if name in set(said))
    if isinstance(reward, FunctionReward):
        wanted = {"completion" if name == "messages" else name for name in reward._wanted.values()}
        return tuple(name for name in READABLE if name in wanted)
    # a sample reward sees prompt, completion, reference and meta, unless it also asks for signals
    return READABLE if isinstance(reward, SampleReward) and not getattr(reward, "_signals", ()) else None


def _together(reward: Reward) -> bool:
    if isinstance(reward, FunctionReward):
        return reward.batch or reward._async
    if not isinstance(reward, SampleReward):
        return True
    said = getattr(reward, "batch", getattr(reward, "_batch", None))
    return bool(said) if said is not None else type(reward).score_batch is not SampleReward.score_batch


def _code(reward: Any) -> bytes:
    """Digest of the file a reward was defined in: verdicts of code that was edited are not reused."""
    thing = reward.function if isinstance(reward, FunctionReward) else type(reward)
    while isinstance(thing, partial):
        thing = thing.func
    if not (inspect.isfunction(thing) or inspect.isclass(thing)):
        thing = type(thing)
    try:
        return hashlib.blake2b(Path(inspect.getfile(thing)).read_bytes(), digest_size=16).digest()
    except (TypeError, OSError):
        return b"unknown"
