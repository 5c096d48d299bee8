"""Reward for JSON that parses and fits a JSON schema. Needs the extra `schema` (jsonschema)."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.composite import Composite, given
from guerdon.verify.json_text import NotJSON, find_json, parse_json
from guerdon.verify.markup import finder
from guerdon.verify.settled import settling


def json_schema(
    schema: dict[str, Any] | None = None,
    where: str = "text",
    strict: bool = False,
    parse_weight: float = 0.0,
    on_error: str | float = "nan",
) -> Composite:
    """1 where the completion's JSON fits the schema: parse_weight * parses + (1 - parse_weight) * valid.

    Args:
        schema: the schema; None: each row's `meta["schema"]`, or the reference itself.
        where: where the JSON stands in the completion, see `markup.finder`.
        strict: that text must be JSON and nothing else; else it is looked for in fences and running text.
        parse_weight: share of the reward for any JSON at all.
        on_error: what a row without schema, or with a broken one, is worth.

    Without `strict`, JSON that is denied, taken back or offered side by side does not count (see `settled`).
    References (`$ref`) are resolved inside the schema only; nothing is fetched.
    """
    if not 0.0 <= parse_weight <= 1.0:
        raise RecipeError(f"verify.json_schema.parse_weight must lie in [0, 1], got {parse_weight!r}")
    if schema is not None:
        _validator(_frozen(schema))
    score = partial(
        _score, schema=schema, find=finder(where) if strict else settling(finder(where)), strict=strict
    )
    weights = {"parses": parse_weight, "valid": 1.0 - parse_weight}
    return Composite("json_schema", score, weights, version=f"2-{where}-{strict}", on_error=on_error)


def _score(row: Row, schema: Any, find: Any, strict: bool) -> dict[str, float] | Verdict:
    wanted = schema if schema is not None else given(row, "schema", row.reference)
    if not isinstance(wanted, dict | bool):
        return missing("no reference: expected a JSON schema in meta['schema'] or as reference")
    try:
        validator = _validator(_frozen(wanted))
    except RecipeError as error:
        return missing(str(error))
    text = find(row.completion)
    try:
        value = (
            parse_json(text or "") if strict else find_json(text or "", (dict, list, str, int, float, bool))
        )
    except NotJSON:
        return {"parses": 0.0, "valid": 0.0}
    return _fits(validator, value)


def _fits(validator: Any, value: Any) -> dict[str, float] | Verdict:
    """Parts of a parsed value; a broken schema is missing, JSON too deep for a sound one does not fit."""
    from referencing.exceptions import Unresolvable

    try:
        return {"parses": 1.0, "valid": float(validator.is_valid(value))}
    except Unresolvable as error:
        return missing(f"the schema has a $ref that leads nowhere inside it: {error}"[:200])
    except RecursionError:
        try:
            validator.is_valid(None)
        except RecursionError:
            return missing("the schema refers to itself without end")
        return {"parses": 1.0, "valid": 0.0}


def _frozen(schema: Any) -> str:
    import json

    return json.dumps(schema, sort_keys=True)


@lru_cache(maxsize=256)
def _validator(text: str) -> Any:
    import json

    try:
        import jsonschema  # type: ignore[import-untyped, unused-ignore]
        from referencing import Registry
    except ImportError as error:
        raise RecipeError("verify.json_schema needs jsonschema: pip install 'guerdon[schema]'") from error
    schema = json.loads(text)
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise RecipeError(f"the schema itself is not valid: {error.message}"[:200]) from error
    return kind(schema, registry=Registry())  # an empty registry: a remote $ref is an error, not a download
