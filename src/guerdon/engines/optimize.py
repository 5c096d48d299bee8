"""One optimiser step over micro-batches, refused as a whole where anything is not finite.

Enters: an engine, rollouts, a loss. Leaves: updated weights and metrics, or a TrainingError with the
weights as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from guerdon.data.ragged import Ragged
from guerdon.errors import TrainingError

SHOWN_ROWS = 8


def adamw(
    parameters: Sequence[torch.nn.Parameter],
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> torch.optim.AdamW:
    """AdamW with decay on matrices only (gains and biases have no scale to decay towards).

    Reference: Loshchilov, Hutter, Decoupled Weight Decay Regularization, arXiv 1711.05101.
    """
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=fused)


def optimizer_step(
    optimizer: torch.optim.Optimizer,
    batches: Sequence[np.ndarray],
    forward: Callable[[np.ndarray], Any],
    loss_fn: Callable[..., Any],
    tokens: Ragged,
    max_grad_norm: float | None,
    names: Sequence[str] | None = None,
) -> dict[str, float]:
    """Accumulate the gradients of all micro-batches, clip, check, step.

    Args:
        batches: rows of each micro-batch.
        forward: rows -> their token stats (or prefix states), with gradients.
        loss_fn: (stats, rows) -> (this micro-batch's share of the loss, metrics).
        tokens: of all rollouts, to tell which row a token (or prefix) belongs to.
        max_grad_norm: gradients are scaled down to this norm; None or 0 leaves them.
        names: of the rollouts, for messages.

    Returns:
        "loss" (sum over micro-batches), "grad_norm" (before clipping) and the metrics, averaged over
        micro-batches by their number of tokens.

    Raises:
        TrainingError: loss or gradient not finite; names the rollouts; the weights are unchanged.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    losses, logged = [], []
    try:
        for rows in batches:
            loss, metrics = _backward(forward, loss_fn, rows, tokens, names)
            losses.append(loss)
            logged.append((int(tokens.lengths[rows].sum()), metrics))
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm or float("inf"))
        if not torch.isfinite(norm):
            raise TrainingError(
                f"the gradient's norm is {float(norm)} although the loss is finite, in "
                f"{_listed(_diverging(parameters, batches, forward, loss_fn), names)}; {_ADVICE}"
            )
    except BaseException:
        optimizer.zero_grad(set_to_none=True)
        raise
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"loss": float(torch.stack(losses).sum()), "grad_norm": float(norm), **_averaged(logged)}


_ADVICE = "the weights are those before this step: lower the learning rate or look at these rollouts' signals"


def _backward(
    forward: Callable[[np.ndarray], Any],
    loss_fn: Callable[..., Any],
    rows: np.ndarray,
    tokens: Ragged,
    names: Sequence[str] | None,
) -> tuple[torch.Tensor, Mapping[str, Any]]:
    stats = forward(rows)
    seen: list[torch.Tensor] = []
    columns = [column for column in vars(stats).values() if column is not None]
    for column in columns:
        if column.requires_grad:
            column.register_hook(lambda grad: None if grad is None else seen.append(grad))
    loss, metrics = loss_fn(stats, rows)
    if loss.requires_grad:
        loss.backward()
    loss = loss.detach()
    if not torch.stack([torch.isfinite(x).all() for x in (loss, *seen)]).all():
        finite = [
            torch.isfinite(x.detach()).flatten(1).all(1) if x.dim() > 1 else torch.isfinite(x.detach())
            for x in (columns[0], *seen)
        ]
        bad = ~torch.stack(finite).all(dim=0)
        hit = np.unique(np.repeat(rows, tokens.lengths[rows])[bad.cpu().numpy()])
        culprits = hit if len(hit) else rows
        raise TrainingError(
            f"loss {float(loss)} with gradients not finite in {_listed(culprits, names)}; {_ADVICE}"
        )
    return loss, metrics


def _diverging(
    parameters: Sequence[torch.nn.Parameter],
    batches: Sequence[np.ndarray],
    forward: Callable[[np.ndarray], Any],
    loss_fn: Callable[..., Any],
) -> np.ndarray:
    """Rows of the micro-batches whose own gradient is not finite; all rows where only the sum overflows."""
    found = []
    for rows in batches:
        for parameter in parameters:
            parameter.grad = None
        loss_fn(forward(rows), rows)[0].backward()
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(parameters, float("inf"))):
            found.append(rows)
    return np.sort(np.concatenate(found or list(batches)))


def _listed(rows: np.ndarray, names: Sequence[str] | None) -> str:
    shown = ", ".join(names[i] if names else str(i) for i in np.sort(rows)[:SHOWN_ROWS].tolist())
    return f"rollouts {shown}" + (f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else "")


def _averaged(logged: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, float]:
    keys = dict.fromkeys(key for _, metrics in logged for key in metrics)
    out = {}
    for key in keys:
        pairs = [(count, float(metrics[key])) for count, metrics in logged if key in metrics]
        weight = sum(count for count, _ in pairs)
        out[key] = sum(c * v for c, v in pairs) / weight if weight else pairs[-1][1]
    return out
