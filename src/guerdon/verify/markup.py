"""Marked-up parts of a text: tags, fences, and where in a completion its answer stands.

Everything here is linear in the length of the text, whatever the text: completions are not to be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from guerdon.errors import RecipeError
from guerdon.verify.extract import last_boxed
from guerdon.verify.fences import fences, last_fence


def between(text: str, opening: str, closing: str, one_line: bool = False) -> list[str]:
    """What stands between `opening` and the next `closing`, left to right, without overlaps.

    Args:
        one_line: only where both stand on one line; an opening mark without its end there is passed over.
    """
    found, at, end, line_end = [], 0, -1, -1
    while (start := text.find(opening, at)) >= 0:
        at = start + len(opening)
        end = end if end >= at else text.find(closing, at)
        if end < 0:
            break
        if one_line:
            line_end = line_end if line_end >= at else text.find("\n", at)
            line_end = len(text) if line_end < 0 else line_end
            if line_end < end:
                continue
        found.append(text[at:end])
        at = end + len(closing)
    return found


def blocks(text: str, tag: str) -> list[str]:
    """Contents of all closed `<tag>...</tag>`, left to right; each ends at the first closing tag."""
    return between(text, f"<{tag}>", f"</{tag}>")


def first_block(text: str, tag: str) -> str | None:
    """Content of the first closed `<tag>...</tag>`, stripped; None where there is none."""
    found = blocks(text, tag)
    return found[0].strip() if found else None


def last_block(text: str, tag: str) -> str | None:
    """Content of the last closed `<tag>...</tag>`, stripped; None where there is none."""
    found = blocks(text, tag)
    return found[-1].strip() if found else None


def once_in_order(text: str, tags: Sequence[str]) -> bool:
    """True where every opening and closing tag occurs exactly once and they come in the given order."""
    at = -1
    for mark in (mark for tag in tags for mark in (f"<{tag}>", f"</{tag}>")):
        if text.count(mark) != 1 or text.find(mark) < at:
            return False
        at = text.find(mark)
    return True


def only_blocks(text: str, tags: Sequence[str]) -> bool:
    """True where the stripped text is exactly `<a>...</a> <b>...</b> ...`, nothing else around or between."""
    if not once_in_order(text, tags):
        return False
    rest = text.strip()
    for tag in tags:
        if not rest.startswith(f"<{tag}>"):
            return False
        rest = rest.split(f"</{tag}>", 1)[1].lstrip()
    return not rest


def last_line(text: str) -> str | None:
    """Last line that is not blank, stripped."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else None


def finder(where: str) -> Callable[[str], str | None]:
    r"""The function that finds an answer in a completion; it returns None where there is none.

    Args:
        where: "text" (all of it, stripped), "boxed" (the last `\boxed{}`), "last_line", "tag:NAME" and
            "first_tag:NAME" (the last / first block of that tag), "fence" or "fence:LANGUAGE" (the last
            code fence), "after:MARK" (what follows the last MARK on its line).

    Raises:
        RecipeError: none of these.
    """
    kind, _, name = where.partition(":")
    if kind == "text":
        return str.strip
    if kind == "boxed":
        return last_boxed
    if kind == "last_line":
        return last_line
    if kind == "tag" and name:
        return partial(last_block, tag=name)
    if kind == "first_tag" and name:
        return partial(first_block, tag=name)
    if kind == "fence":
        return partial(last_fence, language=name or None)
    if kind == "after" and name:
        return partial(_after, mark=name)
    raise RecipeError(
        f"where must be text, boxed, last_line, tag:NAME, first_tag:NAME, fence[:LANGUAGE] or after:MARK, "
        f"got {where!r}"
    )


def _after(text: str, mark: str) -> str | None:
    _, found, rest = text.rpartition(mark)
    return rest.split("\n", 1)[0].strip() if found else None


__all__ = [
    "between",
    "blocks",
    "fences",
    "finder",
    "first_block",
    "last_block",
    "last_fence",
    "last_line",
    "once_in_order",
    "only_blocks",
]
