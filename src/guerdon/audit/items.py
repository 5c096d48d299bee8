"""Problems to audit with: each with a right completion, wrong answers, and a way to write any answer down."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guerdon.errors import DataError, RecipeError
from guerdon.registry import nearest


@dataclass(frozen=True)
class Item:
    """One problem.

    Attributes:
        prompt, reference, meta: as the reward wants them.
        answer: the right answer, as text.
        wrong: answers that are not right, at least one.
        form: how an answer is written down: a text with the place `{}`.
        empty: the form without any content (tags, an empty box, an empty fence).
    """

    prompt: str
    reference: Any
    answer: str
    wrong: tuple[str, ...]
    form: str = "{}"
    empty: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def write(self, answer: str) -> str:
        """A completion that gives this answer."""
        return self.form.replace("{}", answer, 1)


_BOX = "We work it out step by step.\nThe answer is \\boxed{{}}."
_CAPITALS = {
    "France": "Paris", "Japan": "Tokyo", "Peru": "Lima", "Kenya": "Nairobi", "Norway": "Oslo",
    "Egypt": "Cairo", "Canada": "Ottawa", "Cuba": "Havana", "Iran": "Tehran", "Greece": "Athens",
    "Italy": "Rome", "Spain": "Madrid", "Austria": "Vienna", "Poland": "Warsaw", "Chile": "Santiago",
    "Ghana": "Accra", "Vietnam": "Hanoi", "Portugal": "Lisbon", "Hungary": "Budapest", "Ireland": "Dublin",
}  # fmt: skip


def math_items(n: int, seed: int) -> list[Item]:
    """Arithmetic with integer, fraction and decimal answers, boxed."""
    rng = random.Random(f"math {seed}")
    items = []
    for at in range(n):
        a, b, c = rng.randint(2, 99), rng.randint(2, 99), rng.randint(2, 9)
        kind = at % 4
        if kind == 0:
            prompt, answer, off = (
                f"What is {a} + {b} * {c}?",
                str(a + b * c),
                str(a + b * c + rng.randint(1, 9)),
            )
        elif kind == 1:
            prompt, answer, off = f"What is {a} * {b}?", str(a * b), str(a * b - 10)
        elif kind == 2:
            low, high = sorted((a, a + b + 1))
            prompt, answer = f"What share of {high} is {low}? Give a fraction.", f"\\frac{{{low}}}{{{high}}}"
            off = f"\\frac{{{low + 1}}}{{{high}}}"
        else:
            prompt, answer, off = f"What is {a / 10:.1f} + {c}?", f"{a / 10 + c:.1f}", f"{a / 10 + c + 1:.1f}"
        wrong = (off, str(rng.randint(10_000, 99_999)), "no solution")
        items.append(Item(prompt, answer, answer, wrong, _BOX, "\\boxed{}"))
    return items


def text_items(n: int, seed: int) -> list[Item]:
    """Capitals of countries, answered by name alone."""
    names = sorted(_CAPITALS)
    random.Random(f"text {seed}").shuffle(names)
    items = []
    for at in range(n):
        country = names[at % len(names)]
        others = tuple(_CAPITALS[names[(at + k) % len(names)]] for k in (1, 2, 3))
        items.append(
            Item(f"What is the capital of {country}?", _CAPITALS[country], _CAPITALS[country], others)
        )
    return items


def choice_items(n: int, seed: int) -> list[Item]:
    """The same with four options, answered in an answer tag."""
    rng = random.Random(f"choice {seed}")
    items = []
    for item in text_items(n, seed):
        options = [item.answer, *item.wrong]
        rng.shuffle(options)
        letters = {option: "ABCD"[i] for i, option in enumerate(options)}
        prompt = item.prompt + "".join(f"\n{letters[option]}. {option}" for option in options)
        wrong = tuple(letters[option] for option in item.wrong)
        meta = {"options": options, "choices": options}
        form, empty = "<answer>{}</answer>", "<answer></answer>"
        items.append(Item(prompt, letters[item.answer], letters[item.answer], wrong, form, empty, meta))
    return items


def code_items(n: int, seed: int) -> list[Item]:
    """One-line functions with three assertions each."""
    rng = random.Random(f"code {seed}")
    items = []
    for _ in range(n):
        a, b = rng.randint(2, 9), rng.randint(1, 99)
        tests = [f"assert f({x}) == {a * x + b}" for x in (0, 3, rng.randint(10, 99))]
        answer = f"def f(x):\n    return {a} * x + {b}"
        wrong = (
            f"def f(x):\n    return {a} * x - {b}",
            "def f(x):\n    return None",
            "def g(x):\n    return x",
        )
        prompt = f"Write f(x) that returns {a} times x plus {b}."
        meta = {"tests": tests, "entry_point": "f"}
        items.append(Item(prompt, tests, answer, wrong, "```python\n{}\n```", "```python\n```", meta))
    return items


def sql_items(n: int, seed: int) -> list[Item]:
    """Filters over one small table."""
    rng = random.Random(f"sql {seed}")
    rows = ", ".join(f"({i}, 'n{i % 7}', {(i * 37) % 101})" for i in range(40))
    setup = f"CREATE TABLE t (id INTEGER, name TEXT, score INTEGER); INSERT INTO t VALUES {rows};"
    items = []
    for _ in range(n):
        limit = rng.randint(20, 80)
        answer = f"SELECT id FROM t WHERE score > {limit}"
        wrong = (f"SELECT id FROM t WHERE score < {limit}", "SELECT name FROM t", "SELECT 1")
        prompt = f"Which ids have a score above {limit}?"
        items.append(Item(prompt, answer, answer, wrong, "```sql\n{}\n```", "```sql\n```", {"setup": setup}))
    return items


def tool_items(n: int, seed: int) -> list[Item]:
    """One expected call of a weather tool."""
    rng = random.Random(f"tools {seed}")
    items = []
    for item in text_items(n, seed):
        day = rng.randint(1, 28)
        call = {"name": "weather", "parameters": {"city": item.answer, "day": day}}
        wrong = [
            {"name": "weather", "parameters": {"city": item.wrong[0], "day": day + 1}},
            {"name": "forecast", "parameters": {"town": item.answer}},
        ]
        items.append(
            Item(
                f"What is the weather in {item.answer} on day {day}?",
                [call],
                json.dumps(call),
                tuple(map(json.dumps, wrong)),
                "<tool_call>\n{}\n</tool_call>",
                "<tool_call></tool_call>",
            )
        )
    return items


_STRUCTURED = {
    "boxes": "box",
    "points": "point",
    "graphs": "graph",
    "schemas": "schema",
    "rankings": "ranking",
}


def _structured(function: str) -> Callable[[int, int], list[Item]]:
    """A set of `guerdon.audit.structured_items`, imported when it is asked for."""

    def make(n: int, seed: int) -> list[Item]:
        from guerdon.audit import structured_items

        return getattr(structured_items, function)(n, seed)

    return make


ITEM_SETS: dict[str, Callable[[int, int], list[Item]]] = {
    "math": math_items,
    "text": text_items,
    "choice": choice_items,
    "code": code_items,
    "sql": sql_items,
    "tools": tool_items,
    **{name: _structured(f"{singular}_items") for name, singular in _STRUCTURED.items()},
}
"""Built-in problems by kind: (number, seed) -> items."""
SUITED = {
    "verify.boxes": "boxes",
    "verify.choice": "choice",
    "verify.code": "code",
    "verify.graph": "graphs",
    "verify.json_schema": "schemas",
    "verify.match": "text",
    "verify.points": "points",
    "verify.ranking": "rankings",
    "verify.sql": "sql",
    "verify.tool_calls": "tools",
    "toolrl": "tools",
    "verify.bleu": "text",
    "verify.chrf": "text",
    "verify.rouge": "text",
    "verify.edit": "text",
}
"""The set a registered reward is audited with unless another is named; all others get `math`."""

PARTIAL = frozenset(
    {"toolrl", "verify.tool_calls", "verify.bleu", "verify.chrf", "verify.rouge", "verify.edit"}
)
"""Registered rewards that pay part of an answer by design: audited at their full mark."""


def items_for(reward: str, kind: str | None, n: int, seed: int) -> list[Item]:
    """The built-in items that suit a reward.

    Raises:
        RecipeError: an unknown set.
    """
    name = kind or SUITED.get(reward, "math")
    if name not in ITEM_SETS:
        raise RecipeError(f"--items {name}: unknown set{nearest(name, ITEM_SETS)}")
    return ITEM_SETS[name](n, seed)


def read_items(path: Path, n: int) -> list[Item]:
    """Items from records {prompt, reference, completion (a right one), meta, wrong: [texts]}.

    `wrong` may be left out: then other records' completions serve, whose reference differs.

    Raises:
        DataError: a record without completion or reference; the row is named.
    """
    from guerdon.bench.files import read_rows

    rows = read_rows(path, {"completion": str, "reference": None}, "records {prompt, reference, completion}")[
        :n
    ]
    items = []
    for at, row in enumerate(rows):
        others = [r["completion"] for r in rows if r["reference"] != row["reference"]]
        wrong = tuple(map(str, row.get("wrong") or others[at % max(len(others), 1) :][:3] or others[:3]))
        if not wrong:
            raise DataError(
                f"{path}, row {at + 1}: no wrong answer is known; add a field 'wrong' or a record with "
                "another reference"
            )
        meta = row.get("meta") or {}
        items.append(Item(str(row.get("prompt", "")), row["reference"], row["completion"], wrong, meta=meta))
    return items
