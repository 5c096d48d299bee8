"""What `guerdon credit`, `score` and `serve` take: signals of records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guerdon import registry
from guerdon.cli import forward
from guerdon.cli.app import Device, Json, Settings, app

_CREDIT_METHODS = ", ".join([*registry.names("credit"), *registry.published("credit")])


@app.command()
def credit(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Rollouts: .jsonl, .jsonl.gz or .parquet.")],
    method: Annotated[str, typer.Option("--method", "-m", metavar="NAME", help=f"One of {_CREDIT_METHODS}.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT", help="The same records with `advantages`.")
    ],
    settings: Settings = None,
    json: Json = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out broken records and count them.")
    ] = False,
) -> None:
    """Turn the signals of saved rollouts into one advantage per token."""
    forward.call(
        "guerdon.cli.credit:credit_command",
        source=source,
        method=method,
        settings=settings or [],
        out=out,
        json=json,
        skip_bad=skip_bad,
    )


@app.command()
def score(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Rollouts: .jsonl, .jsonl.gz or .parquet.")],
    rewards: Annotated[
        list[str],
        typer.Option(
            "--reward",
            "-r",
            metavar="[LABEL=]NAME",
            help="A registered reward or system, file.py:function or module:function. Repeatable.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT", help="The same records with one more signal each.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="KEY=VALUE",
            help="A parameter; LABEL.KEY=VALUE where there are several rewards.",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; default: one per core.")] = None,
    limit: Annotated[float, typer.Option(min=0, help="Seconds for one record; 0: any.")] = 10.0,
    batch_limit: Annotated[float, typer.Option(min=0, help="Seconds for one call on many; 0: any.")] = 60.0,
    memory: Annotated[float, typer.Option(min=0, help="GB a worker may allocate; 0: any.")] = 4.0,
    give_up: Annotated[
        int, typer.Option(min=0, help="Kills in a row after which a reward is not tried further; 0: never.")
    ] = 10,
    cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Verdict cache; default: in the user's cache folder.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Use no verdict cache.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out broken records and count them.")
    ] = False,
    gather: Annotated[
        bool, typer.Option("--gather", help="Read all into memory, for groups whose records lie apart.")
    ] = False,
    parts: Annotated[
        bool, typer.Option("--parts", help="Also write the parts of composite rewards, as LABEL.PART.")
    ] = False,
    on: Annotated[str, typer.Option(metavar="PLACE", help="local, or ray: on a Ray cluster.")] = "local",
    engines: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            "-e",
            metavar="[NAME=]WHERE",
            help="A model for rewards that ask one: its folder, a run's folder, or hf:ID. Repeatable.",
        ),
    ] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Score saved rollouts: streaming, cached, in parallel, resumable."""
    forward.call(
        "guerdon.cli.score:score_command",
        source=source,
        rewards=rewards,
        out=out,
        settings=settings or [],
        workers=workers,
        limit=limit,
        batch_limit=batch_limit,
        memory=memory,
        give_up=give_up,
        cache=cache,
        no_cache=no_cache,
        resume=resume,
        skip_bad=skip_bad,
        gather=gather,
        parts=parts,
        on=on,
        engines=engines or [],
        device=device,
        json=json,
    )


@app.command()
def serve(
    rewards: Annotated[
        list[str],
        typer.Option("--reward", "-r", metavar="[LABEL=]NAME", help="As for `guerdon score`. Repeatable."),
    ],
    settings: Settings = None,
    host: Annotated[str, typer.Option(help="Beyond this machine a token is asked for.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8077,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="The token; or set GUERDON_SERVE_TOKEN."),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no token, wherever it listens.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; default: one per core.")] = None,
    limit: Annotated[float, typer.Option(min=0, help="Seconds for one record; 0: any.")] = 10.0,
    memory: Annotated[float, typer.Option(min=0, help="GB a worker may allocate; 0: any.")] = 4.0,
    cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Verdict cache; default: that of `guerdon score`.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Use no verdict cache.")] = False,
    parts: Annotated[bool, typer.Option("--parts", help="Also the parts of composite rewards.")] = False,
    body: Annotated[float, typer.Option(min=0.001, help="MB of one request.")] = 16.0,
    queue: Annotated[int, typer.Option(min=1, help="Requests waiting; more are sent away with 429.")] = 256,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")] = 60.0,
    grace: Annotated[float, typer.Option(min=1, help="Seconds for what was accepted after SIGTERM.")] = 30.0,
) -> None:
    """Serve rewards and credit methods over HTTP."""
    forward.call(
        "guerdon.cli.serve:serve_command",
        rewards=rewards,
        settings=settings or [],
        host=host,
        port=port,
        token_file=token_file,
        no_auth=no_auth,
        workers=workers,
        limit=limit,
        memory=memory,
        cache=cache,
        no_cache=no_cache,
        parts=parts,
        body=body,
        queue=queue,
        timeout=timeout,
        grace=grace,
    )
