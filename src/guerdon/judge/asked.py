"""What all rewards by a judge share: material from rows, opinions from replies, one call for all."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.errors import RecipeError
from guerdon.judge.exchange import Query, Reply
from guerdon.judge.judge import Judge
from guerdon.judge.likelihoods import check_labels, expected_value
from guerdon.judge.templates import Template
from guerdon.judge.verdicts import Reader
from guerdon.scoring import Row, SampleReward, Verdict, missing, rows_of

_LABEL_TOKENS = 4  # enough for a blank token before the label


@dataclass
class Questions:
    """The queries of one call; equal ones are asked once."""

    queries: list[Query] = field(default_factory=list)

    def add(self, messages: tuple[dict[str, str], ...], votes: int, labels: tuple[str, ...]) -> range:
        """Ask `votes` times; returns the places of the replies."""
        start = len(self.queries)
        self.queries += [Query(messages, draw, labels) for draw in range(votes)]
        return range(start, start + votes)


class AskedReward:
    """A reward that asks a judge. Subclasses plan the questions and turn replies into signals.

    Called from sync code it waits; `call_async` and `explain_async` await. In both, what the judge did
    not answer, or answered without a clear verdict, is missing with a cause that begins with "judge:".

    Args:
        judge: who is asked.
        template: name, file or mapping of a template (see `Template`).
        votes: draws per question; more than one needs a sampling temperature above 0.
        read: "text" reads the reply, "logprobs" the probabilities of the labels at its beginning.
        min_mass: for "logprobs": least probability of all labels together.
        on_error: what a missing row is worth: "nan", "raise" or a number.
    """

    kind = "judge"

    item_seconds = batch_seconds = None
    """None of `guerdon score`'s own: requests have a `timeout`, queries and endpoints a `patience`."""
    single = True
    """In one process: `concurrency`, `max_cost` and what is known of a dead endpoint hold for the run."""
    versioned = True
    """`version` tells all that verdicts depend on, so that another timeout or price asks nothing anew."""

    def __init__(
        self,
        judge: Judge,
        template: Any,
        votes: int = 1,
        read: str = "text",
        min_mass: float = 0.5,
        on_error: str | float = "nan",
        **options: Any,
    ) -> None:
        self.name = self.kind
        self._policy = SampleReward(on_error)
        self._policy.name, self.on_error = self.kind, self._policy.on_error
        self.judge, self.template = judge, Template.load(template)
        self.votes, self.read, self.min_mass = votes, read, min_mass
        if votes < 1 or (votes > 1 and judge.sampling.temperature == 0):
            raise RecipeError(
                f"{self.kind}.votes: got {votes}; votes must be >= 1, and more than one needs "
                "temperature > 0: greedy decoding gives the same reply every time"
            )
        if read not in ("text", "logprobs") or (read == "logprobs" and votes > 1):
            raise RecipeError(f"{self.kind}.read must be 'text' or, with one vote, 'logprobs'; got {read!r}")
        labels = self.template.reader.labels
        self.labels = check_labels(labels) if read == "logprobs" else ()
        said = (judge.identity, self.template.version, votes, read, min_mass, sorted(options.items()))
        self.version = "1-" + hashlib.sha256(repr(said).encode()).hexdigest()[:12]

    @property
    def sampling(self) -> Sampling:
        """How replies are drawn: the judge's way, cut short where only the first token is read."""
        if not self.labels:
            return self.judge.sampling
        return replace(
            self.judge.sampling, max_new_tokens=min(_LABEL_TOKENS, self.judge.sampling.max_new_tokens)
        )

    def spent(self) -> dict[str, float]:
        """What all calls so far took: requests, tokens and money (see `Usage`)."""
        usage = self.judge.usage
        return {
            "requests": usage.attempts,
            "prompt tokens": usage.prompt_tokens,
            "completion tokens": usage.completion_tokens,
            "cost": usage.cost,
        }

    # -- what a concrete reward supplies -----------------------------------------------------------

    def plan(self, rollouts: Rollouts) -> tuple[Any, list[Query]]:
        """What is to be asked, and what is needed to make sense of the replies."""
        raise NotImplementedError

    def conclude(
        self, rollouts: Rollouts, plan: Any, replies: Sequence[Reply]
    ) -> tuple[Signal, dict[str, Signal]]:
        """The signal and its parts."""
        raise NotImplementedError

    # -- calling -----------------------------------------------------------------------------------

    def explain(self, rollouts: Rollouts, ctx: Context | None = None) -> tuple[Signal, dict[str, Signal]]:
        """The reward and its parts, from one round of questions."""
        plan, queries = self.plan(rollouts)
        return self.conclude(rollouts, plan, self.judge.ask(queries, self.sampling, ctx))

    async def explain_async(
        self, rollouts: Rollouts, ctx: Context | None = None
    ) -> tuple[Signal, dict[str, Signal]]:
        """As `explain`, without blocking the event loop."""
        plan, queries = self.plan(rollouts)
        return self.conclude(rollouts, plan, await self.judge.ask_async(queries, self.sampling, ctx))

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        return self.explain(rollouts, ctx)[0]

    async def call_async(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        """The reward, without blocking the event loop."""
        return (await self.explain_async(rollouts, ctx))[0]

    def parts(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, Signal]:
        """The parts, un-summed."""
        return self.explain(rollouts, ctx)[1]

    def signal(self, verdicts: Sequence[Verdict], name: str | None = None) -> Signal:
        """Verdicts as a rollout-level signal, with the failure policy applied."""
        return self._policy.signal(verdicts, name)

    # -- shared steps ------------------------------------------------------------------------------

    def question(self, material: Mapping[str, str]) -> tuple[dict[str, str], ...] | Verdict:
        """Messages for some material; a missing Verdict where the template shows what is not there."""
        lacking = self.template.missing_material(material)
        if lacking:
            return missing(f"no {lacking}: the judge's template {self.template.name!r} shows it")
        self.judge.usage.shortened += self.template.shortens(material)
        return self.template.render(material)

    def opinion(self, reply: Reply) -> Verdict:
        """What one reply says; a missing Verdict where it says nothing clear."""
        verdict = opinion(self.template.reader, reply, self.labels, self.min_mass)
        if reply.cause is None and verdict.cause is not None:
            self.judge.usage.unread += 1
        return verdict


class AskedSampleReward(AskedReward, SampleReward):
    """A reward that asks a judge about one sample at a time."""

    def key(self, row: Row) -> Hashable:
        """What the judge is shown of a row."""
        shown = material(row)
        return tuple(shown.get(place) for place in sorted(self.template.places))

    def plan(self, rollouts: Rollouts) -> tuple[Any, list[Query]]:
        return self.plan_rows(rows_of(rollouts))

    def score_batch(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict per row, in order."""
        plan, queries = self.plan_rows(rows)
        return self.decide(plan, self.judge.ask(queries, self.sampling))

    def plan_rows(self, rows: Sequence[Row]) -> tuple[Any, list[Query]]:
        """As `plan`, for rows."""
        raise NotImplementedError

    def decide(self, plan: Any, replies: Sequence[Reply]) -> list[Verdict]:
        """The verdict on every row."""
        raise NotImplementedError


def opinion(reader: Reader, reply: Reply, labels: Sequence[str] = (), min_mass: float = 0.5) -> Verdict:
    """The number a reply stands for, read from its text or, with labels, from their probabilities."""
    if reply.text is None:
        return missing(f"judge: {reply.cause}", detail=reply.detail)
    if labels:
        if reply.label_logprobs is None:
            return missing("judge: the endpoint offers no log-probs")
        value, mass = expected_value(reply.label_logprobs, reader.label_values, min_mass)
        if math.isnan(value):
            return missing(f"judge: {' '.join(labels)} together are less likely than {min_mass:g}", mass=mass)
        return Verdict(value, detail={"mass": mass})
    found = reader.value(reply.text)
    if found is None:
        return missing(f"judge: no verdict in the reply{_ending(reply.finish)}", reply=reply.text[-400:])
    return Verdict(found)


def answered(verdict: Verdict) -> bool:
    """Whether the judge said something, clear or not."""
    return not math.isnan(verdict.value) or bool({"reply", "mass"} & verdict.detail.keys())


def _ending(finish: str) -> str:
    """What the way a reply ended has to do with a missing verdict."""
    if finish == "length":
        return ", which was cut at the token limit"
    return ", which was filtered" if finish in ("content_filter", "refusal") else ""


def material(row: Row) -> dict[str, str]:
    """What a row offers to a template: prompt, answer, reference, meta.NAME; absent where there is none."""
    found = {"answer": row.completion}
    if row.prompt is not None:
        found["prompt"] = prompt_text(row.prompt)
    if row.reference is not None:
        found["reference"] = as_text(row.reference)
    return found | {f"meta.{key}": as_text(value) for key, value in row.meta.items() if value is not None}


def as_text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def prompt_text(prompt: Any) -> str:
    """A prompt as text: one message is its content, several are headed by their roles."""
    if not isinstance(prompt, list | tuple):
        return as_text(prompt)
    messages = [m for m in prompt if isinstance(m, Mapping)]
    texts = [_content(m.get("content")) for m in messages]
    if len(messages) == 1:
        return texts[0]
    return "\n\n".join(f"[{m.get('role', '')}]\n{text}" for m, text in zip(messages, texts, strict=True))


def _content(content: Any) -> str:
    if isinstance(content, list):  # text and images in parts
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return "" if content is None else str(content)
