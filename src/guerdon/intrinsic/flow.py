"""A flow field over hidden states: how far a latent is from where good reasoning would have gone.

Enters: hidden states of consecutive tokens. Leaves: a velocity net, its loss, deviations per token, and the
sparse penalty made from them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from guerdon.data.kernels import segment_reduce
from guerdon.errors import RecipeError


class FlowField(nn.Module):
    """v(x, t, c): velocity of a state at time t under the state before it, and its layer.

    Residual blocks whose norm is scaled and shifted by an embedding of (t, c, layer); the output starts at 0.

    Args:
        width: D. hidden: width of the blocks. blocks: their number. layers: hooked layers.
    """

    def __init__(self, width: int, hidden: int = 128, blocks: int = 6, layers: int = 1) -> None:
        super().__init__()
        self.inside = nn.Linear(width, hidden)
        self.condition = nn.Linear(width, hidden)
        self.time = nn.Sequential(nn.Linear(1, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.layer = nn.Embedding(layers, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, elementwise_affine=False) for _ in range(blocks))
        self.modulation = nn.ModuleList(nn.Linear(hidden, 3 * hidden) for _ in range(blocks))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
            for _ in range(blocks)
        )
        self.outside = nn.Linear(hidden, width)
        nn.init.zeros_(self.outside.weight)
        nn.init.zeros_(self.outside.bias)

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor, layer: int = 0
    ) -> torch.Tensor:
        """x, condition: (M, D); t: (M,). Returns (M, D)."""
        index = torch.full((len(x),), layer, dtype=torch.long, device=x.device)
        seen = torch.nn.functional.silu(
            self.time(t[:, None]) + self.condition(condition.detach()) + self.layer(index)
        )
        state = self.inside(x)
        for norm, modulation, block in zip(self.norms, self.modulation, self.blocks, strict=True):
            shift, scale, gate = modulation(seen).chunk(3, dim=-1)
            state = state + gate * block(norm(state) * (1 + scale) + shift)
        return self.outside(state)


def between(h: torch.Tensor, e: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x_t = t h + (1 - t) e and its velocity u = h - e. h, e: (M, D); t: (M,) or a number."""
    t = torch.as_tensor(t, dtype=h.dtype, device=h.device).reshape(-1, 1)
    return t * h + (1 - t) * e, h - e


def velocity_error(v: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """mean over the D numbers of (v - u)^2, (M,)."""
    return ((v - u) ** 2).mean(dim=-1)


def flow_loss(
    field: FlowField, h: torch.Tensor, condition: torch.Tensor, generator: torch.Generator, layer: int = 0
) -> torch.Tensor:
    """Flow matching: E over t ~ U[0, 1] and e ~ N(0, I) of mean (v(x_t, t, c) - u)^2; a scalar."""
    t = torch.rand(len(h), generator=generator).to(h)
    e = torch.randn(h.shape, generator=generator).to(h)
    x, u = between(h, e, t)
    return velocity_error(field(x, t, condition, layer), u).mean()


def deviation(
    field: FlowField,
    h: torch.Tensor,
    condition: torch.Tensor,
    times: Sequence[float] = (0.8,),
    seed: int = 0,
    draws: int = 1,
    layer: int = 0,
) -> torch.Tensor:
    """s = mean over times and noises of t/(1-t) mean (v(x_t, t, c) - u)^2, (M,), without gradients.

    Args:
        times: in (0, 1). seed: of the noise; equal inputs have equal scores.

    Raises:
        RecipeError: a time outside (0, 1).
    """
    if not times or any(not 0.0 < t < 1.0 for t in times):
        raise RecipeError(f"times: expected numbers in (0, 1), got {list(times)}")
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(len(h), dtype=h.dtype, device=h.device)
    with torch.no_grad():
        for t in times:
            for _ in range(draws):
                e = torch.randn(h.shape, generator=generator).to(h)
                time = torch.full((len(h),), t, dtype=h.dtype, device=h.device)
                x, u = between(h, e, time)
                total += t / (1 - t) * velocity_error(field(x, time, condition, layer), u)
    return total / (len(times) * draws)


def min_max(scores: np.ndarray, offsets: np.ndarray, release: bool = False) -> np.ndarray:
    """(s - min) / (max - min) inside every row, 0 for a flat one; NaN is left out.

    Args:
        release: subtract the second smallest distinct value where a row has one, as the released code does.
    """
    low = segment_reduce(scores, offsets, "min", skip_missing=True)
    high = segment_reduce(scores, offsets, "max", skip_missing=True)
    if release:
        row = np.repeat(np.arange(len(low)), np.diff(offsets))
        above = np.where(scores > low[row], scores, np.nan)
        second = segment_reduce(above, offsets, "min", skip_missing=True)
        low = np.where(np.isnan(second), low, second)
    low, high = (np.repeat(edge, np.diff(offsets)) for edge in (low, high))
    width = high - low
    out = np.divide(scores - low, width, out=np.zeros(len(scores)), where=width > 0)
    return np.where(np.isnan(scores), np.nan, out)


def sparse(scores: np.ndarray, offsets: np.ndarray, threshold: float = 0.6, top_k: int = 15) -> np.ndarray:
    """Scores strictly above the threshold, at most the k largest of a row; 0 elsewhere and for NaN."""
    kept = np.where(np.nan_to_num(scores, nan=-np.inf) > threshold, scores, 0.0)
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((-kept, row))
    rank = np.empty(len(kept), np.int64)
    rank[order] = np.arange(len(kept)) - offsets[:-1][row[order]]
    return np.where(rank < top_k, kept, 0.0)
