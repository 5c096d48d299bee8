"""`guerdon serve`: rewards and credit methods over HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from guerdon.cli import show
from guerdon.errors import DataError
from guerdon.score.pool import Limits
from guerdon.score.report import Options


def serve_command(
    rewards: Sequence[str],
    settings: Sequence[str],
    host: str,
    port: int,
    token_file: Path | None,
    no_auth: bool,
    workers: int | None,
    limit: float,
    memory: float,
    cache: Path | None,
    no_cache: bool,
    parts: bool,
    body: float,
    queue: int,
    timeout: float,
    grace: float,
) -> None:
    """Load the rewards, listen, say where, and serve until SIGTERM or Ctrl-C."""
    from guerdon.serve import server
    from guerdon.serve.settings import Settings

    options = Options(
        workers=workers,
        limits=Limits(item_seconds=limit or None, memory=int(memory * 1e9)),
        cache=None if no_cache else (cache or ""),
        parts=parts,
    )
    given = Settings(
        host=host,
        port=port,
        token=_token(token_file),
        body_bytes=int(body * 1e6),
        waiting_bytes=max(int(16 * body * 1e6), Settings.waiting_bytes),
        requests=queue,
        seconds=timeout,
        grace=grace,
    )
    made = server.with_token(given, no_auth)
    listening = server.listen(made)
    desk = server.open_desk(rewards, show.parse_settings(settings), options)
    for note in desk.notes:
        typer.echo(f"note: {note}", err=True)
    where = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    typer.echo(f"serving {', '.join(desk.plans)} on {where} (description: {where}/docs)", err=True)
    if made.token is None:
        typer.echo("no token is asked for", err=True)
    elif given.token is None:
        typer.echo(f"token made for this run: {made.token}", err=True)
    server.run(server.make_server(desk, made), listening)


def _token(file: Path | None) -> str | None:
    """The token, from a file or the environment: on a command line everyone on the machine could read it."""
    if file is None:
        return os.environ.get("GUERDON_SERVE_TOKEN") or None
    token = file.read_text(encoding="utf-8").strip()
    if not token:
        raise DataError(f"{file}: expected a token, got an empty file")
    return token
