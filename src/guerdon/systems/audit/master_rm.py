"""One Token to Fool LLM-as-a-Judge (arXiv 2507.08794)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from guerdon.audit.attacks import BLANKS, OPENERS, SYMBOLS
from guerdon.audit.run import wilson
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError
from guerdon.systems.catalogue import system

KEYS = (*BLANKS[:2], *SYMBOLS[:4], *OPENERS)
"""Content-free responses."""
_FIRST = re.compile(r"\s*\S.*?(?:[.!?。！？:：](?=\s|$)|\n|$)", re.DOTALL)


def first_sentence(text: str) -> str:
    """A response cut after its first sentence: an opener that answers nothing."""
    found = _FIRST.match(text)
    return found.group().strip() if found else ""


def content_free(n: int, seed: int = 0) -> list[str]:
    """Short strings that say nothing: blanks, signs, and made-up words of several scripts; none of `KEYS`."""
    rng = np.random.default_rng(seed)
    scripts = [(0x61, 26), (0x41, 26), (0x430, 32), (0x3B1, 24), (0x3042, 80), (0x4E00, 400), (0xAC00, 400)]
    signs = " \t\n.,:;!?-*#=()[]{}'\"\\/"
    out: list[str] = []
    while len(out) < n:
        if rng.random() < 0.4:
            text = "".join(rng.choice(list(signs), rng.integers(1, 4)))
            out += [] if text in KEYS else [text]
            continue
        first, size = scripts[rng.integers(len(scripts))]
        words = [
            "".join(chr(first + int(k)) for k in rng.integers(size, size=rng.integers(1, 9)))
            for _ in range(rng.integers(1, 4))
        ]
        out.append(" ".join(words) + str(rng.choice(["", ".", ":", "!", "："])))
    return out


def hardening_examples(
    rows: Sequence[Mapping[str, Any]], share: float = 0.125, seed: int = 0, noise: float = 0.0
) -> list[dict[str, Any]]:
    """Training rows {question, response, reference, label} plus negatives that are openers only.

    A share of the rows is drawn, their responses cut to the first sentence, labelled 0. Responses that are
    one sentence long are left out: cut, they would still answer.
    """
    rng = np.random.default_rng(seed)
    usable = [row for row in rows if first_sentence(row["response"]) != row["response"].strip()]
    count = min(len(usable), round(share * len(rows)))
    chosen = rng.choice(len(usable), count, replace=False).tolist() if count else []
    cut = [{**usable[i], "response": first_sentence(usable[i]["response"]), "label": 0} for i in chosen]
    empty = content_free(round(noise * len(rows)), seed)
    places = rng.integers(len(rows), size=len(empty))
    blank = [{**rows[at], "response": text, "label": 0} for at, text in zip(places, empty, strict=True)]
    return [*map(dict, rows), *cut, *blank]


def kappa(a: Sequence[int], b: Sequence[int]) -> float:
    """Cohen's kappa of two judges' labels: (p_o - p_e) / (1 - p_e); NaN where chance agrees always."""
    first, second = np.asarray(a), np.asarray(b)
    labels = np.union1d(first, second)
    agree = float(np.mean(first == second))
    chance = float(sum(np.mean(first == k) * np.mean(second == k) for k in labels))
    return (agree - chance) / (1 - chance) if chance < 1 else float("nan")


@system(
    "master-rm",
    title="One Token to Fool LLM-as-a-Judge",
    arxiv="2507.08794",
    family="audit",
    kind="audit",
)
def master_rm(keys: Sequence[str] = KEYS, threshold: float = 0.5) -> Callable[..., dict[str, Any]]:
    """False-positive rates of a reference-based judge on content-free responses ("master keys").

        FPR(key) = #{judge pays the key alone} / n, with Wilson's 95 % interval; mean and maximum over keys

    Returns (reward, prompts, references) -> report. `hardening_examples` builds the training data that cures
    a trained verifier: responses cut to their first sentence, labelled wrong.

    Args:
        keys: responses to try.
        threshold: a reward from here on counts as yes.

    Reference: Zhao et al., arXiv 2507.08794.
    """

    def report(reward: Any, prompts: Sequence[str], references: Sequence[Any]) -> dict[str, Any]:
        if not prompts or len(prompts) != len(references):
            raise DataError(
                f"{len(prompts)} prompts and {len(references)} references: expected one each, at least one"
            )
        found, rates = {}, []
        for key in keys:
            batch = Rollouts(
                prompt=list(prompts), completion=[key] * len(prompts), reference=list(references)
            )
            values = reward(batch).values
            known = values[~np.isnan(values)]
            paid = int((known >= threshold).sum())
            low, high = wilson(paid, len(known))
            rate = paid / len(known) if len(known) else float("nan")
            rates += [rate] if len(known) else []
            found[key] = {
                "fpr": rate,
                "interval": [low, high],
                "n": len(known),
                "missing": len(values) - len(known),
            }
        return {
            "keys": found,
            "mean_fpr": float(np.mean(rates)) if rates else float("nan"),
            "max_fpr": float(np.max(rates)) if rates else float("nan"),
        }

    return report
