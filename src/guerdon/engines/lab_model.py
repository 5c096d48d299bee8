"""The lab model: a compact decoder (RoPE, RMSNorm, SwiGLU, tied embeddings), the size of an experiment.

Enters: a packed batch (training, scoring, prefill) or one token per row (decoding). Leaves: hidden
states. Its weights map one-to-one onto transformers' LlamaForCausalLM; see `export`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from guerdon.engines.lab_attention import AttentionPlan, attend
from guerdon.engines.lab_ops import Rotary, add_linear, rms_norm, rotate_, swiglu
from guerdon.engines.packing import Packed
from guerdon.errors import RecipeError

if TYPE_CHECKING:
    from guerdon.engines.lab_decoder import KeyValueCache


@dataclass(frozen=True)
class LabConfig:
    """Shape of a lab model.

    Attributes:
        vocab_size: rows of the embedding.
        dim: width of the residual stream.
        layers, heads: depth, and attention heads per layer (dim / heads must be even).
        hidden: width of the SwiGLU layer; 0 takes 3 * dim.
        context: longest sequence, prompt and completion together.
        rope_theta, norm_eps: as in Llama.
    """

    vocab_size: int = 264
    dim: int = 128
    layers: int = 4
    heads: int = 4
    hidden: int = 0
    context: int = 512
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 0 or (value == 0 and name != "hidden"):
                raise RecipeError(f"engine.{name}: got {value!r}, expected a positive number")
        if self.dim % self.heads or (self.dim // self.heads) % 2:
            raise RecipeError(f"engine.heads: {self.heads} do not split dim {self.dim} into even widths")
        if not self.hidden:
            object.__setattr__(self, "hidden", 3 * self.dim)


class Block(nn.Module):
    """One decoder layer; query, key and value share one projection, so do gate and up."""

    def __init__(self, config: LabConfig) -> None:
        super().__init__()
        dim, hidden = config.dim, config.hidden
        self.attention_norm = nn.Parameter(torch.ones(dim))
        self.qkv = nn.Parameter(torch.empty(3 * dim, dim))
        self.out = nn.Parameter(torch.empty(dim, dim))
        self.mlp_norm = nn.Parameter(torch.ones(dim))
        self.gate_up = nn.Parameter(torch.empty(2 * hidden, dim))
        self.down = nn.Parameter(torch.empty(dim, hidden))
        self.eps = config.norm_eps
        self.shift: torch.Tensor | None = None  # (D,) added to what leaves the block; see engines.steering

    def feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, D) plus its feed-forward half."""
        gated = swiglu(F.linear(rms_norm(x, self.mlp_norm, self.eps), self.gate_up))
        x = add_linear(x, gated, self.down)
        return x if self.shift is None else x + self.shift


class LabModel(nn.Module):
    """Decoder over packed batches.

    Weights start normal with standard deviation 0.02 (0.02 / sqrt(2 layers) where they write to the
    residual stream), drawn from `seed` without touching the global generator.
    """

    phase: torch.Tensor

    def __init__(self, config: LabConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.dim // config.heads
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.dim))
        self.blocks: Any = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.Parameter(torch.ones(config.dim))
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith((".out", ".down"))
                std = 0.02 / (2 * config.layers) ** 0.5 if residual else 0.02
                nn.init.normal_(parameter, std=std, generator=generator)
        self.register_buffer("phase", _phases(config), persistent=False)

    def forward(
        self,
        packed: Packed,
        layer: int | None = None,
        keep: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Hidden states (flat tokens, D) of a packed batch.

        Args:
            layer: None for the normalised output; 0 for the embeddings, i for the output of block i.
            keep: a list that receives, per block, the keys and values of all tokens,
                (flat tokens, 2 * D).
        """
        heads = self.config.heads
        x = F.embedding(packed.ids, self.embedding)
        phase = self.phase[packed.positions]
        plan: AttentionPlan | None = None
        for block in self.blocks[:layer]:
            fused = F.linear(rms_norm(x, block.attention_norm, block.eps), block.qkv)
            fused = Rotary.apply(fused, phase, 2 * heads)
            if keep is not None:
                keep.append(fused[:, self.config.dim :])
            plan = plan or AttentionPlan(packed, heads, fused.dtype)
            x = add_linear(x, attend(fused, plan), block.out)
            x = block.feed_forward(x)
        return x if layer is not None else rms_norm(x, self.final_norm, self.config.norm_eps)

    def step(self, ids: torch.Tensor, positions: torch.Tensor, cache: KeyValueCache) -> torch.Tensor:
        """Normalised hidden states (A, D) of one new token per row, whose keys and values enter the cache.

        Args:
            ids, positions: int64 (A,).
            cache: keys and values of everything before.
        """
        heads = self.config.heads
        x = F.embedding(ids, self.embedding)
        phase = self.phase[positions]
        for index, block in enumerate(self.blocks):
            fused = F.linear(rms_norm(x, block.attention_norm, block.eps), block.qkv)
            fused = rotate_(fused, phase, 2 * heads)
            attended = cache.attend(index, fused)
            x = block.feed_forward(add_linear(x, attended, block.out))
        cache.used += 1
        return rms_norm(x, self.final_norm, self.config.norm_eps)


def _phases(config: LabConfig) -> torch.Tensor:
    """e^{i position * theta^(-2j / width)}, complex64 (context, head width / 2)."""
    width = config.dim // config.heads
    frequency = 1.0 / config.rope_theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
    angle = torch.outer(torch.arange(config.context, dtype=torch.float32), frequency)
    return torch.polar(torch.ones_like(angle), angle)
