"""From prompts to rollouts: who continues from what, with which uniform numbers, under which limits.

Enters: an engine, prompts, prefixes. Leaves: Rollouts ordered prompt by prompt, draw by draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.engines.generation import Drawn, decode_in_batches
from guerdon.engines.protocol import Prompt, Sampling
from guerdon.engines.seeds import context_key, uniforms
from guerdon.errors import EngineError

if TYPE_CHECKING:
    from guerdon.engines.torch_engine import TorchEngine


def draw(
    engine: TorchEngine,
    prompts: Sequence[Prompt],
    n: int,
    sampling: Sampling,
    prefix: Sequence[Sequence[int]] | None,
    group: Sequence[int] | None,
    draws: Sequence[int] | None = None,
) -> Rollouts:
    """Sample n completions per prompt; see `TorchEngine.generate`."""
    given = [()] * len(prompts) if prefix is None else [tuple(map(int, row)) for row in prefix]
    labels = np.arange(len(prompts)) if group is None else np.asarray(group, dtype=np.int64)
    counted = len(prompts) if draws is None else len(draws)
    if n < 1 or {len(given), len(labels), counted} - {len(prompts)}:
        raise EngineError(
            f"generate needs n >= 1 and one prefix, group and draw number per prompt; got n={n}, "
            f"{len(prompts)} prompts, {len(given)} prefixes, {len(labels)} groups, {counted} draws"
        )
    ids = [engine.prompt_ids(prompt) for prompt in prompts]
    contexts = [a + b for a, b in zip(ids, given, strict=True)]
    check_room(contexts, prompts, engine.context, at_least=1)
    rows = [at for at in range(len(prompts)) for _ in range(n)]
    room = engine.context - np.array([len(c) for c in contexts], dtype=np.int64)
    limits = np.repeat(np.minimum(sampling.max_new_tokens, room), n)
    with torch.inference_mode(), engine.precision():
        drawn = decode_in_batches(
            engine.decoder,
            [contexts[row] for row in rows],
            _uniform_table(sampling.seed, ids, given, n, int(limits.max(initial=0)), draws),
            limits,
            engine.cache_tokens,
            sampling,
            engine.tokenizer,
            engine.stop_ids,
            engine.device,
        )
    repeated = [prompts[row] for row in rows], [given[row] for row in rows]
    return _rollouts(drawn, *repeated, np.repeat(labels, n), engine)


def check_room(
    contexts: Sequence[Sequence[int]], prompts: Sequence[Prompt], limit: int, at_least: int | np.ndarray
) -> None:
    """Refuse contexts that leave no room for their completions.

    Args:
        at_least: tokens each context must be followed by.

    Raises:
        EngineError: names the first prompt that is too long, its length and the limit.
    """
    needed = np.array([len(c) for c in contexts], dtype=np.int64)
    for at in np.flatnonzero(needed + at_least > limit)[:1].tolist():
        after = int(np.broadcast_to(at_least, needed.shape)[at])
        raise EngineError(
            f"prompt {at} ({str(prompts[at])[:40]!r}) has {needed[at]} tokens and must be followed by "
            f"{after}, but the context holds {limit}: shorten it or take an engine with a longer context"
        )


def _uniform_table(
    seed: int,
    ids: Sequence[tuple[int, ...]],
    given: Sequence[tuple[int, ...]],
    n: int,
    steps: int,
    numbers: Sequence[int] | None,
) -> np.ndarray:
    """float64 (prompts * n, steps). A context met before in this call continues its draw numbers.

    Args:
        numbers: of the first draw of every prompt, in place of that count.
    """
    keys = np.array([context_key(seed, *pair) for pair in zip(ids, given, strict=True)], dtype=np.uint64)
    met: dict[int, int] = {}
    first = np.zeros(len(keys), dtype=np.int64)
    for at, key in enumerate(keys.tolist()):
        first[at] = met.get(key, 0) if numbers is None else numbers[at]
        met[key] = int(first[at]) + n
    draws = (first[:, None] + np.arange(n)).reshape(-1, 1)
    start = np.repeat([len(row) for row in given], n).astype(np.int64)
    return uniforms(np.repeat(keys, n)[:, None], draws, start[:, None] + np.arange(steps))


def _rollouts(
    drawn: Drawn, prompts: list[Prompt], given: list[tuple[int, ...]], group: np.ndarray, engine: Any
) -> Rollouts:
    """Put the given prefixes in front of the new tokens and decode."""
    tokens, logprobs, entropy = drawn.tokens, drawn.logprobs, drawn.entropy
    acted = tokens.with_values(np.ones(tokens.total, dtype=bool))
    if any(given):
        front = Ragged.from_lists(given, dtype=np.int32)
        zeros = front.with_values(np.zeros(front.total, np.float32))
        no = front.with_values(np.zeros(front.total, bool))
        tokens, acted, logprobs = _join(front, tokens), _join(no, acted), _join(zeros, logprobs)
        entropy = None if entropy is None else _join(zeros, entropy)
    return Rollouts(
        prompt=prompts,
        completion=[engine.tokenizer.decode(row) for row in tokens.to_lists()],
        group=group,
        tokens=tokens,
        acted=acted,
        logprobs=logprobs,
        entropy=entropy,
        truncated=drawn.truncated,
    )


def _join(front: Ragged, back: Ragged) -> Ragged:
    """Row by row, front then back."""
    n = len(front)
    order = np.arange(2 * n).reshape(2, n).T.reshape(-1)
    both = Ragged.concat([front, back]).select(order)
    return Ragged(both.values, both.offsets[::2])
