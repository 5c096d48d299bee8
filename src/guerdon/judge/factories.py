"""The judge rewards as recipes and the command line build them: one flat list of settings.

{use: judge.rate, url: "http://localhost:8000/v1", model: qwen, cache: judge.sqlite, template: rating}
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from guerdon.errors import RecipeError
from guerdon.judge.asking import Limits
from guerdon.judge.criteria import ChecklistReward
from guerdon.judge.endpoint import Endpoint
from guerdon.judge.engine_client import EngineClient, NamedEngine
from guerdon.judge.exchange import Client
from guerdon.judge.first_errors import FirstErrorReward
from guerdon.judge.judge import Judge
from guerdon.judge.pairs import PairwiseReward
from guerdon.judge.rating import RateReward
from guerdon.judge.retry import Retry

R = TypeVar("R")


def connect(
    url: str | None = None,
    model: str | None = None,
    engine: Any = None,
    api: str = "chat",
    key_env: str | None = None,
    key_header: str = "Authorization",
    cache: str | None = None,
    version: str = "1",
    temperature: float = 0.0,
    max_tokens: int = 1024,
    top_p: float = 1.0,
    body: Mapping[str, Any] | None = None,
    limit_field: str = "max_tokens",
    concurrency: int = 16,
    timeout: float = 60.0,
    patience: float = 120.0,
    attempts: int = 10,
    price_in: float = 0.0,
    price_out: float = 0.0,
    max_cost: float | None = None,
    max_seconds: float | None = None,
    trust_env: bool = False,
    identity: str | None = None,
    batch: int = 64,
) -> Judge:
    """A judge behind an OpenAI-compatible endpoint, or held by an engine.

    Args:
        url, model: an endpoint's root ("http://localhost:8000/v1") and its model.
        engine: instead of these an engine, or the name of one of the run's ("policy", "reference").
        api, key_env, key_header, body, limit_field, concurrency, timeout, trust_env: see `Endpoint`.
        patience, attempts: see `Retry`.
        cache, version, price_in, price_out: see `Judge`.
        temperature, max_tokens, top_p: how replies are drawn.
        max_cost, max_seconds: see `Limits`.
        identity, batch: see `EngineClient`.

    Raises:
        RecipeError: neither or both of url and engine, or a setting out of range.
    """
    if (url is None) == (engine is None) or (url is not None and not model):
        raise RecipeError("a judge needs either url and model, or engine")
    client: Client | NamedEngine
    if url is not None:
        client = Endpoint(
            url,
            str(model),
            api=api,
            key_env=key_env,
            key_header=key_header,
            body=body,
            limit_field=limit_field,
            concurrency=concurrency,
            timeout=timeout,
            retry=Retry(attempts=attempts, patience=patience),
            trust_env=trust_env,
        )
    else:
        client = (
            NamedEngine(engine, batch) if isinstance(engine, str) else EngineClient(engine, identity, batch)
        )
    return Judge(
        client,
        cache=cache,
        version=version,
        sampling={"temperature": temperature, "max_new_tokens": max_tokens, "top_p": top_p},
        price_in=price_in,
        price_out=price_out,
        limits=Limits(max_cost, max_seconds),
    )


def _connected(reward: Callable[..., R]) -> Callable[..., R]:
    """A reward's factory that takes `judge`, or the settings of `connect` beside its own.

    Its signature lists them all, so that a recipe's unknown field is refused with the nearest valid one.
    """
    own = list(inspect.signature(reward).parameters.values())[1:]
    connection = inspect.signature(connect).parameters

    def factory(judge: Judge | Mapping[str, Any] | None = None, **settings: Any) -> R:
        given = {name: settings.pop(name) for name in list(settings) if name in connection}
        if judge is not None and given:
            raise RecipeError(f"give a judge, or {', '.join(sorted(given))}, not both")
        if isinstance(judge, Mapping):
            given, judge = dict(judge), None
        return reward(connect(**given) if judge is None else judge, **settings)

    first = inspect.Parameter("judge", inspect.Parameter.KEYWORD_ONLY, default=None)
    rest = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *connection.values())]
    factory.__signature__ = inspect.Signature([first, *rest])  # type: ignore[attr-defined]
    factory.__doc__ = f"{reward.__doc__}\n\nTakes `judge`, or every setting of `connect`."
    return factory


rate = _connected(RateReward)
pairwise = _connected(PairwiseReward)
checklist = _connected(ChecklistReward)
first_error = _connected(FirstErrorReward)
