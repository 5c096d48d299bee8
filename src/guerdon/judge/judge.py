"""Judge: a model that is asked for verdicts, with its cache, its limits and its bill."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guerdon.context import Context
from guerdon.engines.protocol import Sampling
from guerdon.errors import RecipeError
from guerdon.judge import background
from guerdon.judge.asking import Asking, Limits
from guerdon.judge.cache import ReplyCache
from guerdon.judge.engine_client import NamedEngine
from guerdon.judge.exchange import Client, Messages, Progress, Query, Reply
from guerdon.judge.usage import Usage
from guerdon.scoring import Verdict, missing

if TYPE_CHECKING:
    from guerdon.judge.criteria import ChecklistReward
    from guerdon.judge.pairs import PairwiseReward
    from guerdon.judge.rating import RateReward

Prompt = str | Messages | Query


class Judge:
    """A judge model.

    Works from sync code (`ask`), from async code (`await ask_async`), and `ask` also inside a running event
    loop, which it blocks. A judge called with a list of prompts returns the texts, with a missing Verdict
    in the place of each that did not come: the form in which checklists and rubrics take a judge.

    Args:
        client: `Endpoint`, `EngineClient`, `NamedEngine`, or anything with their interface.
        cache: file that keeps replies (see `ReplyCache`), or a ReplyCache; None keeps nothing.
        version: part of cache keys and of reward versions; change it to ask everything anew.
        sampling: how replies are drawn; default: greedy, at most 1024 tokens. The seed matters only for
            engines.
        price_in, price_out: money per 1,000 prompt / completion tokens.
        limits: where to stop asking.
        progress: called with a `Progress` whenever replies have come, in the judge's thread; what it
            raises ends the call.
    """

    def __init__(
        self,
        client: Client | NamedEngine,
        *,
        cache: str | Path | ReplyCache | None = None,
        version: str = "1",
        sampling: Sampling | Mapping[str, Any] | None = None,
        price_in: float = 0.0,
        price_out: float = 0.0,
        limits: Limits | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        if price_in < 0 or price_out < 0:
            raise RecipeError("judge: price_in and price_out must be >= 0 (money per 1,000 tokens)")
        self.client, self.version = client, str(version)
        self.cache = cache if isinstance(cache, ReplyCache) or cache is None else ReplyCache(cache)
        self.sampling = _sampling(sampling)
        self.limits, self.progress = limits, progress
        self.usage = Usage(price_in, price_out)

    @property
    def identity(self) -> str:
        """What replies depend on besides the messages, as text."""
        client = self.client
        name = f"engine:{client.name}" if isinstance(client, NamedEngine) else client.identity
        body = {} if isinstance(client, NamedEngine) else dict(client.body)
        return repr((name, sorted(body.items()), self.sampling, self.version))

    def ask(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling | None = None,
        ctx: Context | None = None,
    ) -> list[Reply]:
        """One reply per prompt, in order; equal prompts are asked once.

        Args:
            prompts: text, messages or queries.
            sampling: instead of the judge's own.
            ctx: where a `NamedEngine` is looked up.

        Raises:
            RecipeError: the judge is set up wrongly.
            StoreError: the cache cannot be read.
        """
        return background.run(self._asking(prompts, sampling, ctx))

    async def ask_async(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling | None = None,
        ctx: Context | None = None,
    ) -> list[Reply]:
        """As `ask`, without blocking the event loop."""
        return await background.run_async(self._asking(prompts, sampling, ctx))

    def _asking(
        self, prompts: Sequence[Prompt], sampling: Sampling | None, ctx: Context | None
    ) -> Coroutine[Any, Any, list[Reply]]:
        if isinstance(prompts, str):
            raise RecipeError("a judge takes a list of prompts; put the one prompt into a list")
        queries = [Query.of(prompt) for prompt in prompts]
        client = self.client.client(ctx) if isinstance(self.client, NamedEngine) else self.client
        asking = Asking(client, self.cache, self.usage, self.version, self.limits, self.progress)
        return asking.replies(queries, sampling or self.sampling)

    def __call__(self, prompts: Sequence[Prompt]) -> list[str | Verdict]:
        """Texts of the replies; a missing Verdict where there is none."""
        return [
            missing(f"judge: {reply.cause}", detail=reply.detail) if reply.text is None else reply.text
            for reply in self.ask(prompts)
        ]

    def rate(self, template: Any = "rating", **options: Any) -> RateReward:
        """Reward: the judge's rating of every rollout; see `RateReward`."""
        from guerdon.judge.rating import RateReward

        return RateReward(self, template, **options)

    def pairwise(self, template: Any = "preference", **options: Any) -> PairwiseReward:
        """Reward: every rollout's win rate against the others of its group; see `PairwiseReward`."""
        from guerdon.judge.pairs import PairwiseReward

        return PairwiseReward(self, template, **options)

    def checklist(self, criteria: Any = None, **options: Any) -> ChecklistReward:
        """Reward: which criteria every rollout meets; see `ChecklistReward`."""
        from guerdon.judge.criteria import ChecklistReward

        return ChecklistReward(self, criteria, **options)

    def close(self) -> None:
        """Close connections and the cache; the judge may be used again."""
        if not isinstance(self.client, NamedEngine):
            background.run(self.client.close())
        if self.cache is not None:
            self.cache.close()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """A judge travels to other processes without its progress hook; its counters start anew there."""
        usage = Usage(self.usage.price_in, self.usage.price_out)
        return {**vars(self), "progress": None, "usage": usage}


def _sampling(given: Sampling | Mapping[str, Any] | None) -> Sampling:
    if isinstance(given, Sampling):
        return given
    try:
        return Sampling(**{"max_new_tokens": 1024, "temperature": 0.0, **(given or {})})
    except TypeError as error:
        raise RecipeError(f"judge.sampling: {error}") from error
