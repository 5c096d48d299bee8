"""What `guerdon audit` and `bench` take: rewards put to the test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guerdon.cli import forward
from guerdon.cli.app import Json, Settings, app


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
