"""What a reasoning trace does, counted by rule: phrase families, habits, repetition, overlap.

References: Gandhi et al., Cognitive Behaviors that Enable Self-Improving Reasoners, arXiv 2503.01307; Liu et
al., From Thinking to Output; Lv et al., arXiv 2505.22653 (reasoning patterns as a reward). The phrase lists
are ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guerdon.bench.report import mean
from guerdon.scoring import Row, SampleReward, Verdict

FAMILIES: dict[str, tuple[str, ...]] = {
    "reflection": ("wait", "hmm", "actually", "let me check", "let me double check", "on second thought"),
    "alternatives": ("alternatively", "on the other hand", "instead", "another way", "another approach"),
    "causal": ("because", "therefore", "thus", "hence", "since"),
    "planning": ("first", "next", "then", "step", "the plan"),
    "conclusion": ("in summary", "finally", "in conclusion", "so the answer", "final answer"),
    "uncertainty": ("maybe", "perhaps", "probably", "not sure", "might"),
}
"""Phrases by family, matched on word borders, lower case."""
HABITS: dict[str, tuple[str, ...]] = {
    "verification": (
        r"\blet(?:'s| me| us) (?:double[- ])?(?:check|verify)\b",
        r"\b(?:check|verify|confirm)(?:ing)? (?:that|whether|if|the|this|our|my)\b",
        r"(?:≠|!=|\bis not equal to|\bdoes not equal|\bnot equal to)",
        r"\bwhich (?:is|equals|matches) (?:the )?(?:target|goal)\b",
        r"\b(?:too (?:high|low|big|small|large)|not (?:the )?target)\b",
    ),
    "backtracking": (
        r"\b(?:wait|hold on|no)[,.]",
        r"\blet(?:'s| me| us) try (?:again|another|something|a different|different)\b",
        r"\b(?:that|this) (?:does not|doesn't|didn't|did not|won't) work\b",
        r"\b(?:go(?:ing)? back|start over|instead,|try instead|backtrack)",
        r"\bnot working\b",
    ),
    "subgoal": (
        r"\bfirst,? (?:we |i |let's |let us )?(?:need|get|find|compute|make|reach|try to)\b",
        r"\b(?:the )?(?:next|first|second|third) step\b",
        r"\bto (?:get|reach|make) \d+(?:,| we| i|\b)",
        r"\bbreak (?:it|this|the problem)? ?(?:down|into)\b",
        r"\bsub-?goal\b",
    ),
    "backward_chaining": (
        r"\bwork(?:ing)? backwards?\b",
        r"\bstart(?:ing)? (?:from|with) the (?:target|answer|goal|end)\b",
        r"\b(?:the )?(?:target|goal) (?:is|of) \d+.{0,30}\bso (?:we|i) need\b",
        r"\bif the (?:last|final) (?:step|operation)\b",
        r"\bfactors? of (?:the )?(?:target|goal)\b",
    ),
}
"""Regular expressions of the four habits, applied case-insensitively; a sentence counts once per habit."""
PATTERNS: tuple[str, ...] = (
    "we need to", "i need to", "need to find", "need to figure", "wait", "alternatively", "another way",
    "let me check", "let me see", "let me try", "let me think", "let's check", "let's see", "let's try",
    "double check", "to verify", "first", "next", "then", "finally", "second", "therefore", "thus", "hence",
    "so the answer", "because", "since we", "which means", "this implies", "not working", "not correct",
    "is wrong", "does not work", "for example", "suppose", "assume", "in other words", "recall that",
    "note that", "on the other hand",
)  # fmt: skip
"""Forty phrases of reasoning; a reward for them pays each at most once."""
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+", re.UNICODE)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")


def words(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return _WORD.findall(text.lower())


def family_counts(text: str, families: Mapping[str, Sequence[str]] = FAMILIES) -> dict[str, int]:
    """Occurrences of each family's phrases, on word borders, overlaps within a family counted once."""
    lowered = text.lower().replace("’", "'")
    return {name: len(_family(tuple(phrases)).findall(lowered)) for name, phrases in families.items()}


_COMPILED: dict[tuple[str, ...], re.Pattern[str]] = {}


def _family(phrases: tuple[str, ...]) -> re.Pattern[str]:
    if phrases not in _COMPILED:
        ordered = sorted(phrases, key=len, reverse=True)
        _COMPILED[phrases] = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, ordered)) + r")(?!\w)")
    return _COMPILED[phrases]


def habit_counts(text: str) -> dict[str, int]:
    """Sentences that show each of the four habits of `HABITS`."""
    sentences = [match.group() for match in _SENTENCE.finditer(text.replace("’", "'"))]
    return {
        habit: sum(any(re.search(p, s, re.IGNORECASE) for p in patterns) for s in sentences)
        for habit, patterns in HABITS.items()
    }


def per_thousand(count: int, text: str) -> float:
    """Occurrences per 1000 words; 0 of an empty text."""
    total = len(words(text))
    return 1000.0 * count / total if total else 0.0


def jaccard(a: str, b: str) -> float:
    """|A and B| / |A or B| of the sets of words; 0 where both are empty."""
    first, second = set(words(a)), set(words(b))
    union = first | second
    return len(first & second) / len(union) if union else 0.0


def repetition(text: str, n: int = 20) -> float:
    """Distinct n-grams of white-space words that occur more than once, over all n-grams."""
    tokens = text.split()
    grams = Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    total = sum(grams.values())
    return sum(count > 1 for count in grams.values()) / total if total else 0.0


def pattern_score(text: str, phrases: Sequence[str] = PATTERNS, cap: int = 20, n: int = 20) -> float:
    """max(0, min(1, distinct phrases present / cap) - repetition): the reasoning-pattern reward."""
    lowered = text.lower()
    hits = sum(phrase in lowered for phrase in phrases)
    return max(0.0, min(1.0, hits / cap) - repetition(text, n))


def calibrated(score: float, pattern: float, threshold: float = 0.5, alpha: float = 0.1) -> float:
    """A reward model's score, lifted where it is low: min(1, s + alpha * pattern) if s < threshold else s."""
    return min(1.0, score + alpha * pattern) if score < threshold else score


class ReasoningPatterns(SampleReward):
    """`pattern_score` of every completion as a reward, in [0, 1]; it looks at no answer.

    Args:
        phrases, cap, n: see `pattern_score`.
        on_error: unused failure policy, kept for the interface.
    """

    name = "audit.reasoning_patterns"
    version = "1"

    def __init__(
        self, phrases: Sequence[str] = PATTERNS, cap: int = 20, n: int = 20, on_error: str | float = "nan"
    ) -> None:
        super().__init__(on_error)
        self.phrases, self.cap, self.n = tuple(phrases), cap, n

    def score(self, row: Row) -> Verdict:
        """See `pattern_score`."""
        return Verdict(pattern_score(row.completion, self.phrases, self.cap, self.n))


def reasoning_patterns(cap: int = 20, n: int = 20) -> ReasoningPatterns:
    """Reward: see `ReasoningPatterns`."""
    return ReasoningPatterns(cap=cap, n=n)


def profile(traces: Sequence[str], outputs: Sequence[str] | None = None) -> dict[str, Any]:
    """Of many traces: rates of families and habits per 1000 words with intervals, lengths, repetition, and,
    with the final outputs beside them, length ratio and overlap."""
    report: dict[str, Any] = {"n": len(traces)}
    lengths = np.array([len(words(t)) for t in traces], np.float64)
    counts = [family_counts(t) | habit_counts(t) for t in traces]
    for name in (*FAMILIES, *HABITS):
        found = np.array([count[name] for count in counts], np.float64)
        report[name] = mean(1000.0 * found / np.maximum(lengths, 1), scale=1.0)
    report["words"] = mean(lengths, scale=1.0)
    report["repetition"] = mean([repetition(t) for t in traces], scale=1.0)
    if outputs is not None:
        ends = np.array([len(words(t)) for t in outputs], np.float64)
        report["length_ratio"] = mean(lengths / np.maximum(ends, 1), scale=1.0)
        pairs = zip(traces, outputs, strict=True)
        report["overlap"] = mean([jaccard(a, b) for a, b in pairs], scale=1.0)
    return report
