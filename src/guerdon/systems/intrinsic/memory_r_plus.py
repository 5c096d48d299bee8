"""Memory-R+: be near past successes, be far from past failures, in the space of an embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.memory import EpisodicMemory, distance_to_centroid, novelty
from guerdon.intrinsic.reward import Extractor, Intrinsic, Values, finder
from guerdon.intrinsic.running import Window
from guerdon.intrinsic.scoring import engine_of
from guerdon.systems.catalogue import system

Embedder = Callable[[Sequence[str]], np.ndarray]


@system(
    "memory-r-plus",
    title="Reasoning Under 1 Billion: Memory-Augmented Reinforcement Learning for Large Language Models",
    arxiv="2504.02273",
    family="intrinsic",
    kind="reward",
)
def memory_r_plus(
    outcome: Any = None,
    embed: Embedder | None = None,
    extract: str | Extractor = "text",
    k: int = 1,
    exploit: float = 1.0,
    explore: float = 1.0,
    success: float = 0.5,
    failure: float = 0.5,
    window: int = 100,
    warm: int = 0,
    queries: int = 10_000,
    responses: int = 100,
    variant: str = "paper",
    task: Any = None,
) -> Intrinsic:
    """r_i = beta_s nn(-||a_i - mean B_s||) + beta_e nn(1 - max_{b in B_f} cos(a_i, b)), per rollout, B the
    responses to the K nearest past queries that succeeded (s) or failed (f), nn the min-max of a window.

    Rows are scored in order; then the batch is written: to successes where the outcome is above `success`,
    to failures where it is at most `failure`. An empty read is worth 0.

    Args:
        outcome: a reward of whole completions (or {use: ...}) that decides where to write; default: the
            task's own.
        embed: texts -> (texts, D); default: `engine.embed` of the run's policy.
        extract: what is embedded of a completion: "text", a tag, or a function.
        k: queries read. exploit, explore: beta_s and beta_e. success, failure: thresholds.
        window: values of a min-max. warm: failed queries stored before explore pays.
        queries, responses: capacities, first in first out.
        variant: "release" writes a response before it is scored, so that it meets itself.

    Reference: Le et al., arXiv 2504.02273; rewards/ir_knn_st.py of thaihungle/Memory-R.
    """
    if variant not in ("paper", "release"):
        raise RecipeError(f"memory-r-plus: variant is paper or release, got {variant!r}")
    if isinstance(outcome, dict):
        from guerdon.registry import build

        outcome = build("reward", outcome, "outcome", task=task)
    grade = outcome if outcome is not None else getattr(task, "outcome", None)
    good, bad = (EpisodicMemory(queries, responses) for _ in range(2))
    near, far = Window(window), Window(window)
    find = finder(extract)

    def bonus(query: np.ndarray, response: np.ndarray) -> float:
        x = -distance_to_centroid(response, good.read(query, k))
        e = novelty(response, bad.read(query, k)) if len(bad) >= max(warm, 1) else float("nan")
        parts = exploit * near.min_max(x), explore * far.min_max(e)
        return float(np.nansum(parts))

    def write(query: np.ndarray, response: np.ndarray, worth: float) -> None:
        if worth > success:
            good.write(query, response)
        elif worth <= failure:
            bad.write(query, response)

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        if grade is None:
            raise DataError("memory-r-plus needs an outcome to know successes: give outcome={use: ...}")
        worth = grade(rollouts, ctx).values
        embedder = embed if embed is not None else engine_of(None, ctx, "memory-r-plus").embed
        texts = [find(rollouts.text(i)) or "" for i in range(len(rollouts))]
        prompts = [str(p) for p in rollouts.prompt or [""] * len(rollouts)]
        q, a = np.asarray(embedder(prompts)), np.asarray(embedder(texts))
        out = np.zeros(len(rollouts))
        for i in range(len(rollouts)):
            if variant == "release":
                write(q[i], a[i], float(worth[i]))
            out[i] = bonus(q[i], a[i])
        if variant == "paper":
            for i in range(len(rollouts)):
                write(q[i], a[i], float(worth[i]))
        return out, {}

    state = {"successes": good, "failures": bad, "exploit": near, "explore": far}
    asks = () if embed is not None else ("policy",)
    return Intrinsic("memory-r-plus", score, state=state, asks=asks, logprobs=False)
