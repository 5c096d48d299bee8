"""A small text world of rooms: reach a goal, fetch a key first, or push boxes. States recur all the time.

    @..#        @ you   # wall   G goal
    .#..        k key   C chest, opens with the key
    ...G        $ box   o target   * box on target   + you on target
    >r

Actions are `u`, `d`, `l`, `r` (or `up`, `down`, `left`, `right`, any case). The reply is the map after the
move. Moving into a wall, the border, a box that cannot move or a locked chest changes nothing and is not
grounded; text that is no action changes nothing and is an error. The map is all there is to know: equal maps
are the same state.

In the mode "push" a box pushed into a corner may be lost for good, which makes mistakes irreversible; in
the two others every state can still reach the goal.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from guerdon.errors import DataError
from guerdon.tasks.base import SCORING_ONLY, Problem, Unscorable, span_of
from guerdon.tasks.worlds import REPLY_END, Reply, World, shortest_plan

_MOVES = {"u": (-1, 0), "d": (1, 0), "l": (0, -1), "r": (0, 1)}
_SPELLINGS = {"up": "u", "down": "d", "left": "l", "right": "r", **{move: move for move in _MOVES}}
_GLYPHS = frozenset("@#.GkC$o*+")


@dataclass(frozen=True, eq=False)
class Room:
    """What never changes in a problem; rooms are equal only to themselves. Cells are numbered row by row.

    Attributes:
        width: cells per row.
        walls, targets: cells.
        goal: cell of G or C, -1 where there is none.
        locked: the goal is a chest.
        moves: per cell and action the cell behind, -1 for the border.
    """

    width: int
    walls: frozenset[int]
    targets: frozenset[int]
    goal: int
    locked: bool
    moves: tuple[dict[str, int], ...]


class Place(NamedTuple):
    """A state: where you are, where the boxes are, where the key lies (-1: you have it, or there is none)."""

    room: Room
    you: int
    boxes: frozenset[int]
    key: int


@dataclass(frozen=True)
class GridWorld(World):
    """Text grid world; see the module's text.

    Args:
        mode: "maze" reach G; "key" fetch k, then reach C; "push" push every box onto a target.
        size: rows and columns, or [rows, columns].
        walls: share of cells that are walls.
        moves: shortest solutions have [from, to] moves.
        boxes: boxes and targets in the mode "push".
        max_turns: moves before an episode is truncated.
        success: reward of the step that succeeds.
        cost: taken off the reward of every step.
        invalid: taken off the reward of a step that is not grounded.
        preface: text before every prompt, e.g. instructions for a model that was not taught the format.
    """

    mode: Literal["maze", "key", "push"] = "maze"
    size: int | tuple[int, int] = 4
    walls: float = 0.2
    moves: tuple[int, int] = (3, 12)
    boxes: int = 1
    max_turns: int = field(default=20, metadata=SCORING_ONLY)
    success: float = field(default=1.0, metadata=SCORING_ONLY)
    cost: float = field(default=0.0, metadata=SCORING_ONLY)
    invalid: float = field(default=0.0, metadata=SCORING_ONLY)
    preface: str = field(default="", metadata=SCORING_ONLY)

    name = "grid_world"

    def __post_init__(self) -> None:
        for name in ("size", "moves"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.mode not in ("maze", "key", "push"):
            raise ValueError(f"mode must be maze, key or push, got {self.mode!r}")
        rows, columns = self._shape()
        if not (1 <= rows <= 40 and 1 <= columns <= 40 and rows * columns >= 3):
            raise ValueError(f"size must be 1..40 rows and columns with at least 3 cells, got {self.size!r}")
        if not 0 <= self.walls < 1:
            raise ValueError(f"walls must be a share in [0, 1), got {self.walls!r}")
        span_of(self.moves, "moves", 1, 1000)
        if self.boxes < 1 or self.max_turns < 1:
            raise ValueError(f"boxes and max_turns must be at least 1, got {self.boxes} and {self.max_turns}")

    def _shape(self) -> tuple[int, int]:
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    # -- problems ------------------------------------------------------------------------------------

    def draw(self, rng: random.Random) -> Problem:
        """Random placements until one has a shortest solution within `moves`."""
        low, high = span_of(self.moves, "moves", 1, 1000)
        for _ in range(2000):
            text = self._place_all(rng)
            state = _read(text)
            if state is None:
                continue
            plan = shortest_plan(self, state, tuple(_MOVES), self.plan_limit)
            if plan is not None and low <= len(plan) <= high:
                return self._problem(text, plan)
        raise DataError(
            f"task {self.name!r}: no {self.mode} of size {self.size} with walls={self.walls} has a shortest "
            f"solution of {low} to {high} moves; widen `moves` or enlarge `size`"
        )

    def _place_all(self, rng: random.Random) -> str:
        rows, columns = self._shape()
        things = {"maze": "G", "key": "kC", "push": "$o" * self.boxes}[self.mode] + "@"
        cells = ["#" if rng.random() < self.walls else "." for _ in range(rows * columns)]
        free = [at for at, cell in enumerate(cells) if cell == "."]
        if len(free) < len(things):
            return ""
        for thing, at in zip(things, rng.sample(free, len(things)), strict=True):
            cells[at] = thing
        return "\n".join("".join(cells[i * columns : (i + 1) * columns]) for i in range(rows))

    def _problem(self, text: str, plan: list[str]) -> Problem:
        meta = {"map": text}
        return Problem(
            self.preface + text + REPLY_END, {"moves": len(plan)}, meta, solution=self.transcript(meta, plan)
        )

    def key(self, problem: Problem) -> str:
        """The map: the same one under other rewards or another difficulty is in the same split."""
        return f"grid {problem.meta['map']}"

    def problem_text(self, meta: Mapping[str, Any]) -> str:
        return str(meta.get("map"))

    # -- the world -----------------------------------------------------------------------------------

    def start(self, meta: Mapping[str, Any]) -> Place:
        state = _read(str(meta.get("map")))
        if state is None:
            raise Unscorable("meta has no grid under 'map'")
        return state

    def observe(self, state: Place) -> str:
        return _drawn(state)

    def actions(self, meta: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(_MOVES)

    def act(self, state: Place, action: str) -> Reply:
        move = _SPELLINGS.get(action.lower())
        if move is None:
            return Reply(
                state, _drawn(state), -self.cost - self.invalid, action=action, call_ok=-1, grounded=False
            )
        after = _moved(state, move)
        if after is None:
            return Reply(state, _drawn(state), -self.cost - self.invalid, action=move, grounded=False)
        won = _won(after)
        return Reply(
            after,
            _drawn(after),
            self.success * won - self.cost,
            done=won,
            success=won,
            action=move,
        )


def _moved(state: Place, move: str) -> Place | None:
    """The state after a move, None where it is blocked."""
    room, you, boxes, key = state
    to = room.moves[you][move]
    if to < 0 or to in room.walls or (to == room.goal and room.locked and key >= 0):
        return None
    if to in boxes:
        behind = room.moves[to][move]
        if behind < 0 or behind in room.walls or behind in boxes:
            return None
        boxes = boxes - {to} | {behind}
    return Place(room, to, boxes, -1 if to == key else key)


def _won(state: Place) -> bool:
    if state.room.targets:
        return state.boxes == state.room.targets
    return state.you == state.room.goal


@lru_cache(maxsize=65536)
def _drawn(state: Place) -> str:
    """The map as text."""
    room, you, boxes, key = state
    cells = []
    for at in range(len(room.moves)):
        if at == you:
            cells.append("+" if at in room.targets else "@")
        elif at in boxes:
            cells.append("*" if at in room.targets else "$")
        elif at in room.targets:
            cells.append("o")
        elif at in room.walls:
            cells.append("#")
        elif at == room.goal:
            cells.append("C" if room.locked else "G")
        else:
            cells.append("k" if at == key else ".")
    width = room.width
    return "\n".join("".join(cells[i : i + width]) for i in range(0, len(cells), width))


@lru_cache(maxsize=65536)
def _read(text: str) -> Place | None:
    """The state a map shows; None where it shows none."""
    lines = text.split("\n")
    width = len(lines[0])
    cells = "".join(lines)
    at = {glyph: frozenset(i for i, cell in enumerate(cells) if cell == glyph) for glyph in _GLYPHS}
    you, goals, chests = at["@"] | at["+"], at["G"], at["C"]
    boxes, targets = at["$"] | at["*"], at["o"] | at["*"] | at["+"]
    one_aim = len(goals) + len(chests) + bool(targets) == 1 and len(boxes) == len(targets)
    if any(len(line) != width for line in lines) or not set(cells) <= _GLYPHS:
        return None
    if len(you) != 1 or not one_aim or len(at["k"]) > 1:
        return None
    goal = next(iter(goals | chests), -1)
    room = Room(width, at["#"], targets, goal, bool(chests), _neighbours(len(lines), width))
    return Place(room, next(iter(you)), boxes, next(iter(at["k"]), -1))


@lru_cache(maxsize=256)
def _neighbours(rows: int, columns: int) -> tuple[dict[str, int], ...]:
    def behind(row: int, column: int, move: str) -> int:
        down, right = row + _MOVES[move][0], column + _MOVES[move][1]
        return down * columns + right if 0 <= down < rows and 0 <= right < columns else -1

    return tuple({move: behind(r, c, move) for move in _MOVES} for r in range(rows) for c in range(columns))
