"""Code fences in a text: their contents, of all languages or of one. Linear in the length of the text."""

from __future__ import annotations

import re

_FENCE = re.compile(r"```[ \t]*([A-Za-z0-9_+#.-]*)([ \t]*\r?\n)?")


def fences(text: str, language: str | None = None) -> list[str]:
    """Contents of all closed code fences (of one language), left to right, stripped.

    Without a language every fence counts; with one, its word after the three backticks must be the
    language (any case).
    """
    found, at = [], 0
    while match := _FENCE.search(text, at):
        end = text.find("```", match.end(1))
        if end < 0:
            break
        word, line_end = match.groups()
        if language is not None and word.lower() == language.lower():
            found.append(text[match.end(1) : end].strip())
        elif language is None:  # a word names the language only where its line ends there
            found.append(text[match.end(1) if line_end else match.start() + 3 : end].strip())
        at = end + 3
    return found


def last_fence(text: str, language: str | None = None) -> str | None:
    """Content of the last code fence (of one language); None where there is none."""
    found = fences(text, language)
    return found[-1] if found else None
