"""The reference column: what a sample's accepted answers are."""

from __future__ import annotations

from collections.abc import Hashable
from fractions import Fraction
from typing import Any

from guerdon.verify.extract import last_boxed, last_marked


def references_of(reference: Any) -> tuple[str, ...] | str:
    """The accepted answers of a sample as text, or why there are none.

    A text that holds a worked solution (`#### 18`, `A: 18`, a box) stands for its final answer.
    """
    if isinstance(reference, str):
        text = reference.strip()
        return (_final(text),) if text else "missing reference"
    if isinstance(reference, bool) or reference is None:
        return "missing reference" if reference is None else (str(reference),)
    if isinstance(reference, int | float | Fraction):
        return (repr(reference) if isinstance(reference, float) else str(reference),)
    if isinstance(reference, list | tuple) and reference:
        found: list[str] = []
        for item in reference:
            texts = references_of(item) if not isinstance(item, list | tuple) else "nested references"
            if isinstance(texts, str):
                return texts
            found += texts
        return tuple(found)
    if hasattr(reference, "item") and getattr(reference, "ndim", None) == 0:  # a NumPy scalar
        return references_of(reference.item())
    return (
        "missing reference"
        if isinstance(reference, list | tuple)
        else f"reference is {type(reference).__name__}"
    )


def _final(text: str) -> str:
    if "####" in text or ("\nA:" in text):
        return last_marked(text) or text
    if len(text) > 40 and "\\boxed" in text:
        return last_boxed(text) or text
    return text


def reference_key(reference: Any) -> Hashable:
    """Equal for references that are graded alike."""
    return (
        tuple(map(str, reference))
        if isinstance(reference, list)
        else (type(reference).__name__, str(reference))
    )
