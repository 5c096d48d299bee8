"""Sampling trees: trunks first, then continuations from some of their steps; a shared prefix is drawn once.

Enters: an engine, a world or a task with steps, a `Branch`. Leaves: Rollouts as flat sampling gives them,
each trunk followed by its continuations, with `node`: steps that were sampled once carry one id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.engines.protocol import Sampling
from guerdon.learn.branching import Branch, Plan, fork_rows, tree_nodes
from guerdon.learn.episodes import Episode, rollouts_of
from guerdon.learn.turns import advance
from guerdon.tasks.base import Problem
from guerdon.tasks.worlds import World


def grow_episodes(
    engine: Any,
    world: World,
    problems: Sequence[Problem],
    leaves: int,
    sampling: Sampling,
    branch: Branch,
    turns: int | None = None,
) -> Rollouts:
    """Trees of a world: a fork goes on from the state the trunk was in.

    Args:
        leaves: rollouts per problem; a multiple of 1 + branch.forks.
        sampling, turns: as in `turns.play`.

    Returns:
        rollouts ordered problem by problem, each trunk followed by its continuations.
    """
    sampling = _with_entropy(sampling, branch)
    trunks = branch.trunks(leaves)
    grown = [
        Episode(group, draw, [world.start(problem.meta)])
        for group, problem in enumerate(problems)
        for draw in range(trunks)
    ]
    advance(engine, world, problems, grown, sampling, turns)
    flat = rollouts_of(world, problems, grown, sampling.entropy)
    plan = fork_rows(flat, branch, flat.group, _draws(grown), trunks, sampling.seed)
    forks = [
        grown[row].fork(step, draw)
        for row, step, draw in zip(plan.trunk.tolist(), plan.step.tolist(), plan.draw.tolist(), strict=True)
    ]
    advance(engine, world, problems, forks, sampling, turns)
    order, origin, shared = plan.interleave(len(grown))
    every = [*grown, *forks]
    rollouts = rollouts_of(world, problems, [every[i] for i in order], sampling.entropy)
    return rollouts.replace(node=tree_nodes(rollouts.offsets("step"), origin, shared))


def grow_completions(
    engine: Any,
    prompts: Sequence[Any],
    leaves: int,
    sampling: Sampling,
    branch: Branch,
    split: Callable[[Rollouts], Rollouts],
) -> Rollouts:
    """Trees of one-turn completions: a fork keeps the trunk's tokens up to a step.

    Args:
        leaves: rollouts per prompt; a multiple of 1 + branch.forks.
        sampling: `max_new_tokens` counts the kept tokens too.
        split: adds the step partition.

    Returns:
        rollouts ordered prompt by prompt, with steps and `node`; `group` is the index of the prompt.
    """
    sampling = _with_entropy(sampling, branch)
    trunks = branch.trunks(leaves)
    bare = engine.generate(prompts, n=trunks, sampling=sampling)
    flat = split(bare)
    draw = np.tile(np.arange(trunks), len(prompts))
    plan = fork_rows(flat, branch, flat.group, draw, trunks, sampling.seed)
    kept = _kept(flat, plan)
    assert flat.tokens is not None
    forks = engine.generate(
        [prompts[group] for group in plan.problem.tolist()],
        sampling=sampling,
        prefix=[flat.tokens[row][:n].tolist() for row, n in zip(plan.trunk, kept, strict=True)],
        group=plan.problem,
        draws=plan.draw,
    )
    forks = _cut(_restored(forks, flat, plan.trunk, kept), sampling.max_new_tokens, engine.tokenizer)
    order, origin, shared = plan.interleave(len(flat))
    rollouts = split(Rollouts.concat([bare, forks]).select(order))
    shared = np.minimum(shared, _agreeing(rollouts, origin))
    return rollouts.replace(node=tree_nodes(rollouts.offsets("step"), origin, shared))


def _with_entropy(sampling: Sampling, branch: Branch) -> Sampling:
    return replace(sampling, entropy=True) if branch.at == "entropy" else sampling


def _draws(episodes: Sequence[Episode]) -> np.ndarray:
    return np.array([episode.draw for episode in episodes], dtype=np.int64)


def _kept(trunks: Rollouts, plan: Plan) -> np.ndarray:
    """Tokens before the step every fork begins with, int64 (forks,)."""
    ends = trunks.partitions["step"]
    before = ends.offsets[:-1][plan.trunk] + plan.step - 1
    return np.where(plan.step > 0, ends.values[np.maximum(before, 0)], 0)


def _restored(forks: Rollouts, trunks: Rollouts, rows: np.ndarray, kept: np.ndarray) -> Rollouts:
    """Forks whose kept tokens count as chosen, with what was recorded when the trunk chose them."""
    assert forks.tokens is not None and trunks.tokens is not None
    position = np.arange(forks.tokens.total) - np.repeat(forks.tokens.offsets[:-1], forks.tokens.lengths)
    inside = position < np.repeat(kept, forks.tokens.lengths)
    source = (np.repeat(trunks.tokens.offsets[:-1][rows], forks.tokens.lengths) + position)[inside]
    columns: dict[str, Ragged] = {}
    for name in ("acted", "logprobs", "entropy"):
        own, old = getattr(forks, name), getattr(trunks, name)
        if own is not None:
            values = own.values.copy()
            values[inside] = old.values[source]
            columns[name] = own.with_values(values)
    return forks.replace(**columns)


def _cut(rollouts: Rollouts, limit: int, tokenizer: Any) -> Rollouts:
    """Rollouts of at most `limit` tokens, longer ones marked as truncated."""
    assert rollouts.tokens is not None and rollouts.completion is not None
    lengths = rollouts.tokens.lengths
    long = lengths > limit
    if not long.any():
        return rollouts
    position = np.arange(rollouts.tokens.total) - np.repeat(rollouts.tokens.offsets[:-1], lengths)
    inside, short = position < limit, np.minimum(lengths, limit)
    columns: dict[str, Any] = {}
    for name in ("tokens", "acted", "logprobs", "entropy"):
        column = getattr(rollouts, name)
        columns[name] = None if column is None else Ragged.from_lengths(column.values[inside], short)
    texts = [
        tokenizer.decode(columns["tokens"][row].tolist()) if cut else text
        for row, (text, cut) in enumerate(zip(rollouts.completion, long.tolist(), strict=True))
    ]
    return rollouts.replace(**columns, completion=texts, truncated=rollouts.truncated | long)


def _agreeing(rollouts: Rollouts, origin: np.ndarray) -> np.ndarray:
    """How many first steps end at the same token as their trunk's, int64 (N,)."""
    ends = rollouts.partitions["step"]
    counts = np.empty(len(rollouts), dtype=np.int64)
    for row, trunk in enumerate(origin.tolist()):
        n = min(len(ends[row]), len(ends[trunk]))
        same = ends[row][:n] == ends[trunk][:n]
        counts[row] = n if same.all() else int(same.argmin())
    return counts
