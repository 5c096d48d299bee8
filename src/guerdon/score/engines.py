"""Engines that rewards ask about saved rollouts: named on a command line, opened, checked.

[NAME=]WHERE    NAME is what rewards call it (default: policy); WHERE is

a folder        written by an engine's `save` (lab, hf, LoRA adapters), or any transformers model
a run folder    of `guerdon train`: its newest checkpoint
hf:ID           a model of the Hugging Face hub
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.errors import EngineError, RecipeError
from guerdon.registry import nearest

_NAMED = re.compile(r"([A-Za-z_]\w*)=(.+)", re.DOTALL)
_HUB = "hf:"
ROWS = 64
"""Units in one call where the engine is on an accelerator; on a CPU every unit is scored by itself, so that
its verdict does not depend on what else was in the file."""


def open_engines(asked: Sequence[str], device: str = "auto") -> dict[str, Any]:
    """Name -> engine, frozen.

    Raises:
        RecipeError: two of one name, or no such folder. EngineError: a folder that holds no engine.
    """
    found: dict[str, Any] = {}
    for text in asked:
        named = _NAMED.fullmatch(text)
        name, where = (named[1], named[2]) if named else ("policy", text)
        if name in found:
            raise RecipeError(f"--engine {text}: there is an engine {name!r} already; give NAME=WHERE")
        found[name] = _open(where, device, f"--engine {text}")
        found[name].frozen = True
    return found


def _open(where: str, device: str, said: str) -> Any:
    from guerdon.models.folders import open_engine

    if where.startswith(_HUB):
        from guerdon.engines.hf import HFEngine

        return HFEngine(model=where.removeprefix(_HUB), device=device)
    folder = Path(where)
    if not folder.is_dir():
        beside = {p.name for p in folder.parent.iterdir()} if folder.parent.is_dir() else set()
        hint = nearest(folder.name, beside) if len(beside) < 50 else ""
        raise RecipeError(f"{said}: no such folder{hint}; a model of the hub is written hf:ID")
    if (folder / "config.yaml").is_file() and (folder / "checkpoints").is_dir():
        from guerdon.store import Run

        newest = Run.open(folder).latest_checkpoint()
        if newest is None:
            raise RecipeError(f"{said}: this run has no checkpoint yet")
        folder = newest[1]
    return open_engine(folder, device)


def check_asked(label: str, reward: Any, engines: Mapping[str, Any]) -> None:
    """Refuse a reward whose engines are not there, or cannot do what it asks of them.

    Raises:
        RecipeError: an engine is missing. EngineError: one without log-probs where they are read.
    """
    from guerdon.intrinsic.scoring import require_logprobs

    for name in asks(reward):
        if name not in engines:
            given = f" (given: {', '.join(engines)})" if engines else ""
            text = "FOLDER" if name == "policy" else f"{name}=FOLDER"
            raise RecipeError(f"{label}: this reward asks a model; give --engine {text}{given}")
        if getattr(reward, "logprobs", False):
            try:
                require_logprobs(engines[name])
            except EngineError as error:
                raise EngineError(f"{label}: {error}") from error


def asks(reward: Any) -> tuple[str, ...]:
    """Names of the engines a reward reads in its context."""
    return tuple(getattr(reward, "asks", ()))


def fingerprints(names: Sequence[str], engines: Mapping[str, Any]) -> list[str | None]:
    """Digest of every engine; None for one whose weights are out of sight."""
    from guerdon.engines.fingerprint import fingerprint

    return [fingerprint(engines[name]) for name in names]


def units_per_call(engines: Sequence[Any]) -> int:
    """How many units a reward that asks these engines is given at once; see `ROWS`."""
    kinds = {getattr(getattr(engine, "device", None), "type", "cpu") for engine in engines}
    return 1 if kinds <= {"cpu"} else ROWS


def reading_engines(rewards: Sequence[Any], engines: Mapping[str, Any]) -> Iterator[Any]:
    """The engines that will score saved token ids, each once."""
    names = {name for reward in rewards if getattr(reward, "logprobs", False) for name in asks(reward)}
    known: list[Any] = []
    for name in sorted(names):
        if not any(engines[name].tokenizer is other for other in known):
            known.append(engines[name].tokenizer)
            yield engines[name]


def check_chunk(chunk: Any, rewards: Sequence[Any], engines: Mapping[str, Any], where: str) -> None:
    """Refuse token ids that are not of an engine's tokenizer, with the record that shows it.

    Raises:
        EngineError: the first record that does not fit.
    """
    from guerdon.intrinsic.scoring import check_ids

    if "tokens" not in chunk.columns.tokens:
        return
    names = [f"{where} {number}" for number in chunk.numbers]
    rollouts = None
    for engine in reading_engines(rewards, engines):
        if rollouts is None:
            rollouts = chunk.rollouts(np.arange(len(chunk)), None)
        if rollouts.tokens is not None:
            check_ids(engine, rollouts, names)
