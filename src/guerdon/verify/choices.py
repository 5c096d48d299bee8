"""Multiple choice: which option an answer names, shuffled options, and the reward for the right one."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.answers_match import squeezed
from guerdon.verify.composite import Composite, given
from guerdon.verify.extract import alternatives, last_boxed, last_choice
from guerdon.verify.markup import finder, last_block

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ALONE = re.compile(r"\(?([A-Za-z])\)?[.:)]?")
_LEADING = re.compile(r"\(([A-Za-z])\)|([A-Z])[.:)](?=\s|$)|([a-z])[)](?=\s|$)")
_STATED = re.compile(
    r"(?:\A|\n)[ \t*#>-]{0,9}(?:[Tt]he )?(?:[Ff]inal |[Cc]orrect )?"
    r"[Aa]nswer(?: is)?[*]{0,2}(?::|(?<=is))[ \t]*[*(]{0,3}[ \t]*([A-Za-z])[*)]{0,3}\.?[*]{0,2}\s*\Z"
)
_ANCHORED = re.compile(
    r"\b(?:all|none|both|neither|some|any|either)\b.*\b(?:above|these|those|below|options|choices)\b"
    r"|\b(?:both\s+)?[A-J]\s*(?:and|or|&)\s*[A-J]\b",
    re.IGNORECASE,
)


def chosen(answer: str | None, options: Sequence[str]) -> int | None:
    """Index of the option an answer names; None where it names none, or two different ones.

    In this order: the answer is a capital letter ("B", "(B)", "B."); it is the text of exactly one option
    (any case, duplicates count as the first); it is a small letter ("b", "(b)"); its last line states one
    ("Answer: b"); it begins with one ("B) dog", "(b) dog"); it states a capital one ("the answer is B"), the
    last one said, which is no alternative ("A or B").
    """
    if answer is None:
        return None
    text = answer.strip().strip("*$").strip()
    alone = _ALONE.fullmatch(text)
    if alone and alone.group(1).isupper():
        return _index(alone.group(1), len(options))
    normal = [squeezed(option) for option in options]
    if squeezed(text) in normal:
        return normal.index(squeezed(text))
    if match := alone or _STATED.search(text[-200:]) or _LEADING.match(text):
        return _index(next(filter(None, match.groups())), len(options))
    letter = None if alternatives(text) else last_choice(text)
    return _index(letter, len(options)) if letter else None


def in_completion(completion: str) -> str:
    r"""The part of a completion with the answer: the last answer tag, else the last `\boxed{}`, else all."""
    for found in (last_block(completion, "answer"), last_boxed(completion)):
        if found is not None:
            return found
    return completion


def gold_option(reference: Any, options: Sequence[str]) -> int | None:
    """Index of the right option, given as index, letter or text; None where it is none of the options."""
    if isinstance(reference, int) and not isinstance(reference, bool):
        return reference if 0 <= reference < len(options) else None
    return chosen(str(reference), options) if isinstance(reference, str) else None


def same_option(a: int | None, b: int | None, options: Sequence[str]) -> bool:
    """True where both are options with the same text; None is never the same as anything."""
    return a is not None and b is not None and squeezed(options[a]) == squeezed(options[b])


def anchored(option: str) -> bool:
    """True for options that refer to their place or to other letters ("none of the above", "A and B")."""
    return _ANCHORED.search(option) is not None


def shuffled(options: Sequence[str], key: str, seed: int = 0) -> list[int] | None:
    """A random order of the options that moves at least one: position p shows option order[p].

    The order is a function of (options, key, seed) alone. Anchored options keep their place.

    Returns:
        None where no other order exists (fewer than two options that may move).
    """
    free = [i for i, option in enumerate(options) if not anchored(option)]
    if len(free) < 2:
        return None
    digest = blake2b("\x1f".join([str(seed), key, *options]).encode(errors="replace"), digest_size=8)
    draw = random.Random(int.from_bytes(digest.digest(), "big"))
    while (moved := draw.sample(free, len(free))) == free:
        pass
    order = list(range(len(options)))
    for place, option in zip(free, moved, strict=True):
        order[place] = option
    return order


def listed(options: Sequence[str], order: Sequence[int] | None = None) -> str:
    """Options as lines "A. text", in the given order."""
    order = range(len(options)) if order is None else order
    return "\n".join(f"{LETTERS[place]}. {options[option]}" for place, option in enumerate(order))


def choice(where: str | None = None, on_error: str | float = "nan") -> Composite:
    r"""1 where the chosen option is the right one, by content, else 0.

    Args:
        where: where the answer stands, see `markup.finder`; None: the last `<answer>`, else the last
            `\boxed{}`, else the whole completion.
        on_error: what a row without options or reference is worth.

    `meta["options"]` is the list of option texts, or a mapping from letter to text; the reference is the
    right letter, text, or index from 0. Parts: `correct`, and `parsed` (an option was recognised; weight 0).
    """
    find = finder(where) if where else in_completion
    weights = {"correct": 1.0, "parsed": 0.0}
    return Composite("choice", partial(_score, find=find), weights, version=f"2-{where}", on_error=on_error)


def options_of(row: Row) -> list[str]:
    """Option texts of a row, [] where it has none."""
    options = given(row, "options", given(row, "choices"))
    if isinstance(options, dict):
        options = [options[letter] for letter in sorted(options)]
    if not isinstance(options, list | tuple):
        return []
    return [str(option) for option in options]


def _score(row: Row, find: Any) -> dict[str, float] | Verdict:
    options = options_of(row)
    if not options:
        return missing("no options: expected a list of texts in meta['options']")
    gold = gold_option(given(row, "answer", row.reference), options)
    if gold is None:
        return missing(_no_gold(given(row, "answer", row.reference), len(options)))
    said = chosen(find(row.completion), options)
    return {"correct": float(same_option(said, gold, options)), "parsed": float(said is not None)}


def _no_gold(reference: Any, n: int) -> str:
    if reference is None:
        return "no reference: expected the letter, text or index of one option"
    shown = f"{reference!r}"[:60]
    return f"reference {shown} is none of the {n} options; expected the letter, text or index (from 0) of one"


def _index(letter: str, n: int) -> int | None:
    index = LETTERS.index(letter.upper())
    return index if index < n else None
