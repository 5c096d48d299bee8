"""Shaped rewards against loops written from the publications' equations, on random batches."""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics

import pytest
from oracle_records import compared, crowd, get, groups, mean, put, spread, std, through_the_command


def batch(seed, level="step", **signals):
    rng = random.Random(seed)
    records = crowd(seed, level)
    for name, (at, draw) in signals.items():
        put(records, name, at, lambda draw=draw: draw(rng))
    return records


def uniform(low, high):
    return lambda rng: rng.uniform(low, high)


def choice(*values):
    return lambda rng: rng.choice(values)


BIT = ("rollout", choice(0, 1))
UNIT = ("rollout", uniform(0, 1))
LENGTH = ("rollout", choice(*range(50, 900)))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def rowwise(reward):
    return lambda records, **how: [reward(r, **how) for r in records]


def in_groups(reward):
    """`reward(rows of one prompt, ...)` over all prompts."""

    def run(records, **how):
        out = [0.0] * len(records)
        for rows in groups(records):
            for i, x in zip(rows, reward([records[i] for i in rows], **how), strict=True):
                out[i] = x
        return out

    return run


@in_groups
def sophia(rows, step, T=500.0, alpha=0.3, judged_from=None):
    o = [get(r, "outcome") for r in rows]
    t = [get(r, "thinking") for r in rows]
    if judged_from is not None:
        t = [x if y >= judged_from else 0.0 for x, y in zip(t, o, strict=True)]
    if all(x >= 0.9 for x in o) or all(x <= 0.1 for x in o):
        return o
    right = [x for x, y in zip(t, o, strict=True) if y >= 0.5]
    wrong = [x for x, y in zip(t, o, strict=True) if y < 0.5]
    gap = (mean(right) if right else 0.0) - (mean(wrong) if wrong else 0.0)
    trust = math.exp(gap) if right and gap < 0 else 1.0
    return [y + trust * alpha * math.exp(-step / T) * x for x, y in zip(t, o, strict=True)]


@in_groups
def concise(rows, s, alpha=0.5):
    d = mean([get(r, "outcome") for r in rows])
    return [get(r, "outcome") * (1 + alpha * get(r, "conciseness") * (s + d)) for r in rows]


@in_groups
def harmo(rows, p_max=0.5, tau=0.2, long_too=False):
    right = [get(r, "length") for r in rows if get(r, "accuracy") == 1]
    out = []
    for r in rows:
        x = get(r, "accuracy") + get(r, "format")
        if right:
            ref, length = mean(right), get(r, "length")
            off = min(1.0, max(0.0, abs(length - ref) / ref - tau) / (1 - tau))
            if (get(r, "accuracy") == 0 and length < ref) or (long_too and length > ref):
                x -= p_max * off
        out.append(x)
    return out


@in_groups
def steering(rows, weight=0.4, ref="range"):
    lengths = [get(r, "length") for r in rows if get(r, "outcome") == 1]
    out = []
    for r in rows:
        if get(r, "outcome") == 0:
            out.append(0.0)
            continue
        long, short, own = max(lengths), min(lengths), get(r, "length")
        b = short / own if ref == "shortest" else (long - own) / (long - short) if long > short else 0.0
        out.append(1 + weight * len(lengths) / len(rows) * b)
    return out


@rowwise
def posterior(r):
    return get(r, "format") + get(r, "outcome") * (1 + get(r, "thinking"))


@rowwise
def ton(r):
    return get(r, "format") + get(r, "accuracy")


@rowwise
def gated(r, delta=-0.5, gamma=1.0):
    top = get(r, "outcome")
    follows = sum(gamma**t * x for t, x in enumerate(get(r, "step")))
    return top + (follows if top > delta else 0.0)


@rowwise
def par(r, k=1.0, limit=300):
    own = get(r, "rm") - 0.01 * max(0, get(r, "length") - limit)
    return mean([sigmoid(k * (own - x)) for x in r["meta"]["ref_rewards"]])


@rowwise
def conjunction(r):
    refs = r["meta"]["ref_rewards"]
    z = statistics.NormalDist().inv_cdf(0.85)
    total = 0.0
    for name in ("helpful", "harmless"):
        ref = mean(refs[name]) + z * (std(refs[name]) + 1e-5)
        total += math.log(sigmoid(get(r, name) - ref))
    return total


@rowwise
def pear(r, alpha=1.0):
    if get(r, "outcome") == 0:
        return 0.0
    entropy, end = get(r, "entropy"), r["meta"]["think_end"]
    wrote = [t for t, a in enumerate(r["acted"]) if a]
    before = [entropy[t] for t in wrote if end is None or t < end]
    after = [entropy[t] for t in wrote if end is not None and t > end]
    think = mean(before) if before else 0.0
    return min(1.0, 1 - max(0.0, think - alpha * (mean(after) if after else 0.0)))


def autothink(records, alpha=0.0, beta=0.0, rho=0.5):
    bad = [get(r, "format_error") == 1 for r in records]
    right = [get(r, "correct") == 1 and not b for r, b in zip(records, bad, strict=True)]
    out = []
    for r, b, ok in zip(records, bad, right, strict=True):
        x = 0 if b else (1 if ok else 0) if get(r, "think") else (2 if ok else -1)
        out.append(-2.0 if x < 0 and get(r, "degenerate") else float(x))
    for rows in groups(records):
        for kind in (True, False):
            there = [i for i in rows if right[i] == kind]
            if len(there) < 2:
                continue
            lengths = [get(records[i], "length") for i in there]
            for i, own in zip(there, lengths, strict=True):
                z = (own - mean(lengths)) / max(std(lengths), 1e-6)
                out[i] += math.exp(-alpha * z) - 1 if kind else 1 - math.exp(-beta * z)
    rate = mean([get(r, "think") for r in records])
    for i, r in enumerate(records):
        over = (rate if get(r, "think") else 1 - rate) - rho
        f = min(1.0, max(0.0, 2 * over))
        target = (0 if right[i] else -1) if get(r, "think") else (1 if right[i] else -2)
        out[i] = (1 - f) * out[i] + f * target
    return out


@rowwise
def rlsp(r, C=1000.0, alpha=0.8):
    text = r["completion"]
    if "\\boxed{" in text:
        ell = text.index("\\boxed{") / 4
        base = 1.0 if f"\\boxed{{{r['reference']}}}" in text else 0.0
    else:
        ell, base = len(text) / 4, -0.5
    e = get(r, "judge")
    return alpha * (base - C / ell) + (1 - alpha) * (0.5 if e is None else e)


def clip_delta(records, clip=0.9, last="drop"):
    out = []
    for r in records:
        x = [min(v - clip, 0.0) for v in get(r, "prm")] if clip else get(r, "prm")
        own = [a - b for a, b in itertools.pairwise(x)] + [x[-1]]
        if last == "drop":
            own[-1] = 0.0
            if len(x) > 1:
                own[-2] = x[-2]
        own[-1] += get(r, "outcome")
        out.append(own)
    return out


def renorm(records):
    out = []
    for r in records:
        own = []
        for s, m in zip(get(r, "score"), get(r, "max_score"), strict=True):
            valid = s is not None and m is not None and m > 0 and 0 <= s <= m
            own.append((s / m if valid else 0.0) + get(r, "outcome") - 1.0)
        own[-1] = float(get(r, "outcome"))
        out.append(own)
    return out


def with_refs(seed):
    records = batch(seed, rm=("rollout", uniform(-3, 6)), length=LENGTH)
    for r in records:
        rng = random.Random(f"{seed}{r['group']}")
        r["meta"] = {"ref_rewards": [rng.gauss(0, 2) for _ in range(5)]}
    return records


def two_properties(seed):
    records = batch(seed, helpful=("rollout", uniform(-3, 3)), harmless=("rollout", uniform(-3, 3)))
    for r in records:
        rng = random.Random(f"{seed}{r['group']}")
        r["meta"] = {"ref_rewards": {n: [rng.gauss(0, 2) for _ in range(5)] for n in ("helpful", "harmless")}}
    return records


def phases(seed):
    rng = random.Random(seed)
    records = batch(seed, outcome=("rollout", choice(0, 1, 1)), entropy=("token", uniform(0, 2)))
    for r in records:
        inside = [t for t in range(1, len(r["tokens"])) if r["acted"][t]]
        r["meta"] = {"think_end": rng.choice([None, *inside])}
    return records


def boxed(seed):
    rng = random.Random(seed)
    records = batch(seed, judge=("rollout", choice(None, 0.0, 0.3, 1.0)))
    for r in records:
        r["reference"] = "7"
        r["completion"] = "x" * rng.randint(50, 9000) + rng.choice(["", " \\boxed{7} so", " \\boxed{8}"])
    return records


MODES = {name: BIT for name in ("think", "correct", "degenerate", "format_error")}
TRUST = {"outcome": ("rollout", choice(0, 0.3, 1)), "thinking": UNIT}
HARMO = {"accuracy": BIT, "format": BIT, "length": LENGTH}
PRM = {"prm": ("step", uniform(0.5, 1)), "outcome": BIT}
GRPO, NONE = {"eps": 1e-6}, None
CASES = [
    (
        "sophiavl-r1",
        lambda s: batch(s, **TRUST),
        sophia,
        {"step": 250, "T": 1000},
        {"step": 250, "T": 1000},
        GRPO,
    ),
    (
        "sophiavl-r1",
        lambda s: batch(s, **TRUST),
        sophia,
        {"step": 0, "variant": "release"},
        {"step": 0, "judged_from": 0.2},
        GRPO,
    ),
    (
        "conciseness-reward",
        lambda s: batch(s, outcome=BIT, conciseness=("rollout", uniform(0.1, 1))),
        concise,
        {"s": 0.6},
        {"s": 0.6},
        GRPO,
    ),
    (
        "conciseness-reward",
        lambda s: batch(s, outcome=BIT, conciseness=("rollout", uniform(0.1, 1))),
        concise,
        {"progress": 0.25, "alpha": 2},
        {"s": 0.75, "alpha": 2},
        GRPO,
    ),
    ("hybrid-multi-aspect", lambda s: batch(s, **HARMO), harmo, {}, {}, "mean"),
    (
        "hybrid-multi-aspect",
        lambda s: batch(s, **HARMO),
        harmo,
        {"mode": "both", "p_max": 1, "tau": 0.1},
        {"long_too": True, "p_max": 1, "tau": 0.1},
        "mean",
    ),
    ("efficiency-steering", lambda s: batch(s, outcome=BIT, length=LENGTH), steering, {}, {}, GRPO),
    (
        "efficiency-steering",
        lambda s: batch(s, outcome=BIT, length=LENGTH),
        steering,
        {"lambda": 0.7, "ref": "shortest"},
        {"weight": 0.7, "ref": "shortest"},
        GRPO,
    ),
    ("posterior-grpo", lambda s: batch(s, format=BIT, outcome=BIT, thinking=UNIT), posterior, {}, {}, GRPO),
    ("ton", lambda s: batch(s, format=BIT, accuracy=BIT), ton, {}, {}, {"eps": 1e-4}),
    (
        "g-ra",
        lambda s: batch(
            s, "turn", outcome=("rollout", choice(-1, -0.5, 0, 1)), step=("turn", choice(0.1, -0.1))
        ),
        gated,
        {"gamma": 0.9},
        {"gamma": 0.9},
        NONE,
    ),
    ("par", with_refs, par, {}, {}, NONE),
    ("par", with_refs, par, {"k": 2, "length_limit": 500}, {"k": 2, "limit": 500}, NONE),
    ("transform-combine", two_properties, conjunction, {}, {}, NONE),
    ("pear", phases, pear, {}, {}, GRPO),
    ("pear", phases, pear, {"alpha": 2}, {"alpha": 2}, GRPO),
    ("rlsp", boxed, rlsp, {}, {}, NONE),
    ("rlsp", boxed, rlsp, {"C": 20, "alpha": 0.5}, {"C": 20, "alpha": 0.5}, NONE),
    ("autothink", lambda s: batch(s, **MODES, length=LENGTH), autothink, {}, {}, GRPO),
    (
        "autothink",
        lambda s: batch(s, **MODES, length=LENGTH),
        autothink,
        {"alpha": 0.05, "beta": 0.1, "rho": 0.4},
        {"alpha": 0.05, "beta": 0.1, "rho": 0.4},
        GRPO,
    ),
    ("clip-delta", lambda s: batch(s, **PRM), clip_delta, {}, {}, NONE),
    ("clip-delta", lambda s: batch(s, **PRM), clip_delta, {"delta": "keep"}, {"last": "keep"}, NONE),
    (
        "clip-delta",
        lambda s: batch(s, **PRM),
        clip_delta,
        {"clip": False, "delta": "keep"},
        {"clip": None, "last": "keep"},
        NONE,
    ),
    (
        "ppr-renorm",
        lambda s: batch(
            s,
            "turn",
            score=("turn", choice(None, 0, 3, 6, 9)),
            max_score=("turn", choice(0, 6, 9)),
            outcome=BIT,
        ),
        renorm,
        {},
        {},
        NONE,
    ),
]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("slug", "make", "oracle", "parameters", "same", "group"),
    CASES,
    ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)],
)
def test_command_equals_the_loop(slug, make, oracle, parameters, same, group, seed, tmp_path):
    records = make(seed)
    got = through_the_command(tmp_path, slug, records, parameters)
    rewards = oracle(records, **same)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for row, reward in zip(written, rewards, strict=True):
        expected = reward if isinstance(reward, list) else [reward]
        assert row["signals"]["reward"]["values"] == pytest.approx(expected, abs=2e-6)
    if group == "mean":
        level = {i: mean([rewards[j] for j in rows]) for rows in groups(records) for i in rows}
        rewards = [x - level[i] for i, x in enumerate(rewards)]
    elif group:
        rewards = compared(records, rewards, **group)
    for row, reward, record in zip(got, rewards, records, strict=True):
        level = "turn" if "turns" in record else "step"
        assert row == pytest.approx(spread(record, reward, level), abs=2e-6)
