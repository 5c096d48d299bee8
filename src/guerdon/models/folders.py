"""Learned models on disk: `model.json`, safetensors for the weights, and the engines they read with.

    runs/prm/model.json            format, kind and settings: plain JSON
    runs/prm/head.safetensors      weights of the heads
    runs/prm/trunk/                the engine, a folder transformers can load
    runs/prm/reference/            (implicit) the frozen reference
    runs/prm/optimizer.safetensors (checkpoints) AdamW's state

Nothing is pickled: loading a model runs no code from its folder.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from pathlib import Path
from typing import Any

from guerdon.errors import EngineError, StoreError
from guerdon.registry import nearest

CONFIG_FILE = "model.json"
FORMAT = 1
KINDS = {
    "critic": "guerdon.models.critic:TokenCritic",
    "implicit": "guerdon.models.implicit:ImplicitPRM",
    "progress": "guerdon.models.progress:ProgressEstimator",
    "step_classifier": "guerdon.models.step_classifier:StepClassifier",
    "utterance_critic": "guerdon.models.utterance_critic:UtteranceCritic",
    "verifier": "guerdon.models.verifier:GenerativeVerifier",
}


def save(model: Any, path: str | Path) -> Path:
    """Write a model; a model that is there already is replaced, anything else is left alone.

    Raises:
        StoreError: the path holds something that is no model, or the disk refuses.
    """
    from guerdon.store.atomic import atomic_folder, remove, store_errors

    target = Path(path)
    if target.exists() and not (target / CONFIG_FILE).is_file():
        raise StoreError(f"{target} exists and holds no model ({CONFIG_FILE}): choose another folder")
    fresh, stale = target.with_name(target.name + ".new"), target.with_name(target.name + ".old")
    for leftover in (fresh, stale):
        if leftover.exists():
            remove(leftover)
    with atomic_folder(fresh, f"the model {target.name}") as folder:
        model.write(folder)
    with store_errors(f"the model {target.name}", target):
        if target.exists():
            os.replace(target, stale)
        os.replace(fresh, target)
        if stale.exists():
            remove(stale)
    return target


def load(
    path: str | Path,
    online: bool = False,
    engine: Any = None,
    device: str | None = None,
    tokenizer: Any = None,
    policy: Any = None,
) -> Any:
    """A model saved by `save`, ready to score: call it with rollouts.

    Args:
        online: whether a training loop goes on training it, with its saved settings.
        engine: an engine of the same shape to put the weights into; default: one is built from the folder.
        device: where; default: the policy's device where a recipe builds the model, else "auto".
        tokenizer: needed where the trunk was trained with a tokenizer of your own.
        policy: the policy of the run, given by the loop.

    Raises:
        StoreError: no model there, or one of a later format or unknown kind.
    """
    folder = Path(path)
    config = read_config(folder)
    where = device or (str(policy.device) if policy is not None else "auto")
    trunk = engine if engine is not None else open_engine(folder / "trunk", where, tokenizer)
    module, name = KINDS[config["kind"]].split(":")
    model = getattr(importlib.import_module(module), name)(trunk, **config["settings"])
    model.read(folder)
    model.version, model.online = digest_of(folder), online
    return model


def digest_of(folder: Path) -> str:
    """16 hexadecimal digits of everything in the folder: the version of a model's verdicts."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """Kind and settings of a saved model; see `load`."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        kind, settings, version = config["kind"], config["settings"], int(config["format"])
    except FileNotFoundError as error:
        raise StoreError(
            f"there is no model at {folder}: expected {CONFIG_FILE}, as save() writes it"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{folder / CONFIG_FILE} is damaged ({error!r}); was a copy cut short?") from error
    if version > FORMAT:
        raise StoreError(f"{folder} has format {version}, this guerdon reads up to {FORMAT}: update guerdon")
    if kind not in KINDS:
        raise StoreError(f"{folder}: unknown kind of model {kind!r}{nearest(str(kind), KINDS)}")
    if not isinstance(settings, dict):
        raise StoreError(f"{folder / CONFIG_FILE}: settings must be a mapping, got {type(settings).__name__}")
    return config


def write_config(model: Any, folder: Path) -> None:
    """Write `model.json`."""
    config = {"format": FORMAT, "kind": model.kind, "settings": model.settings}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def open_engine(folder: Path, device: str = "auto", tokenizer: Any = None) -> Any:
    """The engine whose `save` wrote this folder: a lab model, a transformers model or LoRA adapters.

    Raises:
        EngineError: the folder holds none of these.
    """
    if (folder / "adapter_config.json").is_file():
        return _with_adapters(folder, device, tokenizer)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{folder} holds no engine: {error}") from error
    if is_lab(folder, config):
        from guerdon.engines.lab import LabEngine

        return LabEngine(init=folder, device=device, tokenizer=tokenizer)
    from guerdon.engines.hf import HFEngine

    return HFEngine(model=folder, device=device, tokenizer=tokenizer)


def is_lab(folder: Path, config: dict[str, Any]) -> bool:
    """Whether a lab engine wrote the folder (else transformers did)."""
    return "transformers_version" not in config and config.get("model_type") == "llama"


def _with_adapters(folder: Path, device: str, tokenizer: Any) -> Any:
    from guerdon.engines.hf import HFEngine

    adapters = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    lora = {
        "r": adapters["r"],
        "alpha": adapters["lora_alpha"],
        "target_modules": adapters["target_modules"],
    }
    base = adapters["base_model_name_or_path"]
    words = tokenizer if tokenizer is not None else folder
    return HFEngine(model=base, tokenizer=words, lora=lora, init=folder, device=device)
