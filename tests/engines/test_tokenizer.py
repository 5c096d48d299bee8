from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.engines.tokenizer import ByteTokenizer
from guerdon.errors import DataError

TOKENIZER = ByteTokenizer()


def test_ids_are_bytes_plus_three():
    assert TOKENIZER.encode("aé") == [3 + 0x61, 3 + 0xC3, 3 + 0xA9]
    assert TOKENIZER.decode([1, 3 + 0x61, 2, 0, 263]) == "a"
    assert TOKENIZER.token_bytes([1, 3 + 0xC3, 263]) == [b"", b"\xc3", b""]


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_round_trip(text):
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert b"".join(TOKENIZER.token_bytes(ids)).decode() == text


def test_cut_characters_become_replacements():
    assert TOKENIZER.decode(TOKENIZER.encode("é")[:1]) == "�"


def test_lone_surrogate_is_named():
    with pytest.raises(DataError, match="character 1"):
        TOKENIZER.encode("a\ud800")


def test_importing_the_tokenizer_and_protocol_loads_no_torch():
    code = (
        "import sys, guerdon.engines as e; e.ByteTokenizer, e.Sampling, e.Engine; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
