"""Playing on from inside saved episodes: Monte-Carlo values of every step of a world's rollouts.

    q(h_t) = mean over k continuations of 1[success]

Enters: a prover (any engine), a world, rollouts that were sampled in it. Leaves: the signals q_root and
q_policy. Continuations of all steps of all rollouts are played in one lock step; equal histories of one
problem are continued once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.errors import DataError
from guerdon.learn.episodes import Episode
from guerdon.learn.turns import advance
from guerdon.tasks.base import Problem, stable_seed
from guerdon.tasks.worlds import REPLY_END, TURN_END, World, read_action


def episode_of(world: World, rollouts: Rollouts, row: int) -> Episode:
    """A rollout as the episode it was, ready to be forked; its `group` is the row.

    Raises:
        DataError: no tokens or steps, or a transcript that is not of this world.
    """
    if rollouts.tokens is None or rollouts.acted is None or "step" not in rollouts.partitions:
        raise DataError(
            "playing on needs rollouts with tokens and a 'step' partition, as a world samples them"
        )
    meta = (rollouts.meta or [{}] * len(rollouts))[row]
    ends = rollouts.partitions["step"][row].tolist()
    pieces = rollouts.text(row).split(REPLY_END)
    pieces = [piece + REPLY_END for piece in pieces[:-1]] + pieces[len(pieces) - 1 :]
    if len(pieces) != len(ends):
        raise DataError(f"row {row}: {len(ends)} steps, but its transcript has {len(pieces)} turns")
    episode = Episode(row, 0, [world.start(meta)], texts=pieces, ends=ends)
    for piece in pieces:
        reply = world.act(episode.states[-1], read_action(piece))
        if piece.endswith(REPLY_END) and not piece.endswith(TURN_END + reply.text + REPLY_END):
            raise DataError(f"row {row}: a reply in the transcript is not what {world.name!r} answers")
        episode.replies.append(reply)
        episode.states.append(reply.state)
    episode.ids = rollouts.tokens[row].tolist()
    episode.acted = rollouts.acted[row].tolist()
    nothing = [0.0] * len(episode.ids)
    episode.logprobs = nothing if rollouts.logprobs is None else rollouts.logprobs[row].tolist()
    episode.entropy = nothing if rollouts.entropy is None else rollouts.entropy[row].tolist()
    return episode


def prefix_values(
    engine: Any, world: World, rollouts: Rollouts, k: int, sampling: Sampling, turns: int | None = None
) -> Rollouts:
    """Rollouts with the chance of success before the first step and after every step, by playing on.

    Args:
        engine: who plays on: the policy itself, or a prover.
        k: continuations per history.
        sampling, turns: as in `turns.play`. The draws are independent of those that sampled the rollouts.

    Returns:
        the rollouts with q_root (rollout level) and q_policy (step level). After the last step it is the
        outcome, also of a truncated episode, which has no turn left.

    Raises:
        DataError: k below 1, no prompts, or as `episode_of`.
    """
    if k < 1 or rollouts.prompt is None:
        raise DataError(f"playing on needs prompts and k >= 1, got k={k}")
    metas, references = rollouts.meta or [], rollouts.reference or [None] * len(rollouts)
    episodes = [episode_of(world, rollouts, row) for row in range(len(rollouts))]
    problems = [Problem(*parts) for parts in zip(rollouts.prompt, references, metas, strict=True)]
    number: dict[tuple[str, str, tuple[int, ...]], int] = {}
    forks: list[Episode] = []
    place = []  # of every row: the history before its first step, after its first step, ...
    for episode, problem in zip(episodes, problems, strict=True):
        hidden = world.problem_text(problem.meta)
        for step in range(len(episode.replies)):
            history = tuple(episode.ids[: episode.ends[step - 1] if step else 0])
            at = number.setdefault((hidden, str(problem.prompt), history), len(number))
            if at == len(forks) // k:
                forks += [episode.fork(step, draw) for draw in range(k)]
            place.append(at)
    independent = replace(sampling, seed=stable_seed(sampling.seed, "playing on"))
    advance(engine, world, problems, forks, independent, turns)
    success = np.array([bool(f.replies) and f.replies[-1].success for f in forks], dtype=np.float64)
    before = success.reshape(-1, k).mean(axis=1)[place]
    first, last = rollouts.offsets("step")[:-1], rollouts.offsets("step")[1:] - 1
    after = np.empty_like(before)
    after[:-1] = before[1:]
    after[last] = [episode.replies[-1].success for episode in episodes]
    signals = {
        "q_root": Signal(before[first], "rollout", "q_root"),
        "q_policy": Signal(after, "step", "q_policy"),
    }
    return rollouts.replace(signals=signals)
