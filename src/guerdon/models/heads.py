"""Heads: from a policy's hidden state to a value, a score or the logits of a class."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from guerdon.errors import RecipeError

ACTIVATIONS = {"silu": nn.SiLU, "relu": nn.ReLU}


class Head(nn.Module):
    """Linear layers with an activation between them, drawn from a seed.

    Args:
        width: of the states.
        outputs: numbers per state.
        hidden: widths of the layers in between; none makes the head linear.
        activation: "silu" or "relu".
        seed: of the weights; the global generator is not touched.
        zero: start the last layer at 0, so that an untrained value is 0 everywhere.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        hidden: Sequence[int] = (),
        activation: str = "silu",
        seed: int = 0,
        zero: bool = False,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise RecipeError(f"activation: got {activation!r}, expected {' or '.join(ACTIVATIONS)}")
        sizes = [width, *hidden, outputs]
        generator = torch.Generator().manual_seed(seed)
        layers: list[nn.Module] = []
        for at, (before, after) in enumerate(pairwise(sizes)):
            layer = nn.utils.skip_init(nn.Linear, before, after)
            nn.init.zeros_(layer.bias)
            if zero and at == len(sizes) - 2:
                nn.init.zeros_(layer.weight)
            else:
                nn.init.normal_(layer.weight, std=before**-0.5, generator=generator)
            layers += [layer] if at == 0 else [ACTIVATIONS[activation](), layer]
        self.layers = nn.Sequential(*layers)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """States (M, width) to outputs (M, outputs), float32."""
        return self.layers(states)
