"""Decoding with a lab model: rows of one context share its keys and values, read once per group.

Enters: contexts, then one token per row and step. Leaves: logits. Reading keys and values is what a step
spends its time on, so the context's are not copied per row: a group's queries are stacked instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from guerdon.data.ragged import Ragged
from guerdon.engines.lab_attention import NEVER
from guerdon.engines.packing import pack, put, unique_contexts
from guerdon.engines.policy import Contexts

if TYPE_CHECKING:
    from guerdon.engines.lab import LabEngine


class KeyValueCache:
    """Keys and values of V groups of G rows, row-major: row v * G + g.

    Attributes:
        context: (layers, 2, V * heads, P, D) of the groups' contexts, right-padded.
        absent: (V * heads, 1, P) additive mask of the padding, or None.
        own: (layers, 2, V, heads, G, steps, D) of the rows' new tokens.
        used: filled columns of `own`.
    """

    def __init__(self, context: torch.Tensor, absent: torch.Tensor | None, own: torch.Tensor) -> None:
        self.context, self.absent, self.own = context, absent, own
        self.used = 0

    @property
    def groups(self) -> tuple[int, int]:
        """(V, G)."""
        return self.own.shape[2], self.own.shape[4]

    def attend(self, layer: int, fused: torch.Tensor) -> torch.Tensor:
        """Append the keys and values of fused (V * G, 3 * heads * D); attention output (V * G, heads * D)."""
        _, _, v, heads, g, _, width = self.own.shape
        parts = fused.view(v, g, 3, heads, width).permute(2, 0, 3, 1, 4)
        self.own[layer, ..., self.used, :] = parts[1:]
        tall = (parts[0] * width**-0.5).contiguous().view(v * heads, g, width)
        key, value = self.context[layer]
        to_context = (
            torch.bmm(tall, key.mT) if self.absent is None else torch.baddbmm(self.absent, tall, key.mT)
        )
        own_key, own_value = self.own[layer, ..., : self.used + 1, :].flatten(1, 3)
        to_own = torch.bmm(tall.view(-1, 1, width), own_key.mT)
        scores = torch.cat([to_context.flatten(0, 1), to_own.squeeze(1)], dim=1)
        probs = torch.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)
        seen = key.shape[1]
        out = torch.bmm(probs[:, :seen].unflatten(0, (v * heads, g)), value).view(-1, 1, width)
        out = out.baddbmm_(probs[:, seen:].unsqueeze(1), own_value)
        return out.view(v, heads, g, width).transpose(1, 2).reshape(v * g, heads * width)

    def worth_keeping(self, running: np.ndarray) -> np.ndarray:
        """Rows to keep so that equal groups remain, i.e. with some that have ended; all others may go.

        Where that would keep too many, only the running rows, each as its own group.
        """
        by_group = running.reshape(self.groups)
        counts = by_group.sum(axis=1)
        alive = np.flatnonzero(counts)
        if len(alive) * counts.max(initial=0) > 2 * counts.sum():
            return np.flatnonzero(running)
        first = np.argsort(~by_group[alive], axis=1, kind="stable")[:, : counts.max(initial=0)]
        return np.sort(alive[:, None] * self.groups[1] + first, axis=1).reshape(-1)

    def keep(self, rows: np.ndarray) -> None:
        """Forget all rows but these (grouped, in order)."""
        group, member = np.divmod(rows, self.groups[1])
        distinct, counts = np.unique(group, return_counts=True)
        if (counts == counts[0]).all():
            group, member = group.reshape(len(distinct), -1), member.reshape(len(distinct), -1)
        else:
            distinct, group, member = group, group[:, None], member[:, None]
        device, (*lead, _, heads, _, steps, width) = self.own.device, self.own.shape
        filled = self.own[..., : self.used, :][:, :, put(group, device), :, put(member, device)]
        own = self.own.new_empty((*lead, len(group), heads, group.shape[1], steps, width))
        own[..., : self.used, :] = filled.permute(2, 3, 0, 4, 1, 5, 6)
        chosen = put(distinct, device)
        self.own = own
        self.context = self.context.unflatten(2, (-1, heads))[:, :, chosen].flatten(2, 3)
        if self.absent is not None:
            self.absent = self.absent.unflatten(0, (-1, heads))[chosen].flatten(0, 1)


class LabDecoder:
    """A lab model over the rows of one batch, one per context."""

    def __init__(self, engine: LabEngine, contexts: Contexts, steps: int) -> None:
        self._engine, self._steps = engine, steps
        self._unique, self._owner = unique_contexts(contexts)
        lengths = np.array([len(c) for c in contexts], dtype=np.int64)
        self._positions = put(lengths, engine.device)
        self._cache: KeyValueCache

    def prefill(self) -> torch.Tensor:
        """Logits after every row's context; each unique context is computed once."""
        engine, heads = self._engine, self._engine.config.heads
        nothing = Ragged.from_lengths(np.empty(0, np.int32), np.zeros(len(self._unique), np.int64))
        packed = pack(self._unique, nothing, engine.device)
        kept: list[torch.Tensor] = []
        hidden = engine.model(packed, keep=kept)
        places = put(packed.contexts.tokens, engine.device)
        by_layer = [rows[places].unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4) for rows in kept]
        context = torch.stack(by_layer).flatten(2, 3)
        absent = None
        if not packed.contexts.present.all():
            hidden_places = np.where(packed.contexts.present, 0.0, NEVER).repeat(heads, axis=0)[:, None]
            absent = torch.from_numpy(hidden_places).to(engine.device, context.dtype)
        self._cache = self._grouped(context, absent)
        return engine.logits(hidden[-len(self._unique) :])[put(self._owner, engine.device)]

    def _grouped(self, context: torch.Tensor, absent: torch.Tensor | None) -> KeyValueCache:
        """Groups are the rows of a context where they are contiguous and equally many, else single rows."""
        v, rows = len(self._unique), len(self._owner)
        if not np.array_equal(self._owner, np.arange(v).repeat(rows // v)[:rows]) or rows % v:
            owner = put(self._owner, context.device)
            heads = context.shape[2] // v
            context = context.unflatten(2, (v, heads))[:, :, owner].flatten(2, 3)
            absent = None if absent is None else absent.unflatten(0, (v, heads))[owner].flatten(0, 1)
            v = rows
        heads = context.shape[2] // v
        shape = (*context.shape[:2], v, heads, rows // v, self._steps, context.shape[-1])
        return KeyValueCache(context, absent, context.new_empty(shape))

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits after one more token per row."""
        hidden = self._engine.model.step(tokens, self._positions, self._cache)
        self._positions = self._positions + 1
        return self._engine.logits(hidden)

    def worth_keeping(self, running: np.ndarray) -> np.ndarray:
        """Rows to keep where only `running` ones matter."""
        return self._cache.worth_keeping(running)

    def keep(self, rows: np.ndarray) -> None:
        """Drop all rows but these."""
        self._cache.keep(rows)
        self._positions = self._positions[put(rows, self._positions.device)]
