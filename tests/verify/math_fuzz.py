"""Generated answer strings: pieces of real answers, mutated answers, and token soup."""

from __future__ import annotations

import random
import time
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


LEAVES = r"""
0 1 2 3 10 -1 0.5 1.5 100 9^9 9^{9^9} 10^{4000} 1e3999 1e-3999 10^{-400} \pi e i x y n \infty 50\% 0.333...
\frac12 1000000! 999! \sqrt{2} -x 2^{0.5} 10^{10^{10}} 7.0 \frac{1}{3} 123456789012345678901234567890
""".split()  # noqa: SIM905
OPERATIONS = (
    r"""
({}) + ({});({}) - ({});({})({});\frac{{{}}}{{{}}};({})^{{{}}};\sqrt[{}]{{{}}};\log_{{{}}}({})
\binom{{{}}}{{{}}};\max({}, {});\lcm({}, {});({}, {});\{{{}, {}\}};[{}, {});{}, {};{} = {};{} < {}
{} : {};{} \cup {};{} \pm {};\approx {} {};{} \text{{ or }} {};\gcd({}, {});{}!{};{} \le x < {}
""".strip()
    .replace("\n", ";")
    .split(";")
)
FUNCTIONS = [
    r"\sin",
    r"\cos",
    r"\tan",
    r"\ln",
    r"\exp",
    r"\arctan",
    r"\arcsin",
    r"\tanh",
    r"-",
    r"\sqrt",
    r"|{}|",
    r"\lfloor{}\rfloor",
    r"{}!",
    r"{}^2",
    r"{}%",
]


def expression(rng: random.Random, depth: int) -> str:
    """A random well-formed expression with extreme numbers among its leaves."""
    draw = rng.random()
    if depth == 0 or draw < 0.2:
        return rng.choice(LEAVES)
    if draw < 0.4:
        function = rng.choice(FUNCTIONS)
        inner = f"({expression(rng, depth - 1)})"
        return function.format(inner) if "{}" in function else f"{function}{inner}"
    return rng.choice(OPERATIONS).format(expression(rng, depth - 1), expression(rng, depth - 1))


def check_expressions(count: int, seed: int, seconds: float) -> float:
    """Compare random expressions with each other and with themselves; returns the longest time taken.

    Raises:
        AssertionError: a crash inside, an asymmetric verdict, or one that took too long.
    """
    rng, longest = random.Random(seed), 0.0
    for _ in range(count):
        gold, text = expression(rng, rng.randint(1, 4)), expression(rng, rng.randint(0, 4))
        for a, b in ((gold, text), (text, gold), (gold, f"({gold})")):
            began = time.process_time()
            decision = decide(a, b)
            longest = max(longest, time.process_time() - began)
            assert decision.path != "error", (a, b, decision)
            assert longest < seconds, (a, b, decision, longest)
        if not any(mark in gold + text for mark in ROUNDED):
            assert decide(gold, text).equal == decide(text, gold).equal, (gold, text)
    return longest


def floods(length: int) -> Iterator[str]:
    """Single pieces repeated up to a length, bare and between a number and a word."""
    pieces = {
        *PIECES,
        *OPERATIONS,
        "the ",
        "answer ",
        " (",
        "US ",
        "\\quad ",
        "1,",
        "1.",
        "1 ",
        "x^",
        "a_",
        "\\, ",
    }
    for piece in sorted(pieces):
        many = piece * (length // len(piece))
        yield from (many, f"1{many}x", f"{many}1", f"${many}$", f"1 {' ' * length}{piece}")
