"""The three operations of the lab model whose built-in backward passes waste time, with hand-written ones.

On a CPU these are bound by memory: each extra pass over the activations costs as much as the arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


class RMSNorm(torch.autograd.Function):
    """y = w * x / sqrt(mean(x^2) + eps) over the last axis; x (N, D), w (D,).

    With r = 1 / rms:  dx = r w g - x r^3 / D * sum(w g x),  dw = sum_n r g x.

    Reference: Zhang, Sennrich, Root Mean Square Layer Normalization, arXiv 1910.07467.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().mul_(1.0 / x.shape[-1])
        inverse = mean_square.add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        x, weight, inverse = ctx.saved_tensors
        product = grad * x
        projection = torch.mv(product, weight).unsqueeze(1).mul_(inverse.pow(3)).mul_(-1.0 / x.shape[-1])
        grad_weight = torch.mv(product.t(), inverse.squeeze(1))
        return (grad * weight).mul_(inverse).addcmul_(x, projection), grad_weight, None


class SwiGLU(torch.autograd.Function):
    """silu(gate) * up for a fused projection (N, 2F) = [gate | up]  ->  (N, F).

    Reference: Shazeer, GLU Variants Improve Transformer, arXiv 2002.05202.
    """

    @staticmethod
    def forward(ctx: Any, fused: torch.Tensor) -> torch.Tensor:
        gate, up = fused.chunk(2, dim=-1)
        ctx.save_for_backward(fused)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (fused,) = ctx.saved_tensors
        gate, up = fused.chunk(2, dim=-1)
        out = torch.empty_like(fused)
        grad_gate, grad_up = out.chunk(2, dim=-1)
        torch.mul(grad, F.silu(gate), out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=grad_gate)
        return out


class Rotary(torch.autograd.Function):
    """Rotate the first `heads` heads of x (N, heads' * D) in place by per-token angles.

    Pairs (2i, 2i+1) are one complex number multiplied by e^{i angle}: one pass over memory. The weights
    are stored accordingly and are reordered to Hugging Face's half-rotation layout on export.

    Args:
        x: (N, heads' * D) float32 or lower, not a view: autograd would copy it.
        phase: complex64 (N, D / 2), e^{i angle} of every token.
        heads: how many of the leading heads turn (queries and keys, not values).

    Reference: Su et al., RoFormer, arXiv 2104.09864.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, phase: torch.Tensor, heads: int) -> torch.Tensor:
        ctx.mark_dirty(x)
        ctx.heads, ctx.phase = heads, phase
        rotate_(x, phase, heads)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        # the gradient is a fresh tensor of PackedAttention's, nobody else reads it
        return rotate_(grad.contiguous(), ctx.phase.conj(), ctx.heads), None, None


def rotate_(x: torch.Tensor, phase: torch.Tensor, heads: int) -> torch.Tensor:
    """In-place rotation of the leading heads; see Rotary."""
    turning = x[:, : 2 * heads * phase.shape[1]].unflatten(-1, (heads, -1, 2))
    if x.dtype == torch.float32:
        torch.view_as_complex(turning).mul_(phase.unsqueeze(1))
    else:
        turned = torch.view_as_complex(turning.float()) * phase.unsqueeze(1)
        turning.copy_(torch.view_as_real(turned))
    return x


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """RMSNorm without building a graph where none is needed."""
    if torch.is_grad_enabled():
        return RMSNorm.apply(x, weight, eps)
    return F.rms_norm(x, weight.shape, weight, eps)


def swiglu(fused: torch.Tensor) -> torch.Tensor:
    """SwiGLU without building a graph where none is needed."""
    if torch.is_grad_enabled():
        return SwiGLU.apply(fused)
    gate, up = fused.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


def add_linear(x: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x + inputs W^T; in one call unless autocast lowers the product, when x keeps its float32."""
    if x.is_cpu and inputs.dtype == x.dtype:
        return torch.addmm(x, inputs, weight.t())
    return x + F.linear(inputs, weight)
