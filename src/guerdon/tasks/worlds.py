"""What a world is: a task worked off in turns, where an environment answers every turn of the policy.

    prompt      map of the room          ...\\n>
    turn 1      action "\\n"              chosen by the policy
    reply 1     what it sees now         "...\\n>"
    turn 2      ...

A turn ends with a line break, a reply ends with `\\n>`, and neither holds the other's end, so a transcript
can be cut into turns and *replayed*: `World.replay` acts every turn again and checks every reply. Outcomes
and step checks are computed from that replay, hence equally from fresh and from saved rollouts.

States are immutable values and `act` is a pure function of one, so an episode can be forked at any step by
keeping the state. Nothing is random after a problem was drawn.

A world subclasses `World`, a frozen dataclass, and implements `draw`, `key` (as every task) and

* `start(meta)`: the first state of a problem,
* `observe(state)`: all that matters of a state, as text: equal texts are the same situation,
* `act(state, action)`: what an action does,
* `actions(meta)`: every action that ever makes sense, for tables and planning.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from guerdon.data.keys import stable_key
from guerdon.data.signal import Signal
from guerdon.errors import DataError
from guerdon.tasks.base import Task, Unscorable

if TYPE_CHECKING:
    from guerdon.context import Context
    from guerdon.data.rollouts import Rollouts

TURN_END = "\n"
REPLY_END = "\n>"


@dataclass(frozen=True)
class Reply:
    """What one action did.

    Attributes:
        state: the state after it.
        text: what the policy sees next, without the closing `REPLY_END`.
        reward: of this step.
        done: the episode has ended.
        success: it ended well.
        action: the action in canonical form; what could not be read is kept as it was written.
        call_ok: 1 a call (or move) was carried out, 0 nothing was called, -1 error.
        grounded: the action could be carried out in this state.
        useful: the step brought a part of the gold plan that was still missing; None where the world
            does not say.
        calls: calls made, each {"name": ..., "arguments": {...}}.
        notes: entries for the rollout's meta, e.g. the answer given.
    """

    state: Hashable
    text: str
    reward: float = 0.0
    done: bool = False
    success: bool = False
    action: str = ""
    call_ok: int = 1
    grounded: bool = True
    useful: bool | None = None
    calls: tuple[Mapping[str, Any], ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """An episode acted again from its transcript.

    Attributes:
        replies: one per turn.
        success: the episode ended well.
    """

    replies: tuple[Reply, ...]

    @property
    def success(self) -> bool:
        return bool(self.replies) and self.replies[-1].success


class World(Task):
    """A task in turns with exact transitions. See the module's text for what a subclass provides.

    Attributes:
        max_turns: an episode that has not ended after so many turns is truncated.
    """

    name: str = "world"
    has_steps: ClassVar[bool] = True
    max_turns: int = 20
    plan_limit: ClassVar[int] = 200_000

    @abstractmethod
    def start(self, meta: Mapping[str, Any]) -> Any:
        """First state of a problem.

        Raises:
            Unscorable: `meta` does not describe a problem of this world.
        """

    @abstractmethod
    def observe(self, state: Any) -> str:
        """Canonical text of a state: two states are the same exactly when their texts are equal."""

    @abstractmethod
    def act(self, state: Any, action: str) -> Reply:
        """What an action does in a state. An action that cannot be read is an error, never an exception."""

    @abstractmethod
    def actions(self, meta: Mapping[str, Any]) -> tuple[str, ...]:
        """Actions of a problem's table, in canonical form."""

    def expert(self, meta: Mapping[str, Any]) -> list[str]:
        """Actions that solve a problem; here a shortest plan, by breadth-first search.

        Raises:
            DataError: there is none.
        """
        plan = shortest_plan(self, self.start(meta), self.actions(meta), self.plan_limit)
        if plan is None:
            raise DataError(f"world {self.name!r}: no plan solves this problem")
        return plan

    # -- transcripts -----------------------------------------------------------------------------------

    def state_key(self, state: Any) -> int:
        """63-bit key of `observe(state)`: the entry of the column `state`."""
        return stable_key(self.observe(state))

    def transcript(self, meta: Mapping[str, Any], actions: Sequence[str]) -> str:
        """Completion of an episode that takes these actions; stops where the episode ends."""
        state, text = self.start(meta), ""
        for at, action in enumerate(actions):
            reply = self.act(state, action)
            text += action + TURN_END
            if reply.done or at + 1 == len(actions):
                return text
            text, state = text + reply.text + REPLY_END, reply.state
        return text

    def replay(self, completion: str, meta: Mapping[str, Any], turns: int | None = None) -> Replay:
        """Act a transcript again, turn by turn.

        Args:
            turns: how many there are, where that is known: a last turn may hold no text.

        Raises:
            Unscorable: no problem in `meta`, or a reply in the text is not what this world answers.
        """
        replies: list[Reply] = []
        state, pieces = self.start(meta), completion.split(REPLY_END)
        for at, piece in enumerate(pieces):
            last = at + 1 == len(pieces)
            if last and not piece and len(replies) != (turns or 0) - 1:
                break
            reply = self.act(state, read_action(piece))
            replies.append(reply)
            if reply.done:
                break
            if not last and not piece.endswith(TURN_END + reply.text):
                raise Unscorable(f"reply {at + 1} of the transcript is not what the world answers")
            state = reply.state
        return Replay(tuple(replies))

    # -- checks ----------------------------------------------------------------------------------------

    def grade(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        return float(self.replay(completion, meta).success)

    def split_steps(self, completion: str) -> list[int]:
        """One step per turn together with the reply to it."""
        ends, at = [], completion.find(REPLY_END)
        while at >= 0:
            ends.append(at + len(REPLY_END))
            at = completion.find(REPLY_END, ends[-1])
        if completion and (not ends or ends[-1] < len(completion)):
            ends.append(len(completion))
        return ends

    def grade_steps(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> list[float]:
        """1.0 where the action could be carried out."""
        return [float(reply.grounded) for reply in self.replay(completion, meta).replies]

    def identity(self, reference: Any, meta: Mapping[str, Any]) -> Hashable:
        return repr(reference), self.problem_text(meta)

    @abstractmethod
    def problem_text(self, meta: Mapping[str, Any]) -> str:
        """What identifies a problem in its meta."""

    def rewards(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        """Reward of every step, replayed: step level, named "env"."""
        return self._replayed(rollouts, "env", lambda reply: reply.reward)

    def steps(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        """1 where the action could be carried out, replayed: step level, named "steps"."""
        return self._replayed(rollouts, "steps", lambda reply: float(reply.grounded))

    def _replayed(self, rollouts: Rollouts, name: str, value: Callable[[Reply], float]) -> Signal:
        """One value per step; NaN with a cause where a transcript is not of this world."""
        metas = rollouts.meta or [{}] * len(rollouts)
        values: list[float] = []
        causes: dict[int, str] = {}
        for row, count in enumerate(np.diff(rollouts.offsets("step")).tolist()):
            try:
                replies = self.replay(rollouts.text(row), metas[row], turns=count).replies
                cause = f"the step partition has {count} spans, the transcript {len(replies)} turns"
            except Unscorable as error:
                replies, cause = (), str(error)
            if len(replies) != count:
                causes.update(dict.fromkeys(range(len(values), len(values) + count), cause))
            fits = len(replies) == count
            values += [value(reply) for reply in replies] if fits else [float("nan")] * count
        return Signal(np.array(values, dtype=np.float64), "step", name, causes)


def read_action(turn: str) -> str:
    """The action in a turn's text: what stands before its first line break, without spaces around."""
    return turn.partition(TURN_END)[0].strip()


def shortest_plan(world: World, start: Any, actions: Sequence[str], limit: int) -> list[str] | None:
    """A shortest successful sequence of actions by breadth-first search; None where there is none.

    Args:
        limit: states to look at before giving up.
    """
    came: dict[Hashable, tuple[Hashable, str] | None] = {start: None}
    queue = deque([start])
    while queue and len(came) <= limit:
        state = queue.popleft()
        for action in actions:
            reply = world.act(state, action)
            if reply.success:
                return [*_path(came, state), reply.action]
            if not reply.done and reply.state not in came:
                came[reply.state] = (state, reply.action)
                queue.append(reply.state)
    return None


def _path(came: Mapping[Hashable, tuple[Hashable, str] | None], state: Hashable) -> list[str]:
    taken: list[str] = []
    while (step := came[state]) is not None:
        state, action = step
        taken.append(action)
    return taken[::-1]
