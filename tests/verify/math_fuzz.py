"""Generated answer strings: pieces of real answers, mutated answers, and token soup."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from math_pairs import table

from guerdon.verify.maths.decide import decide
from guerdon.verify.maths.locate import locate

PIECES = r"""
\frac { } { } ( ) [ ] \{ \} | ^ _ + - * / , . = < > \le \cup \pm \sqrt \sin \log \ln x y i e \pi 2 3 10 0 1.5
0.\overline{3} % ! ^\circ \text{ cm and or $ \infty \begin{pmatrix} & \\ \end{pmatrix} \cdot \boxed{ : ½ ² − √
dozen \max \binom \lfloor \rfloor \arctan \emptyset \mathbb{R} \in \ne abc \theta ' \choose \over e5 \left
\right \langle \rangle million answer is #### 9^9^9 1e99
""".split()  # noqa: SIM905
PIECES += [" ", "\n", "\x00", "\u202e"]
ROUNDED = (
    "approx",
    "...",
    "dots",
    "~",
    "about",
    "roughly",
    "recurring",
    "repeating",
    "≈",
    "around",
    "rounded",
)


def strings(seed: int) -> Iterator[str]:
    """An endless stream of answers, the same for the same seed."""
    rng = random.Random(seed)
    real = [text for pair in table() for text in (pair.gold, pair.prediction)]
    while True:
        draw = rng.random()
        text = rng.choice(real) if draw < 0.7 else "".join(rng.choices(PIECES, k=rng.randint(1, 14)))
        if 0.3 < draw < 0.7:
            for _ in range(rng.randint(1, 3)):
                at = rng.randint(0, len(text))
                text = text[:at] + rng.choice(PIECES) + text[at + rng.randint(0, 3) :]
        yield text


def check(count: int, seed: int) -> Counter[str]:
    """Run `count` pairs through extraction and comparison; returns how many verdicts of each kind came.

    Raises:
        AssertionError: a crash inside, an asymmetric or an unrepeatable verdict.
    """
    source, rng, seen = strings(seed), random.Random(seed), Counter()
    for _ in range(count):
        gold, text = next(source), next(source)
        if rng.random() < 0.2:
            text = gold
        locate(text, gold)
        decision = decide(gold, text)
        assert decision.path != "error", (gold, text, decision)
        assert decide(gold, text) == decision
        if not any(mark in gold + text for mark in ROUNDED):
            back = decide(text, gold)
            assert back.equal == decision.equal, (gold, text, decision, back)
        seen[{True: "equal", False: "different", None: "no verdict"}[decision.equal]] += 1
    return seen
