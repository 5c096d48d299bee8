"""What recipes name: models that start as a copy of the policy (or from a folder) and learn during the run.

Under `rewards` a model gives one signal; under `models` it attaches columns and signals before credit. The
loop passes `policy`, its own engine; nothing here trains that one. Annotations name nothing that would have
to be imported, because a recipe's values are checked against them before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from guerdon.errors import RecipeError

Init = str | Mapping[str, Any] | None


def trunk_from(init: Any, policy: Any) -> Any:
    """A trainable engine: a copy of the policy (None), one saved in a folder, or a recipe's {use: ...}.

    Raises:
        RecipeError: no `init`, and no policy to copy.
    """
    from guerdon.models.branches import prover_engine

    found = prover_engine(init, policy)
    if found is not None:
        return found
    if policy is None:
        raise RecipeError("init: name a folder or an engine; there is no policy to start from")
    return policy.clone(frozen=False)


def implicit(
    init: Init = None,
    reference: Literal["freeze", "policy"] = "freeze",
    loss: Literal["outcome", "preference"] = "outcome",
    beta: float = 0.05,
    aggregate: Literal["sum", "mean"] = "sum",
    level: str = "step",
    source: str = "outcome",
    success: float = 0.0,
    lr: float = 1e-6,
    max_grad_norm: float = 10.0,
    epochs: int = 1,
    batch: int | None = None,
    update: Literal["after", "before"] = "after",
    seed: int = 0,
    policy: Any = None,
) -> Any:
    """An implicit process reward that goes on learning from the run's outcomes; see `ImplicitPRM`.

    Args:
        init: where pi_phi starts: the policy as it is before training, a folder, or {use: engine}.
        reference: "freeze" keeps pi_phi's start, "policy" takes the log-probs the rollouts were drawn with.
    """
    from guerdon.models.implicit import ImplicitPRM

    if reference not in ("freeze", "policy"):
        raise RecipeError(f"reference: got {reference!r}, expected 'freeze' or 'policy'")
    return ImplicitPRM(
        trunk_from(init, policy),
        "policy" if reference == "policy" else None,
        loss=loss,
        beta=beta,
        aggregate=aggregate,
        level=level,
        source=source,
        success=success,
        lr=lr,
        max_grad_norm=max_grad_norm,
        epochs=epochs,
        batch=batch,
        update=update,
        online=True,
        seed=seed,
    )


def classifier(
    init: Init = None,
    labels: str = "steps",
    outputs: Literal[1, 2] = 2,
    score: Literal["difference", "probability"] = "difference",
    level: str = "step",
    loss: Literal["bce", "mse"] = "bce",
    balance: bool = False,
    hidden: Sequence[int] = (),
    lr: float = 1e-4,
    head_lr: float | None = None,
    trunk: bool = True,
    update: Literal["after", "before"] = "after",
    seed: int = 0,
    policy: Any = None,
) -> Any:
    """A step classifier that goes on learning from the signal `labels`; see `StepClassifier`."""
    from guerdon.models.step_classifier import StepClassifier

    return StepClassifier(
        trunk_from(init, policy),
        outputs,
        score,
        level,
        loss,
        balance,
        labels,
        hidden,
        lr=lr,
        head_lr=head_lr,
        trunk=trunk,
        update=update,
        online=True,
        seed=seed,
    )


def progress(
    init: Init = None,
    level: str = "step",
    source: str = "outcome",
    hidden: Sequence[int] = (),
    lr: float = 1e-4,
    head_lr: float | None = None,
    trunk: bool = True,
    update: Literal["after", "before"] = "after",
    seed: int = 0,
    policy: Any = None,
) -> Any:
    """A progress estimator that goes on learning from returns; see `ProgressEstimator`."""
    from guerdon.models.progress import ProgressEstimator

    return ProgressEstimator(
        trunk_from(init, policy),
        level,
        source,
        hidden,
        lr=lr,
        head_lr=head_lr,
        trunk=trunk,
        update=update,
        online=True,
        seed=seed,
    )


def critic(
    init: Init = None,
    gamma: float = 1.0,
    lam: float = 1.0,
    clip: float | None = 0.5,
    source: str = "outcome",
    epochs: int = 1,
    batch: int | None = None,
    hidden: Sequence[int] = (),
    lr: float = 1e-4,
    head_lr: float | None = None,
    trunk: bool = True,
    max_grad_norm: float = 1.0,
    seed: int = 0,
    policy: Any = None,
) -> Any:
    """A token critic for `gae`, learning with the policy; see `TokenCritic`."""
    from guerdon.models.critic import TokenCritic

    return TokenCritic(
        trunk_from(init, policy),
        gamma,
        lam,
        clip,
        source,
        epochs,
        batch,
        hidden,
        lr=lr,
        head_lr=head_lr,
        trunk=trunk,
        max_grad_norm=max_grad_norm,
        online=True,
        seed=seed,
    )


def utterance_critic(
    init: Init = None,
    level: str = "turn",
    gamma: float = 0.95,
    tau: float = 0.1,
    source: str = "outcome",
    epochs: int = 1,
    max_new_tokens: int = 32,
    stop: Sequence[str] = (),
    temperature: float = 1.0,
    inner: Sequence[int] | None = None,
    lr: float = 1e-5,
    head_lr: float | None = None,
    trunk: bool = True,
    seed: int = 0,
    policy: Any = None,
) -> Any:
    """A double critic of utterances for `archer`, learning with the policy; see `UtteranceCritic`."""
    from guerdon.models.utterance_critic import UtteranceCritic

    return UtteranceCritic(
        trunk_from(init, policy),
        level,
        gamma,
        tau,
        source,
        epochs,
        max_new_tokens,
        stop,
        temperature,
        inner,
        seed,
        lr=lr,
        head_lr=head_lr,
        trunk=trunk,
        online=True,
    )
