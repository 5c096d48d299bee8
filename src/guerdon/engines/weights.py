"""Weights and optimiser state on disk: safetensors, exact to the bit.

Enters: named tensors or an AdamW optimiser. Leaves: files, and the same tensors again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from guerdon.errors import EngineError

MODEL_FILE = "model.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def write_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Save tensors; `format` is the mark transformers asks for."""
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    save_file(plain, str(path), metadata={"format": "pt"})


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Load tensors onto the CPU.

    Raises:
        EngineError: the file is missing or damaged.
    """
    if not path.is_file():
        raise EngineError(f"there are no weights at {path}: expected a folder written by an engine's save()")
    try:
        return load_file(str(path))
    except SafetensorError as error:
        raise EngineError(f"{path} is damaged ({error}); was a copy cut short?") from error


def check_shapes(given: Mapping[str, Any], expected: Mapping[str, torch.Tensor], where: str) -> None:
    """Refuse weights of another model.

    Raises:
        EngineError: a missing, unknown or differently shaped tensor; the first one is named.
    """
    missing, unknown = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"has {unknown[0]!r}, which this model lacks"
        counts = f"{len(missing)} missing, {len(unknown)} unknown"
        raise EngineError(f"{where} {what} ({counts}): is it another architecture?")
    for name, tensor in expected.items():
        if tuple(given[name].shape) != tuple(tensor.shape):
            shape = tuple(given[name].shape)
            raise EngineError(f"{where}: {name!r} has shape {shape}, this model needs {tuple(tensor.shape)}")


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: Mapping[torch.Tensor, str]
) -> dict[str, torch.Tensor]:
    """AdamW's state as `<parameter>.<moment>` tensors."""
    return {
        f"{names[parameter]}.{moment}": state[moment]
        for parameter, state in optimizer.state.items()
        for moment in _MOMENTS
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, torch.Tensor],
    names: Mapping[torch.Tensor, str],
) -> None:
    """Put back what `optimizer_tensors` took; parameters that were never stepped have no state."""
    optimizer.state.clear()
    for parameter, name in names.items():
        if f"{name}.step" not in tensors:
            continue
        state = {moment: tensors[f"{name}.{moment}"] for moment in _MOMENTS}
        for moment in ("exp_avg", "exp_avg_sq"):
            state[moment] = state[moment].to(parameter.device, copy=True)
        state["step"] = state["step"].to(parameter.device, copy=True)
        optimizer.state[parameter] = state
