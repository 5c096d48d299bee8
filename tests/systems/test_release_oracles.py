"""What released code does differently, and rewards made from tool calls, against loops."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from oracle_records import crowd, get, groups, mean, put, spans, spread, suffix, through_the_command
from test_credit_oracles import dense, forced, gigpo, matchtir, steps, uniform, vsrm_rewards, walks


def istar_release(records):
    """The mean of every rollout's first step only, and n/(n - 1) of rollouts, not of steps."""
    raw = [[0.05 * sum(get(r, "implicit")[t] for t in where) for where in spans(r)] for r in records]
    largest = max(abs(x) for s in raw for x in s)
    raw = [[x / (largest + 1e-6) for x in s] for s in raw]
    out = [None] * len(records)
    for rows in groups(records):
        n = len(rows)
        wins = mean([get(records[i], "outcome") for i in rows])
        first = mean([raw[i][0] for i in rows])
        for i in rows:
            level = get(records[i], "outcome") - wins
            out[i] = spread(records[i], [n / (n - 1) * (level + x - first) for x in raw[i]])
    return out


def pure_release(records, temperature=0.1):
    """A step's count leaves out its last token; advantages where rewards sit are 0."""
    weighted, out = [], [None] * len(records)
    for r in records:
        e = [math.exp(-x / temperature) for x in get(r, "prm")]
        weighted.append([w / sum(e) * x for w, x in zip(e, get(r, "prm"), strict=True)])
    for rows in groups(records):
        for i in rows:
            others = [j for j in rows if j != i]
            rate = sum(sum(weighted[j]) for j in others) / sum(sum(records[j]["acted"]) for j in others)
            where = spans(records[i])
            own = [x - rate * (len(at) - 1) for x, at in zip(weighted[i], where, strict=True)]
            own[-1] += get(records[i], "outcome") - mean([get(records[j], "outcome") for j in others])
            out[i] = spread(records[i], suffix(own))
            for at in where:
                out[i][at[-1]] = 0.0
    return out


def vsrm_release(records):
    """The change a segment caused stands where the segment begins: on the last token before it."""
    out = []
    for r in records:
        row = [0.0] * len(r["tokens"])
        where = spans(r)
        for at, x in zip(where, vsrm_rewards(get(r, "forced_acc")[:-1]), strict=False):
            row[at[-1]] = x
        row[where[-1][-1]] = float(get(r, "outcome"))
        out.append(row)
    return out


def gigpo_rows(records):
    """Rollouts compared with the mean over rows: long ones weigh more."""
    out = gigpo(records)
    for rows in groups(records):
        totals = {i: get(records[i], "outcome") for i in rows}
        shift = mean(list(totals.values())) - mean(
            [x for i, x in totals.items() for _ in records[i]["steps"]]
        )
        for i in rows:
            out[i] = [x + shift * a for x, a in zip(out[i], records[i]["acted"], strict=True)]
    return out


def similarity(call, gold):
    if call["name"].lower() != gold["name"].lower():
        return 0.0
    have, want = call["arguments"], gold["parameters"]
    both = len(set(have) & set(want))
    overlap = 1.0 if set(have) == set(want) else both / (len(have) + len(want) - both)
    equal = sum(k in have and have[k] == v for k, v in want.items())
    return (1 + overlap + equal) / (2 + len(want))


def matchings(score, n, m):
    """All one-to-one matchings of the largest size with the greatest sum: usually one."""
    size = min(n, m)
    every = [
        list(zip(rows, columns, strict=True))
        for rows in itertools.combinations(range(n), size)
        for columns in itertools.permutations(range(m), size)
    ]
    top = max(sum(score[i][j] for i, j in pairs) for pairs in every)
    return [pairs for pairs in every if sum(score[i][j] for i, j in pairs) > top - 1e-9]


def best(score, n, m):
    return matchings(score, n, m)[0]


def settled(records):
    """Rollouts whose best matchings all pay every call the same, so that there is one answer."""
    kept = []
    for r in records:
        flat = [call for turn in r["meta"]["calls"] for call in turn]
        score = [[similarity(call, want) for want in r["reference"]["calls"]] for call in flat]
        paid = set()
        for pairs in matchings(score, len(flat), len(r["reference"]["calls"])):
            earned = [0.0] * len(flat)
            for i, j in pairs:
                earned[i] = round(score[i][j], 9)
            paid.add(tuple(earned))
        if len(paid) == 1:
            kept.append(r)
    assert len(kept) > 2
    return kept


def greedy(score, n, m):
    taken = []
    for _, i, j in sorted(((score[i][j], i, j) for i in range(n) for j in range(m)), reverse=True):
        if score[i][j] > 0 and all(i != a and j != b for a, b in taken):
            taken.append((i, j))
    return taken


def sinkhorn(score, n, m, reg=0.1):
    kernel = [[math.exp(x / reg) for x in row] for row in score]
    u, v = [1.0] * n, [1.0] * m
    for _ in range(5000):
        u = [1 / n / sum(kernel[i][j] * v[j] for j in range(m)) for i in range(n)]
        v = [1 / m / sum(kernel[i][j] * u[i] for i in range(n)) for j in range(m)]
    return [sum(u[i] * kernel[i][j] * v[j] * score[i][j] for j in range(m)) for i in range(n)]


def called(records, match):
    """Advantages from turn rewards that are made from calls; the last turn is the answer."""
    for r in records:
        turns, gold = r["meta"]["calls"], r["reference"]["calls"]
        flat = [call for turn in turns[:-1] for call in turn]
        score = [[similarity(call, want) for want in gold] for call in flat]
        earned = [0.0] * len(flat)
        if flat and match == "ot":
            earned = sinkhorn(score, len(flat), len(gold))
        elif flat:
            for i, j in (best if match == "hungarian" else greedy)(score, len(flat), len(gold)):
                earned[i] = score[i][j]
        rewards, at = [], 0
        for turn in turns[:-1]:
            rewards.append(mean(earned[at : at + len(turn)]) if turn else 0.0)
            at += len(turn)
        have, want = (set(x["answer"].lower().split()) for x in (r["meta"], r["reference"]))
        rewards.append(2 * len(have & want) / (len(have) + len(want)))
        r["signals"]["turn_reward"] = {"level": "turn", "values": rewards}
    found = matchtir(records)
    for r in records:
        del r["signals"]["turn_reward"]
    return found


def calls(seed):
    rng = random.Random(seed)

    def arguments():
        return {key: rng.randint(0, 1) for key in rng.sample("abcd", rng.randint(1, 3))}

    records = crowd(seed, "turn")
    put(records, "outcome", "rollout", lambda: rng.choice((0, 1)))
    gold = {
        f"g{k}": [{"name": rng.choice("fg"), "parameters": arguments()} for _ in range(3)] for k in range(3)
    }
    for r in records:
        made = [
            [{"name": rng.choice("fgF"), "arguments": arguments()} for _ in range(rng.randint(0, 2))]
            for _ in r["turns"]
        ]
        r["meta"] = {"calls": [*made[:-1], []], "answer": rng.choice(["the cat", "Cat", "dog"])}
        r["reference"] = {"calls": gold[r["group"]], "answer": "cat the"}
    return records


CASES = [
    ("oprl-istar", dense, istar_release, {"variant": "release"}),
    ("pure", lambda s: steps(s, prm=("step", uniform(-1, 1))), pure_release, {"variant": "release"}),
    ("vsrm", forced, vsrm_release, {"variant": "release"}),
    ("gigpo", walks, gigpo_rows, {"variant": "release"}),
    ("matchtir", lambda s: settled(calls(s)), lambda r: called(r, "hungarian"), {}),
    ("matchtir", calls, lambda r: called(r, "greedy"), {"variant": "release"}),
    ("matchtir", calls, lambda r: called(r, "ot"), {"match": "ot"}),
]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("slug", "make", "oracle", "parameters"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_command_equals_the_loop(slug, make, oracle, parameters, seed, tmp_path):
    records = make(seed)
    got = through_the_command(tmp_path, slug, records, parameters)
    for row, want in zip(got, oracle(records), strict=True):
        assert row == pytest.approx(want, abs=1e-5)
