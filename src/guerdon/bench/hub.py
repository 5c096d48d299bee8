"""Benchmarks straight from the Hugging Face hub: `hub:OWNER/NAME[:CONFIG][@SPLIT]` in place of a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from guerdon.errors import DataError, RecipeError

PREFIX = "hub:"
_ADDRESS = re.compile(r"hub:([\w.-]+/[\w.-]+)(?::([\w.-]+))?(?:@([\w.+-]+))?")


def is_address(place: object) -> bool:
    """Whether this names a data set of the hub rather than a file."""
    return str(place).startswith(PREFIX)


def rows(address: str, what: str) -> list[dict[str, Any]]:
    """All rows of a split, as the `datasets` library reads it; several splits are written `a+b`.

    Args:
        address: `hub:Qwen/ProcessBench@gsm8k+math`; the split may be left out where there is only one.
        what: the schema's name, for messages.

    Raises:
        RecipeError: no address of that form, or `datasets` is not installed.
        DataError: the data set cannot be fetched, or has several splits and none was named.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise RecipeError(f"{address}: expected hub:OWNER/NAME, hub:OWNER/NAME@SPLIT or :CONFIG before the @")
    name, config, split = match.groups()
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise RecipeError(
            f"{address} needs the library datasets: pip install 'guerdon[hub]', or download a file of "
            f"https://huggingface.co/datasets/{name} and give its path"
        ) from error
    try:
        found = load_dataset(name, config, split=split)
    except Exception as error:  # its errors are of the hub, the network, Arrow and the data set's own
        raise DataError(
            f"{address} cannot be fetched ({type(error).__name__}: {error}); expected {what}. Offline? "
            f"Download a file of https://huggingface.co/datasets/{name} elsewhere and give its path"
        ) from error
    if isinstance(found, Mapping):
        if len(found) != 1:
            splits = ", ".join(found)
            raise DataError(
                f"{address} has the splits {splits}: name one as {address}@{next(iter(found))}, or a+b"
            )
        found = next(iter(found.values()))
    return [dict(row) for row in found]
