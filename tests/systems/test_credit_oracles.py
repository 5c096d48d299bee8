"""Credit systems against loops written from the publications' equations, on random batches."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from oracle_records import (
    compared,
    crowd,
    get,
    groups,
    mean,
    put,
    scores,
    spans,
    spread,
    std,
    suffix,
    through_the_command,
)


def outcomes(records, rng, values=(0, 1)):
    put(records, "outcome", "rollout", lambda: rng.choice(values))
    return records


def steps(seed, *, sizes=(4, 2, 3), masked=True, level="step", values=(0, 1), **signals):
    rng = random.Random(seed)
    records = outcomes(crowd(seed, level, sizes, masked), rng, values)
    for name, (at, draw) in signals.items():
        put(records, name, at, lambda draw=draw: draw(rng))
    return records


def uniform(low, high):
    return lambda rng: rng.uniform(low, high)


def choice(*values):
    return lambda rng: rng.choice(values)


def prime(records, loo="paper"):
    def left_out(values):
        out = [None] * len(records)
        for rows in groups(records):
            n = len(rows)
            means = {i: mean(values[i]) for i in rows}
            for i in rows:
                rest = (sum(means.values()) - means[i]) / (n - 1)
                whole = sum(means.values()) / (n - 1)
                out[i] = [x - rest if loo == "paper" else x * n / (n - 1) - whole for x in values[i]]
        return out

    raw = [get(r, "implicit") for r in records]
    largest = max(abs(x) for q in raw for x in suffix(q))
    process = left_out([[x / (largest + 1e-6) for x in q] for q in raw])
    verified = left_out([[get(r, "outcome")] for r in records])
    rows = [[x + v[0] for x in suffix(p)] for p, v in zip(process, verified, strict=True)]
    flat = [x for row in rows for x in row]
    scale = 1 / math.sqrt(std(flat) ** 2 + 1e-8)
    return [[(x - mean(flat)) * scale for x in row] for row in rows]


def istar(records, weight=1.0):
    raw = [[0.05 * sum(get(r, "implicit")[t] for t in where) for where in spans(r)] for r in records]
    largest = max(abs(x) for s in raw for x in s)
    raw = [[x / (largest + 1e-6) for x in s] for s in raw]
    out = [None] * len(records)
    for rows in groups(records):
        wins = [get(records[i], "outcome") for i in rows]
        pool = [x for i in rows for x in raw[i]]
        n, m = len(rows), len(pool)
        for i, won in zip(rows, wins, strict=True):
            episode = n / (n - 1) * (won - mean(wins))
            own = [episode + weight * m / (m - 1) * (x - mean(pool)) for x in raw[i]]
            out[i] = spread(records[i], own)
    return out


def pure(records, temperature=0.1, form="softmin"):
    weighted, out = [], [None] * len(records)
    for r in records:
        raw = get(r, "prm")
        e = [math.exp(-x / temperature) for x in raw]
        weighted.append([w / sum(e) * x for w, x in zip(e, raw, strict=True)] if form == "softmin" else raw)
    for rows in groups(records):
        totals = {i: sum(weighted[i]) for i in rows}
        written = {i: sum(records[i]["acted"]) for i in rows}
        for i in rows:
            others = [j for j in rows if j != i]
            rate = sum(totals[j] for j in others) / sum(written[j] for j in others)
            own = [x - rate * len(w) for x, w in zip(weighted[i], spans(records[i]), strict=True)]
            own[-1] += get(records[i], "outcome") - mean([get(records[j], "outcome") for j in others])
            out[i] = spread(records[i], suffix(own))
    return out


def gigpo(records, gamma=0.95, scale="none", weight=1.0):
    out = [None] * len(records)
    returns = [suffix(get(r, "env"), gamma) for r in records]
    for rows in groups(records):
        total = [get(records[i], "outcome") for i in rows]
        if scale == "std":
            episode = scores(total)
        else:
            episode = [x - mean(total) for x in total] if len(rows) > 1 else total
        anchors: dict[Any, list[float]] = {}
        for i in rows:
            for key, value in zip(records[i]["state"], returns[i], strict=True):
                anchors.setdefault(key, []).append(value)
        for i, level in zip(rows, episode, strict=True):
            own = []
            for key, value in zip(records[i]["state"], returns[i], strict=True):
                group = anchors[key]
                above = value - mean(group)
                by = std(group) + 1e-6 if scale == "std" and len(group) > 1 else 1.0
                own.append(level + weight * above / by)
            out[i] = spread(records[i], own)
    return out


def salt(records, base="grpo"):
    out = [None] * len(records)
    for rows in groups(records):
        wins = [get(records[i], "outcome") for i in rows]
        n = len(rows)
        own = scores(wins) if base == "grpo" else [n / (n - 1) * (x - mean(wins)) for x in wins]
        edges: dict[Any, list[float]] = {}
        keys = {}
        for i, level in zip(rows, own, strict=True):
            states = [*records[i]["state"], records[i]["meta"]["final_state"]]
            keys[i] = list(zip(states, records[i]["meta"]["actions"], states[1:], strict=False))
            for key in keys[i]:
                edges.setdefault(key, []).append(level)
        for i in rows:
            out[i] = spread(records[i], [mean(edges[key]) for key in keys[i]])
    return out


def portool(records, gamma=0.95, eta=0.1, w_fork=0.5, w_traj=0.5):
    out = [None] * len(records)
    for rows in groups(records):
        below: dict[Any, list[tuple[int, int]]] = {}
        parent, ok = {}, {}
        for i in rows:
            nodes = records[i]["node"]
            for k, node in enumerate(nodes):
                below.setdefault(node, []).append((i, len(nodes) - 1 - k))
                parent[node] = nodes[k - 1] if k else None
                ok[node] = get(records[i], "call_ok")[k]
        reward = {
            node: mean([gamma**d * get(records[i], "outcome") for i, d in leaves]) + eta * ok[node]
            for node, leaves in below.items()
        }
        siblings: dict[Any, list[Any]] = {}
        for node, above in parent.items():
            siblings.setdefault(above, []).append(node)
        fork = {}
        for nodes in siblings.values():
            fork |= dict(zip(nodes, scores([reward[n] for n in nodes], alone="zero"), strict=True))
        whole = [get(records[i], "outcome") + eta * mean(get(records[i], "call_ok")) for i in rows]
        leaf = dict(zip(rows, scores(whole, alone="zero"), strict=True))
        for i in rows:
            own = [
                w_fork * fork[node] + w_traj * mean([leaf[j] for j, _ in below[node]])
                for node in records[i]["node"]
            ]
            out[i] = spread(records[i], own)
    return out


def matchtir(records, gamma=0.9):
    out = [None] * len(records)
    whole = compared(records, [sum(get(r, "turn_reward")) for r in records])
    left = [suffix(get(r, "turn_reward"), gamma) for r in records]
    for rows in groups(records):
        by_turn = {}
        for j in range(max(len(left[i]) for i in rows)):
            there = [i for i in rows if len(left[i]) > j]
            for i, z in zip(there, scores([left[i][j] for i in there], eps=1e-6), strict=True):
                by_turn[i, j] = left[i][j] if len(there) == 1 else z
        for i in rows:
            own = [(whole[i] + by_turn[i, j]) / 2 for j in range(len(left[i]))]
            out[i] = spread(records[i], own, "turn")
    return out


def prorag(records, weight=0.3):
    out = [None] * len(records)
    episode = compared(records, [get(r, "outcome") for r in records], eps=1e-4)
    for rows in groups(records):
        pool = [
            x
            for i in rows
            for x, where in zip(get(records[i], "step_score"), spans(records[i]), strict=True)
            for _ in where
        ]
        scale = math.sqrt(std(pool, 0) ** 2 + 1e-8)
        for i in rows:
            z = [(x - mean(pool)) / scale for x in get(records[i], "step_score")]
            out[i] = spread(records[i], [episode[i] + weight * x for x in z])
    return out


def igpo(records, gamma=1.0, gain="log"):
    out = [None] * len(records)
    for rows in groups(records):
        seen = {i: get(records[i], "answer_logprob") for i in rows}
        if gain == "prob":
            seen = {i: [math.exp(x) for x in xs] for i, xs in seen.items()}
        gains = {i: [b - a for a, b in itertools.pairwise(xs)] for i, xs in seen.items()}
        pool = [g for i in rows for g in gains[i]]
        level = mean(pool) if pool else 0.0
        by = std(pool) + 1e-6 if len(pool) > 1 else 1.0
        final = scores([get(records[i], "outcome") for i in rows], alone="zero")
        for i, last in zip(rows, final, strict=True):
            own = [(g - level) / by for g in gains[i]] + [last]
            out[i] = spread(records[i], suffix(own, gamma), "turn")
    return out


def capo(records, vote="majority", w_process=1.0):
    rule = {
        "majority": lambda n: n >= 2,
        "strict": lambda n: n > 2,
        "intersection": lambda n: n == 4,
        "union": lambda n: n > 0,
    }[vote]
    rewards = []
    for r in records:
        votes = zip(*(get(r, f"critique_{j}") for j in (1, 2, 3, 4)), strict=True)
        rewards.append([2.0 * get(r, "outcome") - w_process * rule(sum(v)) for v in votes])
    out = [None] * len(records)
    for rows in groups(records):
        pool = [
            x for i in rows for x, where in zip(rewards[i], spans(records[i]), strict=True) for _ in where
        ]
        for i in rows:
            own = [(x - mean(pool)) / (std(pool) + 1e-6) for x in rewards[i]]
            out[i] = spread(records[i], own)
    return out


def thoughts(records, alpha=1.0):
    out = [None] * len(records)
    level = compared(records, [get(r, "outcome") for r in records], alone="zero")
    for rows in groups(records):
        paid = alpha * mean([get(records[i], "outcome") > 0 for i in rows])
        for i in rows:
            own = []
            for label in get(records[i], "label"):
                if get(records[i], "outcome") > 0:
                    own.append(level[i] if label == 1 else level[i] - paid)
                else:
                    own.append(level[i] if label == -1 else 0.0)
            out[i] = spread(records[i], own)
    return out


def vsrm_rewards(acc, decay=0.7, moves=4):
    m = len(acc) - 1
    rewards = []
    for j in range(m):
        found = acc[j + 1] - acc[j]
        if abs(found) < 1e-5:
            found = 0.0
            for away in range(1, moves + 1):
                k = j + away
                if k >= m:
                    break
                if abs(acc[k + 1] - acc[k]) >= 1e-5:
                    found = (acc[k + 1] - acc[k]) * decay**away
                    break
        rewards.append(found)
    return rewards


def vsrm(records):
    return [
        spread(r, [0.0, *vsrm_rewards(get(r, "forced_acc")[:-1]), float(get(r, "outcome"))]) for r in records
    ]


def mrt(records, alpha=1.0):
    out = []
    for r in records:
        before = [get(r, "j_start"), *get(r, "j")]
        own = [alpha * (b - a) for a, b in itertools.pairwise(before)]
        out.append(spread(r, [get(r, "outcome") - get(r, "termination") + x for x in own]))
    return out


def pav(records, alpha=1.0, k=4):
    out = []
    for r in records:
        values = [1 - (1 - q) ** k for q in (get(r, "q_root"), *get(r, "q_policy"))]
        own = [alpha * (b - a) for a, b in itertools.pairwise(values)]
        own[-1] += get(r, "outcome")
        out.append(spread(r, own))
    return out


def spa(records, alpha=1.0, beta=0.5):
    out = []
    for r in records:
        row = [0.0] * len(r["tokens"])
        for where, c, g in zip(spans(r), get(r, "contribution"), get(r, "grounded"), strict=True):
            row[where[-1]] = alpha * c + beta * g
        out.append(row)
    return out


def archer(records):
    return [
        spread(
            r,
            [
                min(a, b) - min(c, d)
                for a, b, c, d in zip(*(get(r, n) for n in ("q1", "q2", "v1", "v2")), strict=True)
            ],
            "turn",
        )
        for r in records
    ]


def walks(seed):
    records = steps(seed, env=("step", choice(0, 0, 1)))
    rng = random.Random(seed)
    for r in records:
        r["state"] = [rng.randint(0, 2) for _ in r["steps"]]
        r["meta"] = {"actions": [rng.choice("ab") for _ in r["steps"]], "final_state": rng.randint(0, 2)}
    return records


def trees(seed):
    rng = random.Random(seed)
    records = outcomes(crowd(seed), rng)
    for rows in groups(records):
        ids: dict[tuple[int, ...], int] = {}
        ok: dict[int, int] = {}
        for i in rows:
            path = (*tuple(rng.randint(0, 1) for _ in records[i]["steps"][:-1]), 10 + i)
            nodes = [ids.setdefault(path[: k + 1], 100 * rows[0] + len(ids)) for k in range(len(path))]
            records[i]["node"] = nodes
            values = [ok.setdefault(node, rng.choice((-1, 0, 1))) for node in nodes]
            records[i]["signals"]["call_ok"] = {"level": "step", "values": values}
    return records


def judged(seed):
    records = steps(seed, values=(-1, 1), label=("step", choice(0, 1)))
    for r in records:
        won = get(r, "outcome") > 0
        labels = [(1 if x else -1) if won else (-1 if x else 0) for x in get(r, "label")]
        r["signals"]["label"]["values"] = [*labels[:-1], 1 if won else -1]
    return records


def forced(seed):
    records = [r for r in steps(seed, forced_acc=("step", choice(0.2, 0.2, 0.6))) if len(r["steps"]) > 1]
    for r in records:
        r["signals"]["forced_acc"]["values"][-1] = None
    return records


CRITIQUES = {f"critique_{j}": ("step", choice(0, 1)) for j in (1, 2, 3, 4)}
HEADS = {name: ("turn", uniform(0, 1)) for name in ("q1", "q2", "v1", "v2")}


def dense(seed):
    return steps(seed, masked=False, implicit=("token", uniform(-2, 2)))


def told(seed):
    return steps(seed, level="turn", answer_logprob=("turn", uniform(-3, -0.1)))


CASES = [
    ("prime", dense, prime, {}, {}),
    ("prime", dense, prime, {"variant": "release"}, {"loo": "code"}),
    ("oprl-istar", lambda s: steps(s, implicit=("token", uniform(-2, 2))), istar, {}, {}),
    ("oprl-istar", dense, istar, {"weight": 0.5}, {"weight": 0.5}),
    ("pure", lambda s: steps(s, prm=("step", uniform(-1, 1))), pure, {}, {}),
    ("pure", lambda s: steps(s, prm=("step", uniform(-1, 1))), pure, {"form": "sum"}, {"form": "sum"}),
    ("gigpo", walks, gigpo, {}, {}),
    (
        "gigpo",
        walks,
        gigpo,
        {"scale": "std", "gamma": 0.9, "weight": 0.8},
        {"scale": "std", "gamma": 0.9, "weight": 0.8},
    ),
    ("salt", walks, salt, {}, {}),
    ("salt", walks, salt, {"base": "rloo"}, {"base": "rloo"}),
    ("portool", trees, portool, {}, {}),
    ("portool", trees, portool, {"eta": 0.3, "w_fork": 1}, {"eta": 0.3, "w_fork": 1}),
    ("matchtir", lambda s: steps(s, level="turn", turn_reward=("turn", uniform(0, 1))), matchtir, {}, {}),
    ("prorag", lambda s: steps(s, values=(-1, 0, 3), step_score=("step", uniform(-2, 2))), prorag, {}, {}),
    ("igpo", told, igpo, {}, {}),
    ("igpo", told, igpo, {"variant": "release", "gamma": 0.9}, {"gain": "prob", "gamma": 0.9}),
    ("capo", lambda s: steps(s, **CRITIQUES), capo, {}, {}),
    *(
        (
            "capo",
            lambda s: steps(s, **CRITIQUES),
            capo,
            {"vote": v, "w_process": 2},
            {"vote": v, "w_process": 2},
        )
        for v in ("strict", "intersection", "union")
    ),
    ("tp-grpo-thought", judged, thoughts, {}, {}),
    ("tp-grpo-thought", judged, thoughts, {"alpha": 0.5}, {"alpha": 0.5}),
    ("vsrm", forced, vsrm, {}, {}),
    (
        "mrt",
        lambda s: steps(
            s,
            j=("step", uniform(0, 1)),
            j_start=("rollout", uniform(0, 1)),
            termination=("rollout", uniform(0, 1)),
        ),
        mrt,
        {"alpha": 2},
        {"alpha": 2},
    ),
    (
        "pav",
        lambda s: steps(s, q_policy=("step", uniform(0, 1)), q_root=("rollout", uniform(0, 1))),
        pav,
        {"K": 3, "alpha": 0.5},
        {"k": 3, "alpha": 0.5},
    ),
    (
        "spa-rl",
        lambda s: steps(s, contribution=("step", uniform(-1, 1)), grounded=("step", choice(0, 1))),
        spa,
        {},
        {},
    ),
    ("archer", lambda s: steps(s, level="turn", **HEADS), archer, {}, {}),
]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("slug", "make", "oracle", "parameters", "same"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_command_equals_the_loop(slug, make, oracle, parameters, same, seed, tmp_path):
    records = make(seed)
    got = through_the_command(tmp_path, slug, records, parameters)
    for row, want, record in zip(got, oracle(records, **same), records, strict=True):
        assert row == pytest.approx(want, abs=2e-6)
        assert all(x == 0 for x, a in zip(row, record["acted"], strict=True) if not a)
