"""Episodes in the making and what they become: ragged columns in which the environment's tokens stand out.

Enters: actions with their tokens, and a world's replies. Leaves: Rollouts whose `acted` is False on every
token of a reply; partitions `step` and `turn`, where a turn is an action together with the reply to it; the
key of the `state` before every step; the step signals env, call_ok, grounded and (where the world says)
useful; meta with actions, calls, final_state and success.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.tasks.base import Problem
from guerdon.tasks.worlds import REPLY_END, TURN_END, Reply, World, read_action


@dataclass
class Episode:
    """One episode so far.

    Attributes:
        group: number of its problem. draw: number of the draw.
        states: the state before every step, and the one now.
        replies: one per step. texts: completion, one piece per step.
        ids, acted, logprobs, entropy: one per token.
        ends: tokens at the end of every step.
        over: no further turn. truncated: because of a limit.
    """

    group: int
    draw: int
    states: list[Any]
    replies: list[Reply] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    acted: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    over: bool = False
    truncated: bool = False

    def act(
        self, world: World, text: str, ids: Sequence[int], logprobs: Sequence[float], entropy: Sequence[float]
    ) -> Reply:
        """One turn of the policy: its text and tokens. Returns the world's reply, which is not shown yet."""
        reply = world.act(self.states[-1], read_action(text))
        action, end, _ = text.partition(TURN_END)
        self.texts.append(action + end)
        self.ids += ids
        self.acted += [True] * len(ids)
        self.logprobs += logprobs
        self.entropy += entropy
        self.ends.append(len(self.ids))
        self.replies.append(reply)
        self.states.append(reply.state)
        self.over = reply.done
        return reply

    def shown(self) -> str:
        """What the policy gets to see after its last turn."""
        missing = "" if self.texts[-1].endswith(TURN_END) else TURN_END
        return missing + self.replies[-1].text + REPLY_END

    def show(self, text: str, ids: Sequence[int]) -> None:
        """Append the reply; it belongs to the step it answers."""
        self.texts[-1] += text
        self.ids += ids
        self.acted += [False] * len(ids)
        self.logprobs += [0.0] * len(ids)
        self.entropy += [0.0] * len(ids)
        self.ends[-1] = len(self.ids)

    def stop(self) -> None:
        """End it at a limit."""
        self.over = self.truncated = True

    def fork(self, step: int, draw: int) -> Episode:
        """A copy that has taken the first `step` steps only."""
        tokens = self.ends[step - 1] if step else 0
        return Episode(
            self.group,
            draw,
            self.states[: step + 1],
            self.replies[:step],
            self.texts[:step],
            self.ids[:tokens],
            self.acted[:tokens],
            self.logprobs[:tokens],
            self.entropy[:tokens],
            self.ends[:step],
        )


def rollouts_of(
    world: World, problems: Sequence[Problem], episodes: Sequence[Episode], entropy: bool = False
) -> Rollouts:
    """The episodes as Rollouts, in the given order."""
    replies = [reply for e in episodes for reply in e.replies]
    tokens = Ragged.from_lists([e.ids for e in episodes], dtype=np.int32)
    ends = Ragged.from_lists([e.ends for e in episodes], dtype=np.int64)
    of = [problems[e.group] for e in episodes]
    return Rollouts(
        group=np.array([e.group for e in episodes], dtype=np.int64),
        prompt=[problem.prompt for problem in of],
        completion=["".join(e.texts) for e in episodes],
        reference=[problem.reference for problem in of],
        meta=[_meta(world, problem, e) for problem, e in zip(of, episodes, strict=True)],
        truncated=np.array([e.truncated for e in episodes], dtype=bool),
        tokens=tokens,
        acted=Ragged.from_lists([e.acted for e in episodes], dtype=bool),
        logprobs=Ragged.from_lists([e.logprobs for e in episodes], dtype=np.float32),
        entropy=Ragged.from_lists([e.entropy for e in episodes], dtype=np.float32) if entropy else None,
        partitions={"step": ends, "turn": ends},
        state=np.array([world.state_key(s) for e in episodes for s in e.states[:-1]], dtype=np.int64),
        signals=_signals(episodes, replies),
    )


def _signals(episodes: Sequence[Episode], replies: Sequence[Reply]) -> dict[str, Signal]:
    columns: dict[str, list[float]] = {
        "env": [reply.reward for reply in replies],
        "call_ok": [reply.call_ok for reply in replies],
        "grounded": [reply.grounded for reply in replies],
    }
    if any(reply.useful is not None for reply in replies):
        columns["useful"] = [np.nan if reply.useful is None else reply.useful for reply in replies]
    success = [bool(e.replies) and e.replies[-1].success for e in episodes]
    steps = {name: Signal(np.array(values, np.float64), "step", name) for name, values in columns.items()}
    return {"outcome": Signal(np.array(success, np.float64), "rollout", "outcome"), **steps}


def _meta(world: World, problem: Problem, episode: Episode) -> dict[str, Any]:
    replies = episode.replies
    meta = {
        **problem.meta,
        "actions": [reply.action for reply in replies],
        "final_state": world.state_key(episode.states[-1]),
        "success": bool(replies) and replies[-1].success,
    }
    if any(reply.calls for reply in replies):
        meta["calls"] = [[dict(call) for call in reply.calls] for reply in replies]
    for reply in replies:
        meta |= reply.notes
    return meta


def from_transcripts(
    world: World, problems: Sequence[Problem], completions: Sequence[str], tokenizer: Any
) -> Rollouts:
    """Given transcripts, one per problem, as the episodes that would have produced them.

    Args:
        completions: texts such as `Problem.solution`; the replies in them are taken from the world.
        tokenizer: encodes every action and every reply on its own, as sampling does.
    """
    episodes = []
    for group, (problem, text) in enumerate(zip(problems, completions, strict=True)):
        episode = Episode(group, 0, [world.start(problem.meta)])
        replay = world.replay(text, problem.meta)
        pieces = text.split(REPLY_END)
        for at in range(len(replay.replies)):
            action = pieces[at].partition(TURN_END)[0] + TURN_END
            if at:
                shown = episode.shown()
                episode.show(shown, tokenizer.encode(shown))
            ids = tokenizer.encode(action)
            nothing = [0.0] * len(ids)
            episode.act(world, action, ids, nothing, nothing)
        episode.truncated = not episode.over
        episodes.append(episode)
    return rollouts_of(world, problems, episodes)
