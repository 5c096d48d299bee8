"""Problems whose answers are structures: boxes, points, graphs, JSON under a schema, rankings."""

from __future__ import annotations

import json
import random
from typing import Any

from guerdon.audit.items import Item

FORM, EMPTY = "<answer>{}</answer>", "<answer></answer>"


def box_items(n: int, seed: int) -> list[Item]:
    """Boxes in a picture of 1000 by 1000; wrong ones do not overlap the right one."""
    rng = random.Random(f"boxes {seed}")
    items = []
    for _ in range(n):
        x, y, w, h = rng.randint(0, 300), rng.randint(0, 300), rng.randint(50, 150), rng.randint(50, 150)
        box = [x, y, x + w, y + h]
        wrong = tuple(str([x + d, y + d, x + w + d, y + h + d]) for d in (200, 350, 500))
        prompt = f"Where is object {rng.randint(1, 99)}? Answer with [x1, y1, x2, y2]."
        items.append(Item(prompt, box, str(box), wrong, FORM, EMPTY))
    return items


def point_items(n: int, seed: int) -> list[Item]:
    """Points to click inside such a box."""
    items = []
    for item in box_items(n, seed):
        x1, y1, x2, y2 = item.reference
        answer = str([(x1 + x2) // 2, (y1 + y2) // 2])
        wrong = tuple(str([x2 + d, y2 + d]) for d in (40, 200, 400))
        prompt = item.prompt.replace("[x1, y1, x2, y2]", "[x, y]")
        items.append(Item(prompt, item.reference, answer, wrong, FORM, EMPTY))
    return items


def graph_items(n: int, seed: int) -> list[Item]:
    """Three directed edges among five nodes; wrong graphs share none of them."""
    rng = random.Random(f"graphs {seed}")
    items = []
    for _ in range(n):
        pairs = [[a, b] for a in "ABCDE" for b in "ABCDE" if a < b]
        rng.shuffle(pairs)
        edges, others, more = pairs[:3], pairs[3:6], pairs[6:9]
        wrong = tuple(json.dumps(some) for some in (others, more, []))
        items.append(Item("Which nodes depend on which?", edges, json.dumps(edges), wrong, FORM, EMPTY))
    return items


def schema_items(n: int, seed: int) -> list[Item]:
    """Objects with a name and a number within bounds."""
    rng = random.Random(f"schemas {seed}")
    items = []
    for _ in range(n):
        low = rng.randint(1, 90)
        schema: dict[str, Any] = {
            "type": "object",
            "required": ["name", "size"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "size": {"type": "integer", "minimum": low},
            },
        }
        answer = json.dumps({"name": "a", "size": low + rng.randint(0, 9)})
        wrong = (json.dumps({"name": "a", "size": low - 1}), json.dumps({"name": "a"}), "[]")
        prompt = f"Give an object with a name and a size of at least {low}."
        items.append(Item(prompt, schema, answer, wrong, FORM, EMPTY, {"schema": schema}))
    return items


def ranking_items(n: int, seed: int) -> list[Item]:
    """Eight candidates of which one is relevant; wrong rankings put it last or leave it out."""
    rng = random.Random(f"rankings {seed}")
    items = []
    for _ in range(n):
        order = rng.sample(range(1, 9), 8)
        wrong = (str([*order[1:], order[0]]), str(order[1:]), "[]")
        prompt = "Rank the candidates 1 to 8, best first."
        items.append(Item(prompt, [order[0]], str(order), wrong, FORM, EMPTY))
    return items
