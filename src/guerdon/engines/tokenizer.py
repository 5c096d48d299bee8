"""ByteTokenizer: text as its UTF-8 bytes. No vocabulary to train, no text it cannot hold.

Enters: text. Leaves: ids 0 = pad, 1 = bos, 2 = eos, 3 + byte; the vocabulary is padded to 264 rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guerdon.errors import DataError

_FIRST_BYTE = 3
_BYTES = tuple(bytes([value]) for value in range(256))


class ByteTokenizer:
    """One token per UTF-8 byte.

    Attributes:
        vocab_size: 264: three specials, 256 bytes and five unused rows that round the width up to a
            multiple of 8. Unused ids decode to nothing.
    """

    vocab_size: int = 264
    pad: int = 0
    bos: int | None = 1
    eos: int = 2

    def encode(self, text: str) -> list[int]:
        """Ids of the text's UTF-8 bytes, without bos or eos.

        Raises:
            DataError: the text holds a lone surrogate, which UTF-8 cannot express.
        """
        try:
            raw = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"text has no UTF-8 form at character {error.start}: {error.reason}") from error
        return (np.frombuffer(raw, np.uint8).astype(np.int64) + _FIRST_BYTE).tolist()

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; specials and unused ids are dropped, broken UTF-8 becomes U+FFFD."""
        values = np.asarray(ids, dtype=np.int64) - _FIRST_BYTE
        kept = values[(values >= 0) & (values < 256)]
        return kept.astype(np.uint8).tobytes().decode("utf-8", errors="replace")

    def token_bytes(self, ids: Sequence[int]) -> list[bytes]:
        """The byte of every id, b"" for specials and unused ids."""
        return [
            _BYTES[i - _FIRST_BYTE] if _FIRST_BYTE <= i < _FIRST_BYTE + 256 else b"" for i in map(int, ids)
        ]
