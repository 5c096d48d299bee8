"""Boxes and points in images: intersection over union, pairing of several boxes, points inside boxes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.assignment import best_pairs
from guerdon.verify.composite import Composite, given
from guerdon.verify.markup import finder
from guerdon.verify.settled import settling

Box = tuple[float, float, float, float]
Point = tuple[float, float]

_NUMBERS = re.compile(r"[\[(]\s*(-?\d{1,9}(?:\.\d{1,9})?(?:\s*,\s*-?\d{1,9}(?:\.\d{1,9})?){1,3})\s*[\])]")
_KEYS = ("bbox_2d", "bbox", "box", "point_2d", "point", "coordinates")

_FORMATS: dict[str, Callable[[Sequence[float]], Box]] = {
    "xyxy": lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])),
    "xywh": lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3]),
    "cxcywh": lambda v: (v[0] - v[2] / 2, v[1] - v[3] / 2, v[0] + v[2] / 2, v[1] + v[3] / 2),
}


def area(box: Box) -> float:
    """Area of a box (x1, y1, x2, y2); 0 where it is turned inside out."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2); two empty boxes have 0."""
    shared = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = area(a) + area(b) - shared
    return shared / union if union > 0 else 0.0


def giou(a: Box, b: Box) -> float:
    """Generalised IoU in (-1, 1]: IoU - (hull - union) / hull.

    Reference: Rezatofighi et al., arXiv 1902.09630.
    """
    hull = area((min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])))
    overlap = iou(a, b)
    union = (area(a) + area(b)) / (1.0 + overlap)
    return overlap - (hull - union) / hull if hull > 0 else 0.0


def inside(point: Point, box: Box) -> bool:
    """True where the point lies in the box or on its border."""
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def paired_iou(gold: Sequence[Box], said: Sequence[Box]) -> tuple[float, list[float]]:
    """Sum of IoU over the best one-to-one pairing / max(|gold|, |said|), and the IoU of every pair.

    Superfluous boxes count against an answer as much as missing ones. Two empty sets have 1.
    """
    if not gold or not said:
        return float(not gold and not said), []
    scores = [[iou(g, s) for s in said] for g in gold]
    pairs = [scores[i][j] for i, j in best_pairs(scores)]
    return math.fsum(pairs) / max(len(gold), len(said)), pairs


def number_rows(text: str, width: int) -> list[tuple[float, ...]]:
    """All rows of `width` numbers in square or round brackets, also inside JSON; in order."""
    rows = [tuple(map(float, match.split(","))) for match in _NUMBERS.findall(text)]
    return [row for row in rows if len(row) == width]


def boxes(
    metric: str = "iou",
    threshold: float = 0.5,
    format: str = "xyxy",
    where: str = "text",
    max_boxes: int = 100,
    on_error: str | float = "nan",
) -> Composite:
    """Reward boxes against the expected ones, in [0, 1].

    Args:
        metric: "iou" (mean IoU of the best pairing, see `paired_iou`) or "f1" (F1 of the pairs whose IoU
            reaches `threshold`); both are parts.
        threshold: of "f1".
        format: of predicted and expected boxes: "xyxy", "xywh" or "cxcywh", in the same units.
        where: where the boxes stand in the completion, see `markup.finder`.
        max_boxes: an answer with more boxes scores 0.
        on_error: what a row without reference is worth.

    Boxes that are denied or taken back do not count (see `settled`). The reference is one box or a list of
    boxes. An answer without a box scores 0, unless none is expected.
    """
    if metric not in ("iou", "f1"):
        raise RecipeError(f"verify.boxes.metric must be iou or f1, got {metric!r}")
    if format not in _FORMATS:
        raise RecipeError(f"verify.boxes.format must be one of {', '.join(_FORMATS)}, got {format!r}")
    score = partial(
        _boxes, threshold=threshold, corners=format, find=settling(finder(where), False), most=max_boxes
    )
    weights = {name: float(name == metric) for name in ("iou", "f1")}
    version = f"2-{metric}-{threshold}-{format}-{where}-{max_boxes}"
    return Composite("boxes", score, weights, version=version, on_error=on_error)


def points(where: str = "text", distance: float | None = None, on_error: str | float = "nan") -> Composite:
    """1 where the first point of the answer hits the target, else 0.

    Args:
        where: where the point stands in the completion, see `markup.finder`.
        distance: how far from a target point still hits, in its units; needed for point targets only.
        on_error: what a row without reference is worth.

    Points that are denied, taken back or offered side by side do not count (see `settled`). The reference is
    a box (x1, y1, x2, y2): the point must lie in it; or a point (x, y) with `distance`.
    """
    score = partial(_points, distance=distance, find=settling(finder(where)))
    return Composite("points", score, {"hit": 1.0}, version=f"2-{where}-{distance}", on_error=on_error)


def _boxes(row: Row, threshold: float, corners: str, find: Any, most: int) -> dict[str, float] | Verdict:
    wanted = given(row, "boxes", row.reference)
    if wanted is None:
        return missing("no reference: expected a box of four numbers or a list of boxes")
    gold = [_FORMATS[corners](box) for box in _rows(wanted, 4)]
    if not gold and wanted:
        return missing(f"reference is no box of four numbers: {str(wanted)[:60]}")
    said = [_FORMATS[corners](box) for box in number_rows(find(row.completion) or "", 4)]
    if len(said) > most:
        return {"iou": 0.0, "f1": 0.0}
    mean, pairs = paired_iou(gold, said)
    total = len(gold) + len(said)
    hits = sum(value >= threshold for value in pairs)
    return {"iou": mean, "f1": 2.0 * hits / total if total else 1.0}


def _points(row: Row, distance: float | None, find: Any) -> dict[str, float] | Verdict:
    wanted = given(row, "target", row.reference)
    box, centre = _rows(wanted, 4), _rows(wanted, 2)
    if not box and (not centre or distance is None):
        return missing("no reference: expected a box of four numbers, or a point and the parameter distance")
    found = number_rows(find(row.completion) or "", 2)
    if not found:
        return {"hit": 0.0}
    x, y = found[0]
    if box:
        return {"hit": float(inside((x, y), _FORMATS["xyxy"](box[0])))}
    return {"hit": float(math.hypot(x - centre[0][0], y - centre[0][1]) <= (distance or 0.0))}


def _rows(value: Any, width: int) -> list[tuple[float, ...]]:
    """Coordinate rows in nested JSON, left to right."""
    if isinstance(value, dict):
        value = [value[key] for key in _KEYS if key in value]
    if not isinstance(value, list | tuple):
        return []
    if len(value) == width and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
        row = tuple(map(float, value))
        return [row] if all(map(math.isfinite, row)) else []
    return [row for part in value for row in _rows(part, width)]
