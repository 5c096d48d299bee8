"""Exact scoring of reasoning-gym answers.

reasoning-gym's own scorers are made for partial credit: most pay len(reference)/len(answer) for any text that
contains the reference, some pay 1.0 for more than right answers ("17 or 99" for 17; any non-empty text), some
run `eval` on the answer. Here an answer is worth 1.0 when

1. it equals the reference, line by line, but for spaces at line ends and around the whole; or
2. both are JSON lists or objects with equal content; or
3. the generator's problems have several right answers or notations and its entry in `ALTERNATIVES` accepts
   this one: the answer has the expected shape as a whole, is short, and a verifier confirms it, either our
   own or the generator's scorer with exactly 1.0.

Everything else is 0.0. An answer reaches a generator's scorer only in a shape in which it cannot run code or
blow up.
"""

from __future__ import annotations

import ast
import json
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from guerdon.tasks.base import Unscorable
from guerdon.tasks.countdown import combines

Entry = Mapping[str, Any]
Scorer = Callable[[str, dict[str, Any]], float]

MAX_CHARS = 20_000
"""Longer answers are never handed to a scorer."""

_DECIMAL = r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?(?:e[+-]?[0-9]{1,3})?"
_GROUPED = r"[+-]?[0-9]{1,3}(?:,[0-9]{3}){1,30}(?:\.[0-9]{1,100})?"
_MOVE = r"Move disk [0-9]{1,3} from Peg [0-9]{1,3} to Peg [0-9]{1,3}"
_FUNCTIONS = frozenset(
    re.findall(
        "[A-Za-z]+",
        "Abs exp log sqrt sin cos tan sec csc cot asin acos atan sinh cosh tanh asinh acosh atanh",
    )
)
_POWER = re.compile(
    r"\*\*\s*(?:-?[0-9]{1,2}|\(-?[0-9]{1,2}(?:/[0-9]{1,2})?\)|[A-Za-z]|\(-?[0-9]{0,3}\*?[A-Za-z]\))(?![0-9.])"
)


def normalised(text: str) -> str:
    """Unicode-composed text without spaces at line ends and around the whole."""
    lines = unicodedata.normalize("NFC", text).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def symbolic(answer: str, max_names: int = 3) -> bool:
    """True for a short formula of numbers, one-letter names and elementary functions, small powers only.

    Such text is safe to hand to sympy's parser (which evaluates it): no attributes, no other names, no
    towers of powers; `Integral(...)` is no name, so that a question is not its own answer.
    """
    if len(answer) > 200 or not re.fullmatch(r"[0-9A-Za-z+\-*/(). ]+", answer):
        return False
    names = set(re.findall(r"[A-Za-z]+", answer)) - _FUNCTIONS
    if any(len(name) > 1 for name in names) or len(names) > max_names:
        return False
    if re.search(r"[0-9]{13}|\.\s*[A-Za-z(]|[A-Za-z)]\s*\.|[0-9][A-Za-z]", answer):
        return False
    raised = math.prod(int(power) for power in re.findall(r"\)\s*\*\*\s*\(?-?([0-9]+)", answer))
    bare = _POWER.sub("^", answer).replace(" ", "")
    return raised <= 50 and "**" not in bare and "^^" not in bare


def python_literal(answer: str) -> bool:
    """True for a Python list, string or number without any expression: `eval` can only return it."""
    try:
        ast.literal_eval(answer.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _json(answer: str) -> bool:
    return _loaded(answer) is not None


def _loaded(answer: str) -> Any:
    """A JSON list or object in a form that compares by content (True is not 1); None for anything else."""
    if not answer.startswith(("[", "{")):
        return None
    try:
        value = json.loads(answer)
        return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else None
    except (ValueError, RecursionError):
        return None


def _shape(pattern: str, max_chars: int = 2000) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda answer: len(answer) <= max_chars and compiled.fullmatch(answer) is not None


def _equal_numbers(answer: str, entry: Entry) -> bool:
    reference = str(entry["answer"])
    if not re.fullmatch(rf"{_DECIMAL}|{_GROUPED}", reference):
        return False
    return Decimal(answer.replace(",", "")) == Decimal(reference.replace(",", ""))


def _countdown(answer: str, entry: Entry) -> bool:
    return combines(answer, entry["metadata"]["numbers"], entry["metadata"]["target"])


def _puzzle24(answer: str, entry: Entry) -> bool:
    return combines(answer, entry["metadata"]["numbers"], 24)


def _queens(answer: str, entry: Entry) -> bool:
    return answer in [normalised(board) for board in entry["metadata"]["valid_answers"]]


@dataclass(frozen=True)
class Alternative:
    """How a right answer other than the reference is recognised.

    Attributes:
        shape: what the whole answer must look like before anything reads it.
        verify: our own verifier, or None for the generator's scorer (exactly 1.0).
    """

    shape: Callable[[str], bool]
    verify: Callable[[str, Entry], bool] | None = None


_NUMERIC = Alternative(_shape(rf"{_DECIMAL}|{_GROUPED}", 400), _equal_numbers)
_FORMULA = Alternative(symbolic)
_JSON = Alternative(_json)
_SUM = _shape(r"[0-9+\-*/() −×÷]+", 400)

ALTERNATIVES: dict[str, Alternative] = {
    "basic_arithmetic": _NUMERIC,
    "bitwise_arithmetic": Alternative(_shape(r"-?0x[0-9a-fA-F]+", 400)),
    "boxnet": _JSON,
    "chain_sum": _NUMERIC,
    "coin_flip": _NUMERIC,
    "countdown": Alternative(_SUM, _countdown),
    "cryptarithm": Alternative(_shape(r"[A-Z]=[0-9](?:, ?[A-Z]=[0-9]){0,25}")),
    "decimal_arithmetic": _NUMERIC,
    "decimal_chain_sum": _NUMERIC,
    "graph_color": _JSON,
    "group_anagrams": _JSON,
    "gsm_symbolic": _NUMERIC,
    "intermediate_integration": _FORMULA,
    "jugs": _JSON,
    "kakurasu": Alternative(_shape(r"[01](?: [01])*(?:\n[01](?: [01])*)*")),
    "knight_swap": _JSON,
    "n_queens": Alternative(_shape(r"[Q_ \n]+"), _queens),
    "number_format": _NUMERIC,
    "palindrome_generation": Alternative(_shape(r"[A-Za-z]+")),
    "palindrome_partitioning": _JSON,
    "polynomial_equations": Alternative(_shape(rf"{_DECIMAL}(?:, ?{_DECIMAL}){{0,9}}", 400)),
    "polynomial_multiplication": Alternative(lambda answer: symbolic(answer, max_names=26)),
    "power_function": Alternative(_shape(_DECIMAL, 400)),
    "products": _NUMERIC,
    "propositional_logic": Alternative(_shape(r"[A-Z()¬∧∨→↔ ]+", 200)),
    "puzzle24": Alternative(_SUM, _puzzle24),
    "quantum_lock": Alternative(_shape(r"[A-C](?: ?→ ?[A-C])*")),
    "rubiks_cube": Alternative(_shape(r"[UDLRFB]w?[2']?(?: [UDLRFB]w?[2']?)*")),
    "rush_hour": Alternative(_shape(r"[A-Z][+-][1-6](?: [A-Z][+-][1-6])*", 400)),
    "shortest_path": Alternative(_shape(r"(?:up|down|left|right)(?: (?:up|down|left|right))*")),
    "simple_integration": _FORMULA,
    "sokoban": Alternative(_shape(r"[UDLR]+")),
    "tower_of_hanoi": Alternative(_shape(rf"{_MOVE}(?:\n{_MOVE})*", MAX_CHARS)),
    "word_ladder": Alternative(_shape(r"[A-Za-z]+(?:, ?[A-Za-z]+)+")),
    "word_sorting": Alternative(_shape(r"\w+(?:, ?\w+)*")),
}
"""Generators whose problems have more than one right answer or notation."""

EVALUATED: dict[str, Callable[[str], bool]] = {
    "binary_matrix": python_literal,
    "countdown": symbolic,
    "intermediate_integration": symbolic,
    "n_queens": python_literal,
    "polynomial_multiplication": lambda answer: symbolic(answer, max_names=26),
    "puzzle24": symbolic,
    "rubiks_cube": _shape(r"[A-Za-z]+[2']{0,2}(?: [A-Za-z]+[2']{0,2})*"),
    "simple_integration": symbolic,
    "spiral_matrix": python_literal,
    "string_insertion": python_literal,
}
"""Generators whose scorer evaluates or expands the answer, and the shape in which that is harmless."""


def exact(answer: str, entry: Entry, scorer: Scorer) -> float:
    """1.0 for a right answer, else 0.0; see the module's text.

    Args:
        answer: the extracted answer.
        entry: reasoning-gym's entry: question, answer, metadata.
        scorer: the generator's `score_answer`.

    Raises:
        Unscorable: the entry is broken (the scorer fails on the entry's own answer).
    """
    answer, reference = normalised(answer), entry.get("answer")
    if isinstance(reference, str):
        expected = normalised(reference)
        if answer == expected:
            return 1.0
        loaded = _loaded(answer) if len(answer) <= MAX_CHARS else None
        if loaded is not None and loaded == _loaded(expected):
            return 1.0
    rule = ALTERNATIVES.get(_generator(entry))
    if rule is None and reference is None:
        rule = Alternative(_shape(r"(?s).+", MAX_CHARS))
    if rule is None or not answer or not rule.shape(answer):
        return 0.0
    if rule.verify is None:
        return float(_ask(scorer, answer, entry) == 1.0)
    try:
        return float(rule.verify(answer, entry))
    except (KeyError, TypeError) as error:
        raise Unscorable(f"broken entry: {type(error).__name__}: {error}") from None


def partial(answer: str, entry: Entry, scorer: Scorer) -> float:
    """The generator's own score in [0, 1]; where that would be unsafe, 1.0 for equal text, else 0.0."""
    safe = EVALUATED.get(_generator(entry), lambda text: True)
    if len(answer) <= MAX_CHARS and safe(answer):
        return min(1.0, max(0.0, _ask(scorer, answer, entry)))
    reference = entry.get("answer")
    return float(isinstance(reference, str) and normalised(answer) == normalised(reference))


def _generator(entry: Entry) -> str:
    return str(entry.get("metadata", {}).get("source_dataset", ""))


def _ask(scorer: Scorer, answer: str, entry: Entry) -> float:
    """The scorer's verdict. A scorer that fails on this answer but not on the reference rejects it."""
    try:
        return _call(scorer, answer, entry)
    except Exception as error:  # a scorer may raise anything on text it did not expect
        try:
            _call(scorer, entry.get("answer") or "", entry)
        except Exception:
            raise Unscorable(f"scorer failed: {type(error).__name__}: {error}") from None
        return 0.0


def _call(scorer: Scorer, answer: str, entry: Entry) -> float:
    # Some scorers write into the metadata, some compare tuples that JSON has made lists.
    metadata = dict(entry["metadata"])
    if _generator(entry) in ("arc_agi", "rearc"):
        metadata["output"] = tuple(tuple(row) for row in metadata["output"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(scorer(answer, {**entry, "metadata": metadata}))
