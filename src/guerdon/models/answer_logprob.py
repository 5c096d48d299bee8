"""How likely the right answer is at every prefix, by teacher forcing: one batched pass of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np

from guerdon.context import Context
from guerdon.data.kernels import segment_reduce
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.models.branches import NO_ROOM, encode_cue, prover_engine, rows_of_spans
from guerdon.models.points import token_bounds

NO_REFERENCE = "reference missing"
NO_TEXT = "the reference is neither text nor a number"

Answer = Callable[[Any], str | None]


class AnswerLogprob:
    """Mean log-prob of the gold answer's tokens after every prefix and a cue: signal `answer_logprob`.

        ell = 1/L sum_j log pi(a_j | x, y_prefix, cue, a_<j)

    Args:
        cue: text in front of the answer, the wrapper it would be written in; not scored itself.
        level: spans, "turn" or "step".
        at: "before" measures in front of every span (the first value sees the prompt only), "after" behind.
        answer: reference -> text of the answer, or the key under which a mapping holds it; default: text and
            numbers as they are written.
        prover: an engine (or a folder, or {use: ...}); default: the policy of the run.

    Reference: Wang et al., IGPO, arXiv 2510.14967.
    """

    name = "answer_logprob"
    version = "1"
    online = False

    def __init__(
        self,
        cue: str = "",
        level: str = "turn",
        at: Literal["before", "after"] = "before",
        answer: Answer | str | None = None,
        prover: Any = None,
        policy: Any = None,
    ) -> None:
        if at not in ("before", "after"):
            raise RecipeError(f"at: got {at!r}, expected 'before' or 'after'")
        self.cue, self.level, self.at = cue, level, at
        self.answer: Answer = answer if callable(answer) else partial(plain_answer, key=answer)
        self.prover = prover_engine(prover, policy)

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        engine = self.prover if self.prover is not None else (ctx.engines.get("policy") if ctx else None)
        if engine is None:
            raise DataError(
                "answer_logprob has nobody to ask: give prover=engine, or ctx with a policy engine"
            )
        if rollouts.tokens is None or rollouts.prompt is None:
            raise DataError("answer_logprob needs rollouts with prompts and tokens")
        bounds = token_bounds(rollouts, self.level)
        row = rows_of_spans(rollouts, self.level)
        edge = bounds[:-1] if self.at == "before" else bounds[1:]
        length = edge - rollouts.offsets("token")[row]
        answers = self._answers(engine, rollouts)
        causes: dict[int, str] = {}
        cue = encode_cue(engine, self.cue)
        number: dict[tuple[str, tuple[int, ...], tuple[int, ...]], int] = {}
        prompts: list[Any] = []
        index = np.full(len(row), -1)
        for span, (r, n) in enumerate(zip(row.tolist(), length.tolist(), strict=True)):
            known = answers[r]
            if isinstance(known, str):
                causes[span] = known
                continue
            prefix = (*rollouts.tokens[r][:n].tolist(), *cue)
            if len(engine.prompt_ids(rollouts.prompt[r])) + len(prefix) + len(known) > engine.context:
                causes[span] = NO_ROOM
                continue
            key = repr(rollouts.prompt[r]), prefix, known
            index[span] = number.setdefault(key, len(number))
            if index[span] == len(prompts):
                prompts.append(rollouts.prompt[r])
        values = np.full(len(row), np.nan)
        if prompts:
            values[index >= 0] = _means(engine, prompts, list(number))[index[index >= 0]]
        return Signal(values, self.level, self.name, causes)

    def attach(self, rollouts: Rollouts, ctx: Context | None = None) -> Rollouts:
        """Rollouts with the signal."""
        return rollouts.with_signal(self(rollouts, ctx))

    def _answers(self, engine: Any, rollouts: Rollouts) -> list[tuple[int, ...] | str]:
        """Token ids of every rollout's answer, or why there are none."""
        out: list[tuple[int, ...] | str] = []
        for reference in rollouts.reference or [None] * len(rollouts):
            text = None if reference is None else self.answer(reference)
            ids = tuple(engine.tokenizer.encode(text)) if text else ()
            out.append(ids or (NO_REFERENCE if reference is None else NO_TEXT))
        return out


def plain_answer(reference: Any, key: str | None = None) -> str | None:
    """Text and numbers as they are written, looked up under `key` in a mapping; None for anything else."""
    if key is not None and isinstance(reference, Mapping):
        reference = reference.get(key)
    plain = isinstance(reference, str | int | float) and not isinstance(reference, bool)
    return str(reference) if plain else None


def _means(
    engine: Any, prompts: list[Any], parts: list[tuple[str, tuple[int, ...], tuple[int, ...]]]
) -> np.ndarray:
    """Mean log-prob of each answer after its prompt and prefix, float64."""
    tokens = Ragged.from_lists([[*prefix, *answer] for _, prefix, answer in parts], dtype=np.int32)
    logprobs = engine.logprobs(Rollouts(prompt=prompts, tokens=tokens)).values.astype(np.float64)
    sizes = np.array([len(answer) for _, _, answer in parts])
    behind = np.arange(tokens.total) >= np.repeat(tokens.offsets[1:] - sizes, tokens.lengths)
    return segment_reduce(np.where(behind, logprobs, 0.0), tokens.offsets, "sum") / sizes
