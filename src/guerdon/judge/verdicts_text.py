"""Verdicts in words, tags, JSON and lists; see `verdicts` for those in double brackets."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from typing import Any

from guerdon.errors import RecipeError
from guerdon.judge.verdicts import Reader, _bounds, _digits, _numbers, number, only
from guerdon.registry import register

_LEAD = (
    r"(?:(?:so|thus|hence|therefore),?\s)?(?:(?:the|my)\s)?(?:final\s)?"
    r"(?:answer|verdict|decision|judge?ment|level)(?:\sis)?\s?:?"
)
_AROUND = r"[\s*_\"'`(\[{.:!]{0,12}"
_AFTER = r"[\s*_\"'`)\]}.!]{0,12}"
_RATING = re.compile(
    r"\b(?:rating|score|grade)(?:\sis)?\s?[:=]?[\s*_\"'`(\[]{0,8}"
    r"([+-]?\d{1,6}(?:\.\d{1,6})?(?:\s?(?:/|out\sof)\s?\d{1,6})?)(?![\d.]*\d)",
    re.IGNORECASE,
)
_LIST = re.compile(r"\[\s{0,4}((?:\d(?:\.\d{1,3})?\s{0,4},\s{0,4}){0,499}\d(?:\.\d{1,3})?)\s{0,4}\]")
_SCANNER = json.JSONDecoder()
_MAX_STARTS = 200


def _word_reader(words: Mapping[str, Any]) -> Any:
    """The word of a reply: what it begins with, set off by punctuation, or all of its last line."""
    options = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    head = re.compile(rf"{_AROUND}({options})(?=$|[.,;:!\n*\"'`)\]]|\s[-–—]\s)", re.IGNORECASE)
    tail = re.compile(rf"{_AROUND}(?:{_LEAD})?{_AROUND}({options}){_AFTER}", re.IGNORECASE)

    def read(text: str) -> Any:
        lines = text.strip().splitlines()
        matches = [head.match(text.strip()), tail.fullmatch(lines[-1].strip()[:400])] if lines else []
        return only(words[match.group(1).casefold()] for match in matches if match)

    return read


@register("verdict", "yes_no")
def yes_no(yes: float = 1.0, no: float = 0.0) -> Reader:
    """Yes or No: the first word of a reply or its last line ("Verdict: yes"); both must agree."""
    values = {"Yes": float(yes), "No": float(no)}
    if values["Yes"] == values["No"]:
        raise RecipeError(f"verdict.yes and verdict.no must differ, both are {yes!r}")
    read = _word_reader({"yes": "Yes", "no": "No"})
    return Reader(
        "yes_no", read, values, min(values.values()), max(values.values()), None, ("Yes", "No"), values
    )


@register("verdict", "levels")
def levels(values: Mapping[str, float] | None = None) -> Reader:
    """One word out of several, read as in yes_no; default {"full": 1, "partial": 0.5, "none": 0}."""
    chosen = _numbers({"full": 1.0, "partial": 0.5, "none": 0.0} if values is None else values)
    read = _word_reader({label.casefold(): label for label in chosen})
    return Reader(
        "levels", read, chosen, min(chosen.values()), max(chosen.values()), None, tuple(chosen), chosen
    )


@register("verdict", "tag")
def tag(tag: str = "score", low: float = 0, high: float = 100) -> Reader:
    """<score>7</score>: a number in [low, high] in a tag; several different ones are no verdict."""
    _bounds(low, high)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", tag):
        raise RecipeError(f"verdict.tag must be a tag's name, got {tag!r}")
    pattern = re.compile(rf"<{tag}>([^<>]{{0,40}})</{tag}>", re.IGNORECASE)

    def read(text: str) -> float | None:
        found = {number(inner, low, high) for inner in pattern.findall(text)}
        return found.pop() if len(found) == 1 else None

    guard = re.compile(rf"<(?=/?{tag}>)", re.IGNORECASE)
    return Reader("tag", read, None, float(low), float(high), guard)


@register("verdict", "scale")
def scale(low: float = 1, high: float = 10) -> Reader:
    """A rating in plain words: "Rating: 8", "score is 8/10", "8 out of 10", or a number and nothing else."""
    _bounds(low, high)

    def read(text: str) -> float | None:
        found = _RATING.findall(text) or [text.strip().strip("*_\"'`.() ")]
        numbers = {number(re.sub(r"out\sof", "/", item, flags=re.IGNORECASE), low, high) for item in found}
        return numbers.pop() if len(numbers) == 1 else None

    return Reader("scale", read, None, float(low), float(high), None, *_digits(low, high))


@register("verdict", "zero_one")
def zero_one(count: int | None = None, partial: bool = False) -> Reader:
    """[1, 0, 1]: a list of 0 and 1 (and, with `partial`, 0.5), as a tuple of floats.

    Args:
        count: how many there must be.
    """
    allowed = {0.0, 0.5, 1.0} if partial else {0.0, 1.0}

    def read(text: str) -> tuple[float, ...] | None:
        lists = [tuple(float(item) for item in found.split(",")) for found in _LIST.findall(text)]
        fitting = [found for found in lists if allowed.issuperset(found) and count in (None, len(found))]
        return only(fitting)

    return Reader("zero_one", read)


@register("verdict", "json")
def json_choice(
    field: str = "choice",
    values: Mapping[str, float] | None = None,
    low: float | None = None,
    high: float | None = None,
    schema: Mapping[str, Any] | None = None,
) -> Reader:
    """The last JSON object of a reply that has the field: {"choice": "A"} or {"score": 7}.

    Args:
        field: its name.
        values: choice -> number (any case); default, without low and high: {"A": 1, "B": 0, "tie": 0.5}.
        low, high: the field is a number in this range instead.
        schema: JSON schema that the object must fit (needs jsonschema).
    """
    if (low is None) != (high is None) or (low is not None and values is not None):
        raise RecipeError("verdict: a JSON verdict has either values, or low and high")
    fits = _validator(schema)
    if low is not None and high is not None:
        _bounds(low, high)
        chosen, bottom, top = None, float(low), float(high)
    else:
        chosen = _numbers({"A": 1.0, "B": 0.0, "tie": 0.5} if values is None else values)
        bottom, top = min(chosen.values()), max(chosen.values())
    folded = {label.casefold(): label for label in chosen or ()}

    def read(text: str) -> Hashable | None:
        found = [item for item in json_objects(text) if field in item]
        if not found or not fits(found[-1]):
            return None
        said = found[-1][field]
        if chosen is not None:
            return folded.get(said.strip().casefold()) if isinstance(said, str) else None
        if isinstance(said, bool) or not isinstance(said, int | float):
            return None
        return said if bottom <= said <= top else None

    return Reader("json", read, chosen, bottom, top)


def json_objects(text: str) -> list[dict[str, Any]]:
    """All outermost JSON objects in a text, left to right."""
    found, at, tries = [], text.find("{"), 0
    while at >= 0 and tries < _MAX_STARTS:
        tries += 1
        end = at + 1
        try:
            value, end = _SCANNER.raw_decode(text, at)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            found.append(value)
        at = text.find("{", end)
    return found


def _validator(schema: Mapping[str, Any] | None) -> Any:
    if schema is None:
        return lambda value: True
    try:
        import jsonschema  # type: ignore[import-untyped, unused-ignore]
        from referencing import Registry
    except ImportError as error:
        raise RecipeError("verdict.schema needs jsonschema: pip install 'guerdon[text]'") from error
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise RecipeError(f"verdict.schema is not a JSON schema: {error.message}"[:200]) from error
    # an empty registry: a remote $ref is an error, not a download
    return jsonschema.Draft202012Validator(schema, registry=Registry()).is_valid
