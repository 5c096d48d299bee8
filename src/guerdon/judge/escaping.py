"""Putting text nobody vouches for into a prompt so that it stays material.

Enters: answers, questions, references. Leaves: the same text between marks it cannot contain, without the
characters by which a text could leave its place. What a judge makes of the words inside is another matter:
this closes the doors a parser or tokenizer would open, not a reader's credulity.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

_NONCE = 12  # hexadecimal digits

# Tokens of chat formats. Servers tokenize them inside contents too, where they would end the user's turn.
_CONTROL_TOKENS = re.compile(
    r"<(?=[|\uff5c][^<>\n]{0,60}[|\uff5c]>)"  # <|im_end|>, <|eot_id|>, DeepSeek's full-width bars
    r"|<(?=/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|start_header_id|end_header_id)>)"
    r"|<(?=<?/?SYS>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
    re.IGNORECASE,
)
# Characters that are no text: controls (but tab and line ends), lone surrogates, and the tag characters
# that spell text only a model sees.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\U000e0000-\U000e007f]")
_FENCE = re.compile(r"^<<<(?=[A-Z][A-Z0-9_.-]{0,60} [0-9a-f]{12}$)|>>>(?<=[0-9a-f]{12}>>>)$", re.MULTILINE)


def cleaned(text: str, guard: re.Pattern[str] | None = None, marks: Sequence[str] = ()) -> str:
    """Text that holds no chat control token, no fence, no verdict and no mark of a template.

    The first character of each gets a space behind it ("< |im_end|>"); characters that are no text
    become U+FFFD. All other text stays as it is.

    Args:
        guard: what a verdict looks like (see `Reader.guard`).
        marks: further strings that must not occur, in any case.
    """
    text = _NO_TEXT.sub("\ufffd", text)
    for pattern in (_CONTROL_TOKENS, _FENCE):
        text = pattern.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)
    patterns = [re.compile(re.escape(mark), re.IGNORECASE) for mark in marks if mark]
    for pattern in ([guard] if guard is not None else []) + patterns:
        text = _broken(text, pattern)
    return text


def _broken(text: str, pattern: re.Pattern[str]) -> str:
    """Text in which the pattern no longer occurs; breaking one match may leave another, hence the loop."""
    for _ in range(3):
        text, count = pattern.subn(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)
        if not count:
            return text
    return pattern.sub("\ufffd", text)


def nonce_for(texts: Sequence[str]) -> str:
    """A mark that occurs in none of the texts.

    It is derived from them, so that equal questions stay equal (and cached), and chosen after them, so
    that nobody can write it in advance.
    """
    seed = json.dumps(list(texts)).encode()
    folded = [text.casefold() for text in texts]
    for attempt in range(1 << 16):
        nonce = hashlib.sha256(attempt.to_bytes(4, "big") + seed).hexdigest()[:_NONCE]
        if not any(nonce in text for text in folded):
            return nonce
    raise AssertionError("a text cannot contain every mark")


def fenced(name: str, text: str, nonce: str) -> str:
    """Text between an opening and a closing line that carry the nonce."""
    return f"<<<{name.upper()} {nonce}\n{text}\n{name.upper()} {nonce}>>>"


def shortened(text: str, limit: int) -> str:
    """Text of at most about `limit` characters: beginning and end, and how much was cut between them."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    return (
        f"{text[:head]}\n[... {len(text) - limit} characters left out here ...]\n{text[len(text) - tail :]}"
    )


def fence_all(fields: Mapping[str, str], nonce: str) -> dict[str, str]:
    """Every field between fences of its own."""
    return {name: fenced(name, text, nonce) for name, text in fields.items()}
