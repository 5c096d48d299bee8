"""A generative verifier: a language model asked whether a response is right, read at its verdict token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import TokenStats
from guerdon.errors import DataError, EngineError
from guerdon.models.folders import write_config

TEMPLATE = "Q: {question}\nA: {response}\nR: {reference}\nOK? "
NO_REFERENCE = "reference missing"
NO_ROOM = "longer than the engine's context"


class GenerativeVerifier:
    """P(yes) that a response is right, given question and reference.

        P(yes) = e^{log p(yes)} / (e^{log p(yes)} + e^{log p(no)}) after the template

    Trained by cross-entropy on the verdict token alone. A rollout that is too long is missing, and
    so is one without reference where the template has a place for it.

    Args:
        engine: any trainable engine.
        template: with the places {question}, {response} and, unless it judges without one, {reference}.
        yes, no: the verdicts, as the engine writes them.

    Reference: Zhang et al., Generative Verifiers, arXiv 2408.15240.
    """

    kind = "verifier"
    name = "verifier"
    version = "1"
    online = False

    def __init__(self, engine: Any, template: str = TEMPLATE, yes: str = "Y", no: str = "N") -> None:
        for place in ("{question}", "{response}"):
            if place not in template:
                raise DataError(f"the template has no place {place}")
        self.compares = "{reference}" in template
        self.engine, self.template, self.yes, self.no = engine, template, yes, no

    def prompt(self, question: Any, response: str, reference: Any) -> str:
        """The template filled in, each part once."""
        parts = {"{question}": str(question), "{response}": response, "{reference}": str(reference)}
        out = self.template
        head, tail = "", out
        while tail:  # left to right, so that a place's name inside a response stays text
            found = [(tail.index(place), place) for place in parts if place in tail]
            if not found:
                break
            at, place = min(found)
            head, tail = head + tail[:at] + parts[place], tail[at + len(place) :]
        return head + tail

    def fit(
        self,
        rows: Sequence[Mapping[str, Any]],
        steps: int = 300,
        batch: int = 64,
        lr: float = 1e-3,
        seed: int = 0,
    ) -> list[float]:
        """Learn from rows {question, response, reference, label 0/1}.

        Returns:
            the loss of every step, nats per verdict.

        Raises:
            DataError: no rows, or a label that is not 0 or 1.
        """
        bad = [i for i, row in enumerate(rows) if row.get("label") not in (0, 1)]
        if not rows or bad:
            which = f" (see row {bad[0]})" if bad else ""
            raise DataError(f"a verifier learns from rows with a label 0 or 1{which}")
        losses = []
        for chosen in _batches(len(rows), steps, batch, seed):
            prompts = [self._of(rows[i]) for i in chosen]
            verdicts = [self.yes if rows[i]["label"] else self.no for i in chosen]
            rollouts = self.engine.rollouts_from_text(prompts, verdicts)
            found = self.engine.train_step(rollouts, _verdict_loss, lr=lr, entropy=False)
            losses.append(found["loss"])
        return losses

    def _of(self, row: Mapping[str, Any]) -> str:
        return self.prompt(row["question"], str(row["response"]), row["reference"] if self.compares else None)

    def probabilities(self, prompts: Sequence[str], batch: int = 256) -> np.ndarray:
        """P(yes) after each filled template, float64 (n,); NaN where it does not fit the context."""
        out = np.full(len(prompts), np.nan)
        room = self.engine.context - 2
        fits = [i for i, prompt in enumerate(prompts) if len(self.engine.prompt_ids(prompt)) <= room]
        for start in range(0, len(fits), batch):
            rows = fits[start : start + batch]
            texts = [prompts[i] for i in rows for _ in range(2)]
            rollouts = self.engine.rollouts_from_text(texts, [self.yes, self.no] * len(rows))
            assert rollouts.tokens is not None
            found = self.engine.logprobs(rollouts).values[rollouts.tokens.offsets[:-1]].astype(np.float64)
            yes, no = found[0::2], found[1::2]
            out[rows] = 1 / (1 + np.exp(no - yes))
        return out

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        if rollouts.completion is None:
            raise DataError("a verifier reads text, but the rollouts hold tokens only; decode them first")
        references = rollouts.reference or [None] * len(rollouts)
        readable = [reference is not None or not self.compares for reference in references]
        blind, asked = ([i for i, ok in enumerate(readable) if ok == wanted] for wanted in (False, True))
        questions = rollouts.prompt or [""] * len(rollouts)
        values = np.full(len(rollouts), np.nan)
        prompts = [self.prompt(questions[i], rollouts.text(i), references[i]) for i in asked]
        values[asked] = self.probabilities(prompts)
        causes = dict.fromkeys(blind, NO_REFERENCE)
        causes |= {i: NO_ROOM for i in asked if np.isnan(values[i])}
        return Signal(values, "rollout", self.name, causes)

    @property
    def settings(self) -> dict[str, Any]:
        """What `load` builds it with again."""
        return {"template": self.template, "yes": self.yes, "no": self.no}

    def write(self, folder: Path, optimizer: bool = False) -> None:
        """Fill an existing folder; with `optimizer`, so that training goes on bit for bit."""
        write_config(self, folder)
        self.engine.save(folder / "trunk", optimizer=optimizer)

    def read(self, folder: Path) -> None:
        """Take over what `write` wrote."""
        self.engine.load(folder / "trunk")


def _batches(n: int, steps: int, batch: int, seed: int) -> Iterator[list[int]]:
    """Rows of every step: shuffled passes over all of them."""
    rng = np.random.default_rng(seed)
    waiting: list[int] = []
    for _ in range(steps):
        while len(waiting) < min(batch, n):
            waiting += rng.permutation(n).tolist()
        yield waiting[:batch]
        waiting = waiting[batch:]


def _verdict_loss(stats: TokenStats, rows: np.ndarray) -> tuple[torch.Tensor, dict[str, Any]]:
    """-mean log-prob of the first token of every completion, the verdict."""
    if len(stats.logprobs) % len(rows):
        raise EngineError("yes and no must be as many tokens long; choose other verdicts")
    return -stats.logprobs.view(len(rows), -1)[:, 0].mean(), {}
