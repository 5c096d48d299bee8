"""Attention over a packed batch: contexts among themselves, completions to their context and their past.

Enters: fused queries, keys and values of the flat tokens. Leaves: attention output of the flat tokens.
The completions of a group are stacked into one tall query matrix, so the keys and values of their
context are read once, never copied per completion, and its gradient is summed by the matrix product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from guerdon.engines.packing import Packed, Padded, put

NEVER = -1e9
"""Additive mask value: exp underflows to 0, yet a fully masked row stays finite."""


class _Rows:
    """Index tables between flat tokens (N, 3 * heads * D) and padded rows of one head each.

    Attributes:
        shape: of the padded tokens with heads in front of the last axes, e.g. (U, heads, P).
        gather: (3 * places,) flat rows of queries, keys and values in padded order.
        result: (tokens * heads,) padded place of each flat output row.
        give_back: (tokens * 3 * heads,) padded place of each flat gradient row.
        spread: (places,) flat output row of each padded place.
        present: float (places, 1), or None where nothing is padded.
    """

    def __init__(self, table: Padded, heads: int, first: int, device: torch.device) -> None:
        head, parts = np.arange(heads), np.arange(3)
        outer, *inner = table.tokens.shape
        self.shape = (outer, heads, *inner)
        extra = (1,) * len(inner)
        tokens = table.tokens[:, None]
        by_head = head.reshape(1, heads, *extra)
        flat = tokens * (3 * heads) + by_head
        places = int(np.prod(self.shape))
        self.gather = put((flat + (parts * heads).reshape(3, *(1,) * flat.ndim)).reshape(-1), device)
        self.spread = put(((tokens - first) * heads + by_head).clip(0).reshape(-1), device)
        within = np.ravel_multi_index(tuple(table.place[:, 1:].T), tuple(inner))
        place = (table.place[:, :1] * heads + head) * int(np.prod(inner)) + within[:, None]
        self.result = put(place.reshape(-1), device)
        self.give_back = put((place[:, None, :] + places * parts[:, None]).reshape(-1), device)
        self.present: torch.Tensor | None = None
        if not table.present.all():
            full = np.broadcast_to(table.present[:, None], self.shape).reshape(-1, 1)
            self.present = torch.from_numpy(full.astype(np.float32)).to(device)

    def outputs_to_padded(self, flat: torch.Tensor) -> torch.Tensor:
        """Gradients of flat output rows in padded order, zero where padded."""
        padded = flat.index_select(0, self.spread)
        return padded if self.present is None else padded.mul_(self.present)


class AttentionPlan:
    """Tables and masks of a packed batch, shared by all layers."""

    def __init__(self, packed: Packed, heads: int, dtype: torch.dtype) -> None:
        device = packed.ids.device
        self.heads = heads
        self.n_context = len(packed.contexts.place)
        self.contexts = _Rows(packed.contexts, heads, 0, device)
        self.context_mask = _causal(packed.contexts.tokens.shape[1], dtype, device)
        self.completions: _Rows | None = None
        if packed.completions is None:
            return
        self.completions = _Rows(packed.completions, heads, self.n_context, device)
        self.causal = _causal(packed.completions.tokens.shape[2], dtype, device)
        owners, contexts = packed.group_context, packed.contexts
        alone = len(owners) == len(contexts.tokens)
        self.owner = None if alone else put(owners, device)
        self.absent: torch.Tensor | None = None
        if not contexts.present.all():
            absent = np.where(contexts.present[owners], 0.0, NEVER).astype(np.float32)
            by_head = np.repeat(absent, heads, axis=0)[:, None, :]
            self.absent = torch.from_numpy(by_head).to(device, dtype)

    def of_groups(self, rows: torch.Tensor) -> torch.Tensor:
        """Context rows (U * heads, P, D) as the groups see them (V * heads, P, D)."""
        if self.owner is None:
            return rows
        return rows.unflatten(0, (-1, self.heads))[self.owner].flatten(0, 1)

    def to_contexts(self, rows: torch.Tensor, total: torch.Tensor) -> None:
        """Add what the groups give back (V * heads, P, D) to `total` (U * heads, P, D)."""
        if self.owner is None:
            total.add_(rows)
        else:
            by_group = rows.unflatten(0, (-1, self.heads))
            total.unflatten(0, (-1, self.heads)).index_add_(0, self.owner, by_group)


def _causal(size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.full((1, size, size), NEVER, dtype=dtype, device=device).triu_(1)


def attend(fused: torch.Tensor, plan: AttentionPlan) -> torch.Tensor:
    """softmax(q k^T / sqrt(D)) v for every flat token; fused (N, 3 * heads * D) -> (N, heads * D)."""
    return PackedAttention.apply(fused, plan)


class PackedAttention(torch.autograd.Function):
    """See `attend`. All products are batched matrix products on contiguous rows.

    With A = softmax(S):  dV = A' dO,  dS = A * (dA - sum(dA * A)),  dQ = dS K,  dK = dS' Q.
    """

    @staticmethod
    def forward(ctx: Any, fused: torch.Tensor, plan: AttentionPlan) -> torch.Tensor:
        width, split = fused.shape[1] // (3 * plan.heads), plan.n_context * plan.heads
        flat = fused.view(-1, width)
        out = fused.new_empty(len(fused) * plan.heads, width)
        query, key, value = _gathered(flat, plan.contexts)
        probs = _softmax(torch.baddbmm(plan.context_mask, query, key.mT))
        attended = torch.bmm(probs, value).view(-1, width)
        torch.index_select(attended, 0, plan.contexts.result, out=out[:split])
        saved = [query, key, value, probs]
        if plan.completions is not None:
            more, attended = _completions_forward(flat, plan, plan.completions, key, value)
            torch.index_select(attended, 0, plan.completions.result, out=out[split:])
            saved += more
        ctx.plan = plan
        ctx.save_for_backward(*saved)
        return out.view(len(fused), -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        plan, (query, key, value, probs, *more) = ctx.plan, ctx.saved_tensors
        width, split = query.shape[-1], plan.n_context * plan.heads
        flat = grad.reshape(-1, width)
        out = flat.new_empty(len(flat) * 3, width)
        d_out = plan.contexts.outputs_to_padded(flat[:split]).view_as(query)
        d_rows = torch.empty((3, *query.shape), dtype=query.dtype, device=query.device)
        d_scores = _softmax_backward(torch.bmm(d_out, value.mT), probs)
        torch.bmm(d_scores, key, out=d_rows[0]).mul_(width**-0.5)
        torch.bmm(d_scores.mT, query, out=d_rows[1])
        torch.bmm(probs.mT, d_out, out=d_rows[2])
        if plan.completions is not None:
            d_own = _completions_backward(flat[split:], plan, plan.completions, more, d_rows)
            torch.index_select(d_own, 0, plan.completions.give_back, out=out[3 * split :])
        torch.index_select(d_rows.view(-1, width), 0, plan.contexts.give_back, out=out[: 3 * split])
        return out.view(len(grad), -1), None


def _gathered(flat: torch.Tensor, rows: _Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries (scaled), keys, values, each (rows * heads, length, D)."""
    width = flat.shape[-1]
    query, key, value = flat.index_select(0, rows.gather).view(3, -1, rows.shape[-1], width)
    return query.mul_(width**-0.5), key, value


def _completions_forward(
    flat: torch.Tensor, plan: AttentionPlan, rows: _Rows, key: torch.Tensor, value: torch.Tensor
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What backward needs, and the output (places, D). `tall` stacks the completions of a group."""
    own_query, own_key, own_value = _gathered(flat, rows)
    tall = own_query.view(rows.shape[0] * plan.heads, -1, flat.shape[-1])
    key, value = plan.of_groups(key), plan.of_groups(value)
    to_context = torch.bmm(tall, key.mT) if plan.absent is None else torch.baddbmm(plan.absent, tall, key.mT)
    to_own = torch.baddbmm(plan.causal, own_query, own_key.mT)
    probs = _softmax(torch.cat([to_context.flatten(0, 1), to_own.flatten(0, 1)], dim=1))
    context_probs, own_probs = _split(probs, tall, own_query, key.shape[1])
    out = torch.bmm(context_probs, value).view_as(own_query).baddbmm_(own_probs, own_value)
    return [own_query, own_key, own_value, key, value, probs], out.view(-1, flat.shape[-1])


def _completions_backward(
    flat: torch.Tensor, plan: AttentionPlan, rows: _Rows, saved: list[torch.Tensor], d_context: torch.Tensor
) -> torch.Tensor:
    """Gradients (3 * places, D) of the completions; what reaches the contexts is added to `d_context`."""
    own_query, own_key, own_value, key, value, probs = saved
    tall = own_query.view(rows.shape[0] * plan.heads, -1, own_query.shape[-1])
    context_probs, own_probs = _split(probs, tall, own_query, key.shape[1])
    d_out = rows.outputs_to_padded(flat).view_as(own_query)
    d_tall = d_out.view_as(tall)
    to_context, to_own = torch.bmm(d_tall, value.mT), torch.bmm(d_out, own_value.mT)
    d_scores = _softmax_backward(torch.cat([to_context.flatten(0, 1), to_own.flatten(0, 1)], dim=1), probs)
    d_context_scores, d_own_scores = _split(d_scores, tall, own_query, key.shape[1])
    out = torch.empty((3, *own_query.shape), dtype=own_query.dtype, device=own_query.device)
    torch.bmm(d_own_scores, own_key, out=out[0])
    out[0].view_as(tall).baddbmm_(d_context_scores, key).mul_(own_query.shape[-1] ** -0.5)
    torch.bmm(d_own_scores.mT, own_query, out=out[1])
    torch.bmm(own_probs.mT, d_out, out=out[2])
    plan.to_contexts(torch.bmm(d_context_scores.mT, tall), d_context[1])
    plan.to_contexts(torch.bmm(context_probs.mT, d_tall), d_context[2])
    return out.view(-1, own_query.shape[-1])


def _split(
    scores: torch.Tensor, tall: torch.Tensor, own: torch.Tensor, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(places, P + T) as (V * heads, G * T, P) and (V * heads * G, T, T), without copying."""
    context = scores[:, :width].unflatten(0, tall.shape[:2])
    return context, scores[:, width:].unflatten(0, own.shape[:2])


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)


def _softmax_backward(grad: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    return torch.ops.aten._softmax_backward_data(grad, probs, -1, probs.dtype)
