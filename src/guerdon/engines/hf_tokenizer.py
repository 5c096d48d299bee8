"""A transformers tokenizer behind guerdon's small Tokenizer interface, plus chat templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.errors import EngineError

_HEX_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class HFTokenizer:
    """Wraps a `PreTrainedTokenizer(Fast)`.

    Attributes:
        inner: the wrapped tokenizer.
        vocab_size: ids it knows, added tokens included (the model's own vocabulary may be larger).
        eos, pad, bos: special ids; pad falls back to eos, bos may be None.
    """

    def __init__(self, inner: Any) -> None:
        if inner.eos_token_id is None:
            raise EngineError("the tokenizer has no eos token: set eos_token, or nothing ends a completion")
        self.inner = inner
        self.vocab_size: int = len(inner)
        self.eos: int = inner.eos_token_id
        self.pad: int = inner.eos_token_id if inner.pad_token_id is None else inner.pad_token_id
        self.bos: int | None = inner.bos_token_id
        self._special = frozenset(inner.all_special_ids)
        self._style = _byte_style(inner)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens."""
        return list(self.inner.encode(text, add_special_tokens=False))

    def encode_prompt(self, prompt: str | Sequence[Mapping[str, Any]]) -> list[int]:
        """Ids of a prompt with the special tokens the tokenizer puts there; messages by chat template.

        Raises:
            EngineError: chat messages, and the tokenizer has no chat template.
        """
        if isinstance(prompt, str):
            ids = list(self.inner.encode(prompt))
            appended = bool(ids) and ids[-1] == self.eos and not prompt.endswith(self.inner.eos_token)
            return ids[:-1] if appended else ids  # an eos after the prompt would end it
        if not self.inner.chat_template:
            raise EngineError(
                "the prompt is a list of chat messages, but this tokenizer has no chat template: give "
                "plain text or set tokenizer.chat_template"
            )
        messages = [dict(message) for message in prompt]
        continuing = bool(messages) and messages[-1].get("role") == "assistant"
        text = self.inner.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=not continuing,
            continue_final_message=continuing,
        )
        return list(self.inner.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; special tokens are dropped."""
        return str(
            self.inner.decode(
                [int(i) for i in ids], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def token_bytes(self, ids: Sequence[int]) -> list[bytes]:
        """UTF-8 bytes of every id, b"" for special tokens; together they are the text of `decode`.

        Byte-level and byte-fallback vocabularies are exact even where a character spans several tokens.
        """
        numbers = [int(i) for i in ids]
        pieces = [
            b"" if i in self._special or token is None else self._piece(i, token)
            for i, token in zip(numbers, self.inner.convert_ids_to_tokens(numbers), strict=True)
        ]
        if self._style == "metaspace":
            self._strip_first_space(pieces, numbers)
        return pieces

    def _piece(self, number: int, token: str) -> bytes:
        if number in self.inner.added_tokens_decoder:
            return token.encode()
        if self._style == "byte_level":
            return bytes(_BYTE_OF[c] for c in token) if all(c in _BYTE_OF for c in token) else token.encode()
        if self._style == "metaspace":
            byte = _HEX_BYTE.fullmatch(token)
            return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()
        return str(self.inner.decode([number], clean_up_tokenization_spaces=False)).encode()

    def _strip_first_space(self, pieces: list[bytes], ids: list[int]) -> None:
        """SentencePiece decoders drop the space in front of the first word."""
        first = next((at for at, piece in enumerate(pieces) if piece), None)
        if first is not None and pieces[first].startswith(b" ") and not self.decode(ids).startswith(" "):
            pieces[first] = pieces[first][1:]


def byte_characters() -> list[str]:
    """GPT-2's printable stand-in for every byte: itself where printable, else the next free above 255."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    free = iter(range(256, 512))
    return [chr(value if value in printable else next(free)) for value in range(256)]


_BYTE_OF = {character: value for value, character in enumerate(byte_characters())}


def _byte_style(inner: Any) -> str:
    """How the vocabulary spells bytes: "byte_level" (GPT-2), "metaspace" (SentencePiece) or "other"."""
    backend = getattr(inner, "backend_tokenizer", None)
    spec = json.loads(backend.to_str()).get("decoder") if backend is not None else None
    text = json.dumps(spec or {}, ensure_ascii=False)
    if "ByteLevel" in text:
        return "byte_level"
    return "metaspace" if "▁" in text or hasattr(inner, "sp_model") else "other"
