"""Sampling in turns: all episodes act in lock step, one batched call of the engine per turn.

Enters: an engine, a world, problems. Leaves: Rollouts (see `episodes`). The t-th turn of an episode depends
on the seed, the problem, the number of the draw and what happened before, never on the other episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from guerdon.data.rollouts import Rollouts
from guerdon.engines.protocol import Sampling
from guerdon.errors import RecipeError
from guerdon.learn.episodes import Episode, rollouts_of
from guerdon.tasks.base import Problem, stable_seed
from guerdon.tasks.worlds import TURN_END, World


def play(
    engine: Any,
    world: World,
    problems: Sequence[Problem],
    draws: int,
    sampling: Sampling,
    turns: int | None = None,
) -> Rollouts:
    """`draws` episodes of every problem, ordered problem by problem.

    Args:
        sampling: `max_new_tokens` is the limit of one turn; a line break always ends one.
        turns: most turns of an episode; default: the world's `max_turns`.

    Returns:
        rollouts; `group` is the index of the problem. An episode ended by the limit of turns, or by a
        reply that leaves no room in the engine's context, is truncated.

    Raises:
        EngineError: a prompt leaves no room in the context.
        RecipeError: `turns` is below 1.
    """
    episodes = [
        Episode(group, draw, [world.start(problem.meta)])
        for group, problem in enumerate(problems)
        for draw in range(draws)
    ]
    advance(engine, world, problems, episodes, sampling, turns)
    return rollouts_of(world, problems, episodes, sampling.entropy)


def advance(
    engine: Any,
    world: World,
    problems: Sequence[Problem],
    episodes: Sequence[Episode],
    sampling: Sampling,
    turns: int | None = None,
) -> None:
    """Play every episode to its end, in place."""
    most = world.max_turns if turns is None else turns
    if most < 1:
        raise RecipeError(f"sampler.turns: must be at least 1, got {most}")
    per_turn = replace(sampling, stop=tuple(dict.fromkeys((*sampling.stop, TURN_END))))
    prompts = [len(engine.prompt_ids(problem.prompt)) for problem in problems]
    first = [_first_draw(world.problem_text(problem.meta)) for problem in problems]
    live = [e for e in episodes if not e.over]
    while live:
        drawn = engine.generate(
            [problems[e.group].prompt for e in live],
            sampling=per_turn,
            prefix=[e.ids for e in live],
            draws=[first[e.group] + e.draw for e in live],
        )
        for row, episode in enumerate(live):
            _act(engine.tokenizer, world, episode, drawn, row)
            if not episode.over:
                _answer(engine, episode, prompts[episode.group], most)
        live = [e for e in live if not e.over]


def _first_draw(problem: str) -> int:
    """Where a problem's draw numbers begin: two problems with one prompt differ in what they hide."""
    return (stable_seed(problem) >> 24) << 20


def _act(tokenizer: Any, world: World, episode: Episode, drawn: Rollouts, row: int) -> None:
    """Take one row's new tokens as the episode's next turn."""
    assert drawn.tokens is not None and drawn.logprobs is not None
    new = slice(len(episode.ids), None)
    ids = drawn.tokens[row][new].tolist()
    entropy = [0.0] * len(ids) if drawn.entropy is None else drawn.entropy[row][new].tolist()
    episode.act(world, tokenizer.decode(ids), ids, drawn.logprobs[row][new].tolist(), entropy)


def _answer(engine: Any, episode: Episode, prompt: int, most: int) -> None:
    """Show the reply, or end the episode where there is no turn or no room left for another action."""
    text = episode.shown()
    ids = engine.tokenizer.encode(text)
    if len(episode.replies) >= most or prompt + len(episode.ids) + len(ids) >= engine.context:
        episode.stop()
    else:
        episode.show(text, ids)
