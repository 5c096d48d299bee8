"""What `guerdon train`, `quickstart`, `runs` and `systems` take: experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guerdon.cli import forward
from guerdon.cli.app import Device, Json, Settings, app


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")],
    overrides: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="The run's folder.")] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Train a policy with a recipe."""
    forward.call(
        "guerdon.cli.train:train_command",
        recipe=recipe,
        overrides=overrides or [],
        resume=resume,
        out=out,
        device=device,
        json=json,
    )


@app.command()
def quickstart(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the runs are stored.")
    ] = Path("runs/quickstart"),
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    json: Json = False,
    device: Device = None,
) -> None:
    """Train a small reasoner twice, rewarded for answers and for answers and steps; compare the two."""
    forward.call("guerdon.cli.quickstart:quickstart_command", out=out, seed=seed, json=json, device=device)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to look for runs.")] = Path("runs"),
    json: Json = False,
    plot: Annotated[
        str | None, typer.Option(metavar="METRIC", help="Draw this metric of all runs into one picture.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PNG", help="The picture's file.")
    ] = None,
) -> None:
    """List the runs in a folder and compare what they reached."""
    forward.call("guerdon.cli.runs:runs_command", folder=folder, json=json, plot=plot, out=out)


systems_app = typer.Typer(help="The catalogue of published systems and their claims.")
app.add_typer(systems_app, name="systems")


@systems_app.callback(invoke_without_command=True)
def systems(ctx: typer.Context, json: Json = False) -> None:
    """List the published systems; `show SLUG` and `claim SLUG` look at one."""
    if ctx.invoked_subcommand is None:
        forward.call("guerdon.cli.systems:list_command", json=json)


@systems_app.command("show")
def systems_show(slug: Annotated[str, typer.Argument(metavar="SLUG")], json: Json = False) -> None:
    """What a system is: equation, parameters, source, and how its claim came out."""
    forward.call("guerdon.cli.systems:show_command", slug=slug, json=json)


@systems_app.command("claim")
def systems_claim(
    slug: Annotated[str, typer.Argument(metavar="SLUG")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where to store it.")] = Path(
        "runs/claims"
    ),
    seeds: Annotated[int | None, typer.Option(min=5, help="How many, instead of the claim's own.")] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Only see that it runs: seconds, no result.")
    ] = False,
    json: Json = False,
) -> None:
    """Try what a publication claims, at small scale, and print the verdict."""
    forward.call("guerdon.cli.systems:claim_command", slug=slug, out=out, seeds=seeds, smoke=smoke, json=json)
