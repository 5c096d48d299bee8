"""The command `guerdon`, and the options that several of its commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from guerdon import __version__
from guerdon.cli import forward

app = typer.Typer(
    name="guerdon",
    help="Reward engineering for reinforcement learning: rollouts in, learning signals out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change a field; values as in YAML. Repeatable."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"guerdon {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (or GUERDON_DEBUG=1).")
    ] = False,
) -> None:
    forward.show_tracebacks(debug)
