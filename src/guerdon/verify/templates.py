"""Format rewards: tags in order, or a regular expression."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from guerdon.errors import RecipeError
from guerdon.scoring import Row
from guerdon.verify.composite import Composite
from guerdon.verify.markup import blocks, once_in_order, only_blocks

_MODES = ("strict", "once", "present")


def tags(
    names: Sequence[str] = ("think", "answer"),
    mode: str = "strict",
    not_empty: bool = False,
    on_error: str | float = "nan",
) -> Composite:
    """1 where the completion is marked up as asked, else 0.

    Args:
        names: the tags, in order.
        mode: "strict": nothing but these blocks, each once, white space between; "once": each opening and
            closing tag exactly once and in order, any text around; "present": each block at least once.
        not_empty: every block must hold something.

    Parts: `format`, and `share` (share of the tags with a closed block; weight 0). Looks at the
    completion only, so no reference is needed.
    """
    if mode not in _MODES:
        raise RecipeError(f"verify.tags.mode must be one of {', '.join(_MODES)}, got {mode!r}")
    names = (names,) if isinstance(names, str) else tuple(names)
    if not names or not all(re.fullmatch(r"[A-Za-z][\w:.-]*", name) for name in names):
        raise RecipeError(f"verify.tags.names must be tag names such as think, answer, got {list(names)}")
    score = partial(_tags, names=names, mode=mode, not_empty=not_empty)
    version = f"1-{'/'.join(names)}-{mode}-{not_empty}"
    return Composite("tags", score, {"format": 1.0, "share": 0.0}, version=version, on_error=on_error)


def pattern(regex: str, whole: bool = True, dotall: bool = True, on_error: str | float = "nan") -> Composite:
    """1 where the completion matches a regular expression, else 0.

    Args:
        regex: Python syntax. It is your own: a pattern with nested repeats can take forever on hostile text.
        whole: the stripped completion must match as a whole, else the expression may match anywhere in it.
        dotall: "." matches line ends.

    Raises:
        RecipeError: not a regular expression.
    """
    try:
        compiled = re.compile(regex, re.DOTALL if dotall else 0)
    except re.error as error:
        raise RecipeError(f"verify.pattern.regex is not a regular expression: {error}") from error
    score = partial(_pattern, compiled=compiled, whole=whole)
    return Composite(
        "pattern", score, {"format": 1.0}, version=f"1-{regex}-{whole}-{dotall}", on_error=on_error
    )


def _tags(row: Row, names: tuple[str, ...], mode: str, not_empty: bool) -> dict[str, float]:
    text = row.completion
    found = [blocks(text, name) for name in names]
    fits = {"strict": only_blocks, "once": once_in_order}.get(mode, lambda *_: all(found))(text, names)
    if not_empty:
        fits = fits and all(any(content.strip() for content in contents) for contents in found)
    return {"format": float(fits), "share": sum(map(bool, found)) / len(names)}


def _pattern(row: Row, compiled: re.Pattern[str], whole: bool) -> dict[str, float]:
    match = compiled.fullmatch(row.completion.strip()) if whole else compiled.search(row.completion)
    return {"format": float(match is not None)}
