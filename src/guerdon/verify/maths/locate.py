"""From a model's text to the answer that is compared: rule by rule, with hedges told apart.

The last box; else the marked answer; else the text itself where it is nothing but an answer; else the last
number. Several guesses are no answer, even if one of them is right.
"""

from __future__ import annotations

import re

from guerdon.verify.extract import (
    MAX_PAYLOAD,
    Extracted,
    after_thinking,
    alternatives,
    last_boxed,
    last_choice,
    last_marked,
    last_number,
    last_tag,
    numbers,
)
from guerdon.verify.maths.answers import Answer, read
from guerdon.verify.maths.kinds import Contradiction, Named, Number, Values, Word
from guerdon.verify.maths.words import compound_quantity

MAX_BARE = 200
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?")
_GUESSES = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|might|could|between|alternatively)\b|\?", re.IGNORECASE
)
_FORMULA = re.compile(r"\$([^$\n]{1,300})\$|\\\(((?:(?!\\\)).){1,300})\\\)")
_CLAUSE = re.compile(
    r"(?:,\s|;|\s[-–—]\s|\s\(|:\s|\.\s|\b(?:because|since|as|so|which|after|in total|for)\b)"
)
_NEXT_GUESS = re.compile(
    r"[\s.,;$)}*\\]*(?:\\text\s*\{\s*)?(?:or|but|maybe|perhaps|possibly|alternatively|actually|wait|no)\b[^.\n]{0,60}\d",
    re.IGNORECASE,
)
_REMARKED = re.compile(r"(-?(?:\\?\$)?\d[\d,.]*(?:\\?%)?)\s+\((?!base|or\b|maybe|perhaps|possibly|could)")
_WHICH = re.compile(r"\bwhich\s+(?:is|equals|gives|makes)\b", re.IGNORECASE)
_REASON = re.compile(r"[,;]?\s+\b(?:because|since|as|so|when|where|given|with|which)\b.*", re.IGNORECASE)
_VERDICTS = frozenset(("yes", "no", "true", "false"))
_LEADING = re.compile(r"[\s*]*(yes|no|true|false)[\s*]*[,.;:!]", re.IGNORECASE)
_OR_BEFORE = re.compile(r"\bor\b[^.\n]{0,40}$")
_LETTER = re.compile(r"[(\[]?[A-Z][)\]]?")
_NOT = re.compile(r"(?:[A-Za-z]+ly\s+)?(?:[Nn]ot|[Nn]ever)\s+[\d\s$\\(*A-Z.+-]")


def locate(text: str, gold: str = "") -> Extracted:
    """The answer in a model's text.

    Args:
        text: the completion.
        gold: the reference; its kind (a choice letter, words) decides how prose is read.
    """
    if "think>" in text:
        text = after_thinking(text)
    if not text.strip():
        return Extracted(None, "empty")
    found = _marked(text, gold)
    if found is not None:
        return found
    if len(text) <= MAX_BARE and _is_answer(text):
        letter = _chosen(text, gold)
        if letter:
            return Extracted(letter, "choice", hedged=alternatives(text))
        return Extracted(_leading_word(text, gold), "bare")
    leading = _leading_word(text, gold)
    return Extracted(leading, "bare") if leading != text else _from_prose(text, gold)


def _marked(text: str, gold: str) -> Extracted | None:
    """The answer in a box, in a tag or after a marker."""
    content = last_boxed(text)
    if content is not None:
        return Extracted(content, "boxed", hedged=_taken_back(text, content))
    if "boxed{" in text:
        return Extracted(None, "unclosed box")
    content = last_tag(text) if "nswer>" in text or "NSWER>" in text else None
    if content is not None:
        return _from_payload(content, gold, "tag")
    content = last_marked(text)
    if content is None:
        return None
    if _NOT.match(content):
        return Extracted(None, "denied")
    found = _from_payload(content, gold, "marked")
    if _second_guess(text, content) or _taken_back(text, content):
        return found._replace(hedged=True)
    return found


def _taken_back(text: str, answer: str) -> bool:
    """Whether another guess follows the answer at once: `57. Or maybe 58`."""
    if not answer or text.endswith(answer):
        return False
    at = text.rfind(answer)
    return at >= 0 and _NEXT_GUESS.match(text, at + len(answer)) is not None


def _second_guess(text: str, payload: str) -> bool:
    """Whether the marked answer is the second of two in one sentence."""
    if " or " not in text or not payload:
        return False
    at = text.rfind(payload)
    line = text[max(0, text.rfind("\n", 0, at), at - 80) : at]
    return bool(_OR_BEFORE.search(line)) and line.lower().count("answer") + line.count("A:") > 1


def _leading_word(text: str, gold: str) -> str:
    """`Yes` of "Yes, it is even", where the reference is such a word."""
    if gold.strip().lower() not in _VERDICTS and read(gold).plain not in _VERDICTS:
        return text
    found = _LEADING.match(text)
    return found[1] if found else text


def _is_answer(text: str) -> bool:
    """Whether a text is nothing but an answer: it reads as mathematics, or as a few words without number."""
    answer = read(text)
    if answer.kind in ("based", "digits", "empty", "large", "unsafe") or compound_quantity(answer.plain):
        return True
    if answer.letter or answer.letters or answer.clock:
        return True
    if answer.kind == "foreign" or (answer.kind == "maths" and not _wordy(answer)):
        return "\n" not in text.strip()
    return not numbers(text) and len(text) <= 60


def _from_payload(payload: str, gold: str, how: str) -> Extracted:
    """The answer in what follows a marker: all of it, its only formula, its number, or its first clause."""
    if _PLAIN.fullmatch(payload):
        return Extracted(payload, how)
    remarked = _REMARKED.match(payload)
    if remarked:
        return Extracted(remarked[1], how)
    inner = last_boxed(payload)
    if inner is not None:
        return Extracted(inner, how)
    if how == "tag" and (marked := last_marked(payload)) is not None:
        return _from_payload(marked, gold, how)
    answer = read(payload)
    if answer.kind in ("maths", "based", "digits", "empty", "large", "unsafe", "foreign"):
        if not _wordy(answer):
            return Extracted(payload, how)
    elif answer.letter or answer.letters or answer.clock:
        return Extracted(payload, how)
    payload = payload[:MAX_PAYLOAD]
    if _LETTER.fullmatch(gold.strip()):
        letter = last_choice(payload)
        return Extracted(letter or payload, how, hedged=bool(letter and _GUESSES.search(payload)))
    wanted = read(gold)
    if wanted.kind == "text" or _wordy(wanted):
        return Extracted(_clause(payload, gold), how)
    formulas = [next(g for g in match if g) for match in _FORMULA.findall(payload)]
    found = formulas or numbers(payload)
    if not found:
        return Extracted(payload, how)
    if len(set(found)) > 1 and _GUESSES.search(payload):
        return Extracted(found[-1], how, hedged=True)
    result = _WHICH.search(payload)
    if result and (of_result := numbers(payload[result.end() :])):
        return Extracted(of_result[0], how)
    tail = _REASON.sub("", payload).rpartition("=")
    after = numbers(tail[2]) if tail[1] and not formulas else []
    return Extracted(after[0] if after else found[0], how)


def _wordy(answer: Answer) -> bool:
    """Whether what was read as mathematics is made of words."""
    what = answer.meaning
    if isinstance(what, Values):
        return any(isinstance(item, Word) for item in what.items)
    return isinstance(what, Word) or (isinstance(what, Named) and " " in what.name)


def _chosen(text: str, gold: str) -> str | None:
    """The choice letter in a short sentence, where the reference is a letter."""
    if not _LETTER.fullmatch(gold.strip()) or read(text).letter or read(text).letters:
        return None
    answer = read(text)
    return last_choice(text) if answer.kind == "text" or _wordy(answer) else None


def _clause(payload: str, gold: str) -> str:
    """The payload, cut after its first clause where only that can be the answer."""
    if len(payload) <= len(gold) + 2:
        return payload
    return _CLAUSE.split(payload, maxsplit=1)[0] or payload


def _from_prose(text: str, gold: str) -> Extracted:
    if _LETTER.fullmatch(gold.strip()):
        letter = last_choice(text)
        if letter is not None:
            return Extracted(letter, "choice", hedged=alternatives(text))
    found = last_number(text)
    if found.how == "formula" and found.text is not None and not found.hedged:
        answer = read(found.text)
        if isinstance(answer.meaning, Contradiction | Number) or answer.kind == "foreign":
            return found
        if answer.kind != "maths":
            inside = numbers(found.text)
            return Extracted(inside[-1] if inside else None, "number")
    return found
