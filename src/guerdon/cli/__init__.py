"""`guerdon ...`: what each command is called and takes. The work is imported when a command runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from guerdon import __version__, registry
from guerdon.cli import forward

_CREDIT_METHODS = ", ".join([*registry.names("credit"), *registry.published("credit")])

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


@app.command()
def audit(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A reward: a name, or file.py:function. Or a run's folder.")
    ],
    settings: Settings = None,
    items: Annotated[
        str | None, typer.Option(metavar="SET", help="math, text, choice, code, sql or tools.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Records {prompt, reference, completion: a right one, wrong}."),
    ] = None,
    number: Annotated[int, typer.Option("--n", min=1, help="How many problems.")] = 40,
    attacks: Annotated[
        list[str] | None, typer.Option("--attack", metavar="NAME", help="Only this attack. Repeatable.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Paid from here on; default: half of a right completion's.")
    ] = None,
    rollouts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Best-of-N over these; their signal `outcome` is the truth."),
    ] = None,
    optimise: Annotated[int, typer.Option(min=0, help="Train a small policy against it, this long.")] = 0,
    max_fpr: Annotated[
        float | None, typer.Option("--max-fpr", min=0, help="Leave with exit code 1 above this rate.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the problems and of training.")] = 0,
    json: Json = False,
) -> None:
    """Attack a reward before a policy does; or see whether a run's reward left the truth."""
    forward.call(
        "guerdon.cli.audit:audit_command",
        name=name,
        settings=settings or [],
        items=items,
        data=data,
        number=number,
        attacks=attacks or [],
        threshold=threshold,
        rollouts=rollouts,
        optimise=optimise,
        max_fpr=max_fpr,
        html=html,
        seed=seed,
        json=json,
    )


@app.command()
def bench(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="judgebench, multi-rm, processbench, prmbench, rewardbench2, rewardmath or rmbench.",
        ),
    ],
    data: Annotated[Path | None, typer.Option(metavar="FILE", help="The benchmark's own file.")] = None,
    scores: Annotated[Path | None, typer.Option(metavar="FILE", help="Saved scores.")] = None,
    verdicts: Annotated[Path | None, typer.Option(metavar="FILE", help="Saved verdicts of a judge.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Saved predictions {id, prediction}.")
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option("--reward", "-r", metavar="NAME", help="Ask this reward: a name, or file.py:function."),
    ] = None,
    settings: Settings = None,
    errors: Annotated[int, typer.Option(min=0, help="How many wrong examples to list.")] = 5,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw the metrics with intervals.")] = None,
    json: Json = False,
) -> None:
    """Benchmark a reward, judge or verifier: on saved outputs, or asked afresh."""
    forward.call(
        "guerdon.cli.bench:bench_command",
        name=name,
        data=data,
        scores=scores,
        verdicts=verdicts,
        predictions=predictions,
        reward=reward,
        settings=settings or [],
        errors=errors,
        plot=plot,
        json=json,
    )


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


def main(arguments: list[str] | None = None) -> Any:
    """Entry point. Exit codes: 0 done, 2 an error in the input, 130 Ctrl-C, 141 the reader went away."""
    # Idle OpenMP threads sleep instead of spinning: many times faster where other work shares the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(args=arguments, prog_name="guerdon")
    except KeyboardInterrupt:
        sys.exit(130)
