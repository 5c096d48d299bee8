"""Questions that need tools: look up what the items are worth, calculate, answer.

    pear*3+fig=?
    >look pear          pear=4
    >calc pear*3        12
    >look fig           fig=5
    >calc _+fig         17
    >answer _

`look ITEM` reads the table of the problem, which the prompt does not show. `calc A OP B` takes whole numbers,
items that were looked up, and `_`, the last result. `answer A` ends the episode, well if A is the value of
the question. Whatever else is written, an item that is not in the table or was not looked up, and a result
outside 0..`high` are errors: the reply says so and nothing changes.

The gold trace is in `reference.calls`, with calculations as numbers: `calc 4*3` and `calc pear*3` are the
same call. A state is what was looked up and the last result; `useful` marks calls of the gold trace that
were still missing (a calculation that changes nothing, such as times 1, brings nothing).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from guerdon.errors import DataError
from guerdon.tasks.base import SCORING_ONLY, Problem, Unscorable, span_of
from guerdon.tasks.worlds import REPLY_END, Reply, World

ITEMS = ("pear", "fig", "plum", "kiwi", "lime", "date", "nut", "pea", "rice", "corn", "leek", "yam")
_OPERAND = r"(_|[a-z]+|[0-9]{1,9})"
_LOOK = re.compile(r"look ([a-z]+)")
_CALC = re.compile(rf"calc {_OPERAND} ?([+*-]) ?{_OPERAND}")
_ANSWER = re.compile(r"answer (_|[0-9]{1,9})")
_TERM = re.compile(r"([+*-]?)([a-z]+|[0-9]+)")


@dataclass(frozen=True, eq=False)
class Question:
    """What never changes in a problem; questions are equal only to themselves.

    Attributes:
        text: the expression. prices: the table. high: largest result.
        first: first operand. rest: (operator, operand) worked off from left to right.
        gold: (left, operator, right) of every calculation, as numbers.
        answer: the value.
    """

    text: str
    prices: Mapping[str, int]
    high: int
    first: str
    rest: tuple[tuple[str, str], ...]
    gold: frozenset[tuple[int, str, int]]
    answer: int


class Knowledge(NamedTuple):
    """A state: items looked up, and the last result (-1: none)."""

    question: Question
    known: frozenset[str]
    last: int


@dataclass(frozen=True)
class ToolQuestions(World):
    """Questions answered with a table and a calculator; see the module's text.

    Args:
        terms: operands of the expression, or [from, to].
        operators: any of "+", "-", "*".
        constants: share of the operands after the first that are plain numbers.
        items: size of the table; what the question does not need is a distraction.
        price: items are worth 1..price.
        high: largest result of a calculation; results are never negative.
        max_turns: actions before an episode is truncated.
        success: reward of the right answer. error: taken off for an action that is an error.
        cost: taken off the reward of every step.
        preface: text before every prompt, e.g. instructions for a model that was not taught the format.
    """

    terms: int | tuple[int, int] = 3
    operators: str = "+-*"
    constants: float = 0.3
    items: int = 4
    price: int = 9
    high: int = 99
    max_turns: int = field(default=10, metadata=SCORING_ONLY)
    success: float = field(default=1.0, metadata=SCORING_ONLY)
    error: float = field(default=0.0, metadata=SCORING_ONLY)
    cost: float = field(default=0.0, metadata=SCORING_ONLY)
    preface: str = field(default="", metadata=SCORING_ONLY)

    name = "tools"

    def __post_init__(self) -> None:
        if isinstance(self.terms, list):
            object.__setattr__(self, "terms", tuple(self.terms))
        most = span_of(self.terms, "terms", 2, 12)[1]
        if not self.operators or not set(self.operators) <= set("+-*"):
            raise ValueError(f"operators must be some of '+', '-', '*', got {self.operators!r}")
        if not 0 <= self.constants <= 1:
            raise ValueError(f"constants must be a share in [0, 1], got {self.constants!r}")
        if not most <= self.items <= len(ITEMS):
            raise ValueError(f"items must lie within {most} (terms) and {len(ITEMS)}, got {self.items}")
        if self.price < 1 or self.high < self.price or self.max_turns < 1:
            raise ValueError(
                f"price and max_turns must be at least 1 and high at least price, got price={self.price}, "
                f"high={self.high}, max_turns={self.max_turns}"
            )

    # -- problems ------------------------------------------------------------------------------------

    def draw(self, rng: random.Random) -> Problem:
        """Random expressions until all results lie within 0..high."""
        for _ in range(1000):
            terms = rng.randint(*span_of(self.terms, "terms", 2, 12))
            names = rng.sample(ITEMS, self.items)
            prices = {name: rng.randint(1, self.price) for name in names}
            text = names[0]
            for name in names[1:terms]:
                right = str(rng.randint(1, 9)) if rng.random() < self.constants else name
                operator = rng.choice(self.operators)
                bare = re.fullmatch(r"[^+-]*", text)
                text = f"{text}{operator}{right}" if operator != "*" or bare else f"({text})*{right}"
            rng.shuffle(names)
            table = {name: prices[name] for name in names}
            question = _read(text, tuple(table.items()), self.high)
            if question is not None:
                return self._problem(question, {"question": text, "prices": table, "high": self.high})
        raise DataError(f"task {self.name!r}: no results within 0..{self.high}; raise high or lower price")

    def _problem(self, question: Question, meta: dict[str, Any]) -> Problem:
        solution = self.transcript(meta, self.expert(meta))
        calls = [call for reply in self.replay(solution, meta).replies for call in reply.calls]
        reference = {
            "answer": str(question.answer),
            "calls": [{"name": call["name"], "parameters": call["arguments"]} for call in calls],
        }
        return Problem(f"{self.preface}{question.text}=?{REPLY_END}", reference, meta, solution=solution)

    def key(self, problem: Problem) -> str:
        """The expression with its prices."""
        return f"tools {self.problem_text(problem.meta)}"

    def problem_text(self, meta: Mapping[str, Any]) -> str:
        return f"{meta.get('question')} {meta.get('prices')}"

    def expert(self, meta: Mapping[str, Any]) -> list[str]:
        """Look up what the next calculation needs, calculate, and so on; then answer."""
        question = self.start(meta).question
        plan: list[str] = []
        known: set[str] = set()
        operands = [question.first, *(operand for _, operand in question.rest)]
        for at, operand in enumerate(operands):
            if operand in question.prices and operand not in known:
                known.add(operand)
                plan.append(f"look {operand}")
            if at:
                left = question.first if at == 1 else "_"
                plan.append(f"calc {left}{question.rest[at - 1][0]}{operand}")
        return [*plan, "answer _"]

    # -- the world -----------------------------------------------------------------------------------

    def start(self, meta: Mapping[str, Any]) -> Knowledge:
        prices, high = meta.get("prices"), meta.get("high", self.high)
        if not isinstance(prices, Mapping) or not isinstance(high, int):
            raise Unscorable("meta has no table under 'prices'")
        question = _read(str(meta.get("question")), tuple(prices.items()), high)
        if question is None:
            raise Unscorable("meta has no expression under 'question'")
        return Knowledge(question, frozenset(), -1)

    def observe(self, state: Knowledge) -> str:
        prices = state.question.prices
        facts = [f"{item}={prices[item]}" for item in sorted(state.known)]
        return "\n".join(
            [f"{state.question.text}=?", *facts, *([f"_={state.last}"] if state.last >= 0 else [])]
        )

    def actions(self, meta: Mapping[str, Any]) -> tuple[str, ...]:
        """Every look-up, the gold calculations under every operator, and `answer _`."""
        question = self.start(meta).question
        calcs = []
        for at, (operator, operand) in enumerate(question.rest):
            left = "_" if at else question.first
            calcs += [f"calc {left}{o}{operand}" for o in [operator, *sorted({*self.operators} - {operator})]]
        return (*(f"look {item}" for item in question.prices), *dict.fromkeys(calcs), "answer _")

    def act(self, state: Knowledge, action: str) -> Reply:
        text = " ".join(action.lower().split())
        if match := _LOOK.fullmatch(text):
            return self._look(state, match[1], text)
        if match := _CALC.fullmatch(text):
            return self._calc(state, match[1], match[2], match[3])
        if match := _ANSWER.fullmatch(text):
            return self._answer(state, match[1], text)
        return self._error(state, action, "error")

    def _look(self, state: Knowledge, item: str, text: str) -> Reply:
        call = {"name": "look", "arguments": {"item": item}}
        price = state.question.prices.get(item)
        if price is None:
            return self._error(state, text, f"error: no {item}", call)
        needed = item in (state.question.first, *(operand for _, operand in state.question.rest))
        return Reply(
            state._replace(known=state.known | {item}),
            f"{item}={price}",
            -self.cost,
            action=text,
            useful=needed and item not in state.known,
            calls=(call,),
        )

    def _calc(self, state: Knowledge, left: str, operator: str, right: str) -> Reply:
        text = f"calc {left}{operator}{right}"
        a, b = _value(state, left), _value(state, right)
        if a is None or b is None:
            missing = left if a is None else right
            return self._error(state, text, f"error: what is {missing}?")
        call = {"name": "calc", "arguments": {"left": a, "operator": operator, "right": b}}
        result = _result(a, operator, b)
        if not 0 <= result <= state.question.high:
            return self._error(state, text, "error: out of range", call)
        return Reply(
            state._replace(last=result),
            str(result),
            -self.cost,
            action=text,
            useful=(a, operator, b) in state.question.gold and result != state.last,
            calls=(call,),
        )

    def _answer(self, state: Knowledge, given: str, text: str) -> Reply:
        value = _value(state, given)
        if value is None:
            return self._error(state, text, "error: what is _?")
        right = value == state.question.answer
        return Reply(
            state,
            "",
            self.success * right - self.cost,
            done=True,
            success=right,
            action=text,
            call_ok=0,
            useful=right,
            notes={"answer": str(value)},
        )

    def _error(
        self, state: Knowledge, action: str, text: str, call: Mapping[str, Any] | None = None
    ) -> Reply:
        return Reply(
            state,
            text,
            -self.cost - self.error,
            action=action,
            call_ok=-1,
            grounded=False,
            useful=False,
            calls=() if call is None else (call,),
        )


def _value(state: Knowledge, operand: str) -> int | None:
    """What an operand stands for, None where that is not known yet."""
    if operand == "_":
        return state.last if state.last >= 0 else None
    if operand.isdigit():
        return int(operand)
    return state.question.prices[operand] if operand in state.known else None


def _result(left: int, operator: str, right: int) -> int:
    return left + right if operator == "+" else left - right if operator == "-" else left * right


@lru_cache(maxsize=65536)
def _read(text: str, prices: tuple[tuple[str, int], ...], high: int) -> Question | None:
    """The question an expression asks; None where it asks none or leaves 0..high on the way."""
    table = dict(prices)
    bare = text.replace("(", "").replace(")", "")
    terms = _TERM.findall(bare)
    if "".join(o + x for o, x in terms) != bare or len(terms) < 2 or terms[0][0]:
        return None
    values = [table.get(x, int(x) if x.isdigit() else None) for _, x in terms]
    value, gold = values[0], set()
    for (operator, _), right in zip(terms[1:], values[1:], strict=True):
        if value is None or right is None or not operator:
            return None
        gold.add((value, operator, right))
        value = _result(value, operator, right)
        if not 0 <= value <= high:
            return None
    return Question(text, table, high, terms[0][1], tuple(terms[1:]), frozenset(gold), value or 0)
