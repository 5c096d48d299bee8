"""Questions of several hops over a small collection of facts that only a search shows.

    job of boss of Ann?
    >find Ann boss      Ann boss Eve
    >find Eve job       Eve job cook
    >answer cook

`find WORDS` returns the facts that contain every word, at most `hits`, or "nothing": first those that begin
with one of the words, then in the order of the collection. `answer WORD` ends the episode. Every problem has
facts of its own, so an answer cannot be known without searching, but it can be guessed: `meta.supported` says
whether every gold hop had been found before.

A state is the set of facts found. `reference` holds the answer, the gold hops and the calls that find them;
`useful` marks a step that found a gold hop for the first time.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from guerdon.errors import DataError
from guerdon.tasks.base import SCORING_ONLY, Problem, Unscorable, span_of
from guerdon.tasks.worlds import REPLY_END, Reply, World

PEOPLE = ("Ann", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Jim", "Kay", "Lee", "Max", "Ned")
KIN = ("boss", "aunt", "coach")
ASPECTS = {
    "job": ("cook", "smith", "pilot", "nurse", "clerk", "judge"),
    "city": ("Rome", "Oslo", "Lima", "Bonn", "Cork", "Nice"),
    "pet": ("cat", "dog", "newt", "hare", "mule", "crow"),
}

Fact = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Quest:
    """What never changes in a problem; quests are equal only to themselves.

    Attributes:
        facts: (entity, relation, value).
        gold: numbers of the facts that lead to the answer, in order.
        text: the question.
        words: lower-cased words of every fact.
    """

    facts: tuple[Fact, ...]
    gold: tuple[int, ...]
    text: str
    words: tuple[frozenset[str], ...]

    @property
    def answer(self) -> str:
        return self.facts[self.gold[-1]][2]


class Found(NamedTuple):
    """A state: numbers of the facts found so far."""

    quest: Quest
    facts: frozenset[int]


@dataclass(frozen=True)
class HopQuestions(World):
    """Multi-hop questions with a search tool; see the module's text.

    Args:
        hops: facts that lead to the answer, or [from, to].
        people: how many; each has one fact per relation.
        kin: relations between people, 1 to 3.
        aspects: relations from a person to a thing, 1 to 3; a question ends with one.
        hits: most facts per search.
        max_turns: actions before an episode is truncated.
        success: reward of the right answer. error: taken off for an action that cannot be read.
        cost: taken off the reward of every step.
        preface: text before every prompt, e.g. instructions for a model that was not taught the format.
    """

    hops: int | tuple[int, int] = 2
    people: int = 4
    kin: int = 1
    aspects: int = 1
    hits: int = 2
    max_turns: int = field(default=8, metadata=SCORING_ONLY)
    success: float = field(default=1.0, metadata=SCORING_ONLY)
    error: float = field(default=0.0, metadata=SCORING_ONLY)
    cost: float = field(default=0.0, metadata=SCORING_ONLY)
    preface: str = field(default="", metadata=SCORING_ONLY)

    name = "hops"

    def __post_init__(self) -> None:
        if isinstance(self.hops, list):
            object.__setattr__(self, "hops", tuple(self.hops))
        limits = {"people": (2, len(PEOPLE)), "kin": (1, 3), "aspects": (1, 3)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie within {low}..{high}, got {getattr(self, name)}")
        if span_of(self.hops, "hops", 1, 12)[1] > self.people:
            raise ValueError(
                f"hops must not exceed people (nobody is passed twice), got {self.hops} and {self.people}"
            )
        if self.hits < 1 or self.max_turns < 1:
            raise ValueError(f"hits and max_turns must be at least 1, got {self.hits}, {self.max_turns}")

    # -- problems ------------------------------------------------------------------------------------

    def draw(self, rng: random.Random) -> Problem:
        """Random facts, and a path through them that passes nobody twice."""
        for _ in range(1000):
            people = rng.sample(PEOPLE, self.people)
            kin, aspects = rng.sample(KIN, self.kin), rng.sample(list(ASPECTS), self.aspects)
            facts: list[Fact] = []
            for person in people:
                others = [p for p in people if p != person]
                facts += [(person, relation, rng.choice(others)) for relation in kin]
                facts += [(person, aspect, rng.choice(ASPECTS[aspect])) for aspect in aspects]
            rng.shuffle(facts)
            hops = rng.randint(*span_of(self.hops, "hops", 1, 12))
            path = [rng.choice(kin) for _ in range(hops - 1)] + [rng.choice(aspects)]
            meta = {"facts": [list(fact) for fact in facts], "start": people[0], "path": path}
            quest = _read(tuple(facts), people[0], tuple(path))
            if quest is not None and len({facts[i][0] for i in quest.gold}) == hops:
                return self._problem(quest, meta)
        raise DataError(f"task {self.name!r}: no path of {self.hops} hops; lower hops or add people")

    def _problem(self, quest: Quest, meta: dict[str, Any]) -> Problem:
        hops = [list(quest.facts[i]) for i in quest.gold]
        reference = {
            "answer": quest.answer,
            "hops": hops,
            "calls": [{"name": "find", "parameters": {"query": f"{e} {r}"}} for e, r, _ in hops],
        }
        solution = self.transcript(meta, self.expert(meta))
        return Problem(self.preface + quest.text + REPLY_END, reference, meta, solution=solution)

    def key(self, problem: Problem) -> str:
        """The facts and the question."""
        return f"hops {self.problem_text(problem.meta)}"

    def problem_text(self, meta: Mapping[str, Any]) -> str:
        return f"{meta.get('start')} {meta.get('path')} {meta.get('facts')}"

    def expert(self, meta: Mapping[str, Any]) -> list[str]:
        """Find hop after hop, then answer."""
        quest = self.start(meta).quest
        hops = [quest.facts[i] for i in quest.gold]
        return [*(f"find {entity} {relation}" for entity, relation, _ in hops), f"answer {quest.answer}"]

    # -- the world -----------------------------------------------------------------------------------

    def start(self, meta: Mapping[str, Any]) -> Found:
        try:
            facts = tuple((str(e), str(r), str(v)) for e, r, v in meta.get("facts") or [])
            path = tuple(map(str, meta.get("path") or []))
        except (TypeError, ValueError):
            raise Unscorable("meta has no [entity, relation, value] lists under 'facts'") from None
        quest = _read(facts, str(meta.get("start")), path)
        if quest is None:
            raise Unscorable("the facts in meta do not lead from 'start' along 'path'")
        return Found(quest, frozenset())

    def observe(self, state: Found) -> str:
        return "\n".join([state.quest.text, *(" ".join(state.quest.facts[i]) for i in sorted(state.facts))])

    def actions(self, meta: Mapping[str, Any]) -> tuple[str, ...]:
        """Every search for one fact, and every value of the question's last relation as an answer."""
        quest = self.start(meta).quest
        last = quest.facts[quest.gold[-1]][1]
        values = dict.fromkeys(v for _, relation, v in quest.facts if relation == last)
        return (*(f"find {e} {r}" for e, r, _ in quest.facts), *(f"answer {value}" for value in values))

    def act(self, state: Found, action: str) -> Reply:
        verb, *words = action.split()[:9] or [""]
        if verb.lower() == "find" and words:
            return self._find(state, words)
        if verb.lower() == "answer" and len(words) == 1:
            return self._answer(state, words[0])
        return Reply(
            state, "error", -self.cost - self.error, action=action, call_ok=-1, grounded=False, useful=False
        )

    def _find(self, state: Found, words: list[str]) -> Reply:
        quest, wanted = state.quest, {word.lower() for word in words}
        about = [fact[0].lower() not in wanted for fact in quest.facts]
        hits = [i for i, present in enumerate(quest.words) if wanted <= present]
        hits = sorted(hits, key=about.__getitem__)[: self.hits]
        shown = "; ".join(" ".join(quest.facts[i]) for i in hits)
        query = _spelled(quest, hits, words)
        return Reply(
            state._replace(facts=state.facts | frozenset(hits)),
            shown or "nothing",
            -self.cost,
            action=f"find {query}",
            grounded=bool(hits),
            useful=any(i in quest.gold and i not in state.facts for i in hits),
            calls=({"name": "find", "arguments": {"query": query}},),
        )

    def _answer(self, state: Found, given: str) -> Reply:
        right = given.lower() == state.quest.answer.lower()
        return Reply(
            state,
            "",
            self.success * right - self.cost,
            done=True,
            success=right,
            action=f"answer {state.quest.answer if right else given}",
            call_ok=0,
            useful=right,
            notes={"answer": given, "supported": state.facts >= set(state.quest.gold)},
        )


def _spelled(quest: Quest, hits: list[int], words: list[str]) -> str:
    """A query as its facts spell it, entity first; as it was written where it does not name one fact."""
    if len(words) == 2 and hits:
        entity, relation, _ = quest.facts[hits[0]]
        if {word.lower() for word in words} == {entity.lower(), relation.lower()}:
            return f"{entity} {relation}"
    return " ".join(words)


@lru_cache(maxsize=65536)
def _read(facts: tuple[Fact, ...], start: str, path: tuple[str, ...]) -> Quest | None:
    """The quest that a path through facts is; None where it leads nowhere."""
    number = {(entity, relation): i for i, (entity, relation, _) in enumerate(facts)}
    gold, entity = [], start
    for relation in path:
        at = number.get((entity, relation))
        if at is None:
            return None
        gold.append(at)
        entity = facts[at][2]
    if not gold:
        return None
    text = f"{' of '.join((*reversed(path), start))}?"
    words = tuple(frozenset(word.lower() for part in fact for word in part.split()) for fact in facts)
    return Quest(facts, tuple(gold), text, words)
