"""The documentation's example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from guerdon.sandbox import why_not

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "isolated")
def test_the_example() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), {})
