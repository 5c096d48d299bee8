"""The routes. Each reads a body, checks it, has it scored, and writes the answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request

from guerdon import __version__
from guerdon.registry import names
from guerdon.serve import bodies, openapi, openrlhf
from guerdon.serve.admission import Admission, Ticket
from guerdon.serve.desk import Desk
from guerdon.serve.gate import OPEN, Gate, error_body
from guerdon.serve.metrics import CONTENT_TYPE, Metrics
from guerdon.serve.reading import JSON, LINES, admitted, content_type, read_body
from guerdon.serve.refusals import Refusal
from guerdon.serve.scoring import Service, answers_of, in_thread, within
from guerdon.serve.settings import Settings

ROUTES = frozenset((*OPEN, "/score", "/credit", "/openrlhf", "/rewards", "/metrics"))


def make_app(desk: Desk, settings: Settings) -> Gate:
    """The server as an ASGI application; it closes the desk when it ends.

    Args:
        desk: where scoring happens.
        settings: the limits.
    """
    service = Service(desk, settings, Admission(settings), Metrics())

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(title="guerdon", version=__version__, lifespan=life, redoc_url=None)
    _scoring_routes(app, service)
    _other_routes(app, service)
    _error_handlers(app)
    _describe(app, desk, settings)
    return Gate(app, settings, service.metrics, ROUTES)


def _describe(app: FastAPI, desk: Desk, settings: Settings) -> None:
    plain, labels = app.openapi, list(desk.plans) if settings.token is None else None
    app.openapi = lambda: openapi.completed(plain(), names("credit"), labels, OPEN)


def _scoring_routes(app: FastAPI, service: Service) -> None:
    settings, admission = service.settings, service.admission

    @app.post("/score", **openapi.SCORE)
    async def score(request: Request) -> Response:
        """Signals of records: one JSON document, or JSON Lines in and out, answered as they get done."""
        kind = content_type(request, (JSON, *LINES))
        if kind in LINES:
            return await _score_lines(request, service)
        async with admitted(request, admission) as ticket:
            body = await read_body(request, ticket, settings)
            async with within(settings):
                await _turn(body, ticket, settings)
                asked = await in_thread(body, bodies.parse_object, body, ("records", "rewards"), ("records",))
                labels = service.labels(_named(asked.get("rewards"), request))
                chunk = await in_thread(body, bodies.to_chunk, asked["records"], settings)
                scored = await service.score(chunk, labels, ticket)
            answer = {"results": answers_of(asked["records"], scored)}
            return Response(await in_thread(body, json.dumps, answer), media_type=JSON)

    @app.post("/credit", **openapi.CREDIT)
    async def credit(request: Request) -> Response:
        """Advantages of records whose signals are there."""
        content_type(request)
        async with admitted(request, admission) as ticket:
            body = await read_body(request, ticket, settings)
            fields = ("records", "method", "settings")
            async with within(settings):
                await _turn(body, ticket, settings)
                asked = await in_thread(body, bodies.parse_object, body, fields, ("records", "method"))
                found = await service.credit(asked["records"], asked["method"], asked.get("settings"), ticket)
            return Response(await in_thread(body, json.dumps, found), media_type=JSON)

    @app.post("/openrlhf", **openapi.OPENRLHF)
    async def for_openrlhf(request: Request) -> Response:
        """OpenRLHF's protocol; `?reward=LABEL` where several are served and it is not the first.

        `?missing=NUMBER` is what a sample without a verdict gets.
        """
        content_type(request)
        label = service.labels(request.query_params.getlist("reward"))[0]
        worth = openrlhf.worth(request.query_params.getlist("missing"))
        async with admitted(request, admission) as ticket:
            body = await read_body(request, ticket, settings)
            async with within(settings):
                await _turn(body, ticket, settings)
                asked = await in_thread(body, bodies.parse_object, body, openrlhf.FIELDS)
                chunk = bodies.to_chunk(openrlhf.to_records(asked), settings)
                scored = await service.score(chunk, service.labels(None), ticket)
            return JSONResponse(openrlhf.answer(scored, label, worth))


async def _turn(body: bytes, ticket: Ticket, settings: Settings) -> None:
    """Before a body is made into objects."""
    await in_thread(body, bodies.check_structure, body, settings)
    await ticket.turn()


def _named(rewards: Any, request: Request) -> Any:
    """Rewards as the body names them, else as the query does."""
    named = request.query_params.getlist("reward")
    if named and rewards not in (None, []):
        raise Refusal(422, "rewards: named in the body and in the query; expected one of them")
    return named or rewards


async def _score_lines(request: Request, service: Service) -> Response:
    async with AsyncExitStack() as held:
        ticket = await held.enter_async_context(admitted(request, service.admission))
        labels = service.labels(request.query_params.getlist("reward"))
        body = await read_body(request, ticket, service.settings)
        async with within(service.settings):
            await _turn(body, ticket, service.settings)
            records = await in_thread(body, bodies.parse_lines, body)
            bodies.check_list(records, service.settings)
            lines = service.stream(records, labels, ticket)
            first = await anext(lines)  # until then, what goes wrong is told with a status
        rest = held.pop_all()

    async def answer() -> AsyncIterator[bytes]:
        async with rest:
            yield first
            try:
                async with within(service.settings):
                    async for piece in lines:
                        yield piece
            except Refusal as refusal:
                yield (
                    json.dumps({"error": {"status": refusal.status, "message": str(refusal)}}).encode()
                    + b"\n"
                )

    return StreamingResponse(answer(), media_type=LINES[0])


def _other_routes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", **openapi.HEALTH)
    async def health() -> Response:
        """200 while scoring works, 503 when it does not any more."""
        well = service.desk.broken is None
        return JSONResponse({"status": "ok" if well else "broken"}, 200 if well else 503)

    @app.get("/rewards", **openapi.GUARDED)
    async def rewards() -> dict[str, Any]:
        """What is served."""
        return {
            label: {
                "use": plan.spec.use.rpartition("/")[2],
                "version": plan.traits.version,
                "looks_at": plan.traits.shape,
            }
            for label, plan in service.desk.plans.items()
        }

    @app.get("/metrics", response_class=PlainTextResponse, **openapi.GUARDED)
    async def metrics() -> Response:
        """Counters and times, as Prometheus collects them."""
        service.metrics.set("guerdon_refused_total", service.admission.refused)
        service.metrics.set("guerdon_workers_replaced_total", service.desk.replaced)
        service.metrics.set("guerdon_waiting_requests", service.admission.requests)
        service.metrics.set("guerdon_waiting_bytes", service.admission.bytes)
        return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE})


def _error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        body = error_body(error.status, str(error), request.state.request_id)
        return Response(body, error.status, error.headers, JSON)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        body = error_body(error.status_code, str(error.detail), request.state.request_id)
        return Response(body, error.status_code, error.headers, JSON)
