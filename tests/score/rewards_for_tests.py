"""Rewards of all kinds, good and bad; tests name them by path, `rewards_for_tests.py:NAME`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

import guerdon
from guerdon.data import Signal
from guerdon.scoring import SampleReward, Verdict, missing


def exact(completion, reference):
    return float(completion == reference)


def length(completion, scale=1.0):
    return len(completion) * scale


def needs_meta(meta):
    return meta["level"]


def lists(completions, references):
    return [float(c == r) for c, r in zip(completions, references, strict=True)]


async def slow_but_together(completion):
    await asyncio.sleep(0.05)
    return float(len(completion))


@guerdon.reward(name="decorated", version="7", on_error=0.0)
def decorated(completion):
    return float(completion)


@guerdon.reward(on_error="raise")
def strict(completion):
    return float(completion)


# -- bad ones: they misbehave on completions that say so ---------------------------------------------------


def hostile(completion):
    """One function with every bad habit."""
    if completion == "raise":
        raise ValueError("no such thing")
    if completion == "exit":
        sys.exit(3)
    if completion == "string":
        return "0.5"
    if completion == "nan":
        return float("nan")
    if completion == "hang":
        while True:
            pass
    if completion == "sleep":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    if completion == "die":
        os._exit(3)
    if completion == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if completion == "eat":
        food = []
        while True:
            food.append(np.ones(10_000_000))
    if completion == "child":
        if os.fork() == 0:
            time.sleep(1000)
        time.sleep(1000)
    if completion == "orphan":
        if os.fork() == 0:  # holds the connection of its parent, which leaves
            time.sleep(1000)
        os._exit(4)
    if completion == "print":
        print("noise on stdout")
    return 1.0


def never(completion):
    time.sleep(1000)


def hostile_lists(completions):
    if "die" in completions:
        os._exit(3)
    if "hang" in completions:
        time.sleep(1000)
    if "raise" in completions:
        raise ValueError("one of many")
    if "short" in completions:
        return [1.0]
    return [1.0] * len(completions)


def touch(completion, folder=""):
    """Leaves a mark for every call."""
    Path(folder, f"{os.getpid()}-{time.monotonic_ns()}").touch()
    return 1.0


def patient(completion):
    time.sleep(0.002)
    return float(len(completion))


# -- rewards as objects ------------------------------------------------------------------------------------


class Keyed(SampleReward):
    """Reads nothing but the first letter."""

    name, version = "keyed", "1"

    def __init__(self, letter="a", on_error="nan"):
        super().__init__(on_error)
        self.letter = letter

    def key(self, row):
        return row.completion[:1]

    def score(self, row):
        return Verdict(float(row.completion.startswith(self.letter)))


class Composed(SampleReward):
    """Two parts and their sum; the second part is missing for empty completions."""

    name, version = "composed", "1"

    def score(self, row):
        first, second = float(len(row.completion)), float(bool(row.completion)) or float("nan")
        parts = {"length": first, "given": second}
        total = first + second
        causes = {"given": "empty"}
        if total != total:
            return Verdict(total, "given: empty", {"parts": parts, "causes": causes})
        return Verdict(total, None, {"parts": parts, "causes": {}})


class Centred:
    """Group-shaped: length minus the mean length of the group."""

    name, version, shape = "centred", "1", "group"

    def __call__(self, rollouts, ctx=None):
        labels, n = rollouts.groups()
        lengths = rollouts.lengths.astype(float)
        means = np.bincount(labels, lengths, n) / np.bincount(labels, minlength=n)
        return Signal(lengths - means[labels], "rollout", "centred")


class Steps:
    """One value per step, missing for steps of one character."""

    name, version, shape = "steps", "1", "sample"

    def __call__(self, rollouts, ctx=None):
        ends = rollouts.partitions["step"]
        values = np.concatenate([np.diff(ends[i], prepend=0) for i in range(len(rollouts))]).astype(float)
        causes = {i: "too short" for i in np.flatnonzero(values == 1).tolist()}
        return Signal(np.where(values == 1, np.nan, values), "step", "steps", causes)


class Solved:
    """One value per group, and it fails on groups that hold the completion 'fail'."""

    name, version, shape = "solved", "1", "group"

    def __call__(self, rollouts, ctx=None):
        if "fail" in rollouts.completion:
            raise ValueError("a group that fails")
        labels, n = rollouts.groups()
        right = [float(c == r) for c, r in zip(rollouts.completion, rollouts.reference, strict=True)]
        return Signal(np.bincount(labels, right, n), "group", "solved")


class Counting:
    """Keeps state: the number of records before."""

    name, version, shape = "counting", "1", "sample"

    def __init__(self):
        self.seen = 0

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]

    def __call__(self, rollouts, ctx=None):
        values = np.arange(self.seen, self.seen + len(rollouts), dtype=float)
        self.seen += len(rollouts)
        return Signal(values, "rollout", "counting")


class Ranked:
    """Needs the whole file: the rank of every completion's length."""

    name, version, shape = "ranked", "1", "all"

    def __call__(self, rollouts, ctx=None):
        return Signal(np.argsort(np.argsort(rollouts.lengths)).astype(float), "rollout", "ranked")


def make_length_reward(factor=2.0):
    """A factory."""
    return guerdon.reward(name="made")(lambda completion: factor * len(completion))


def unscorable(completion):
    return missing("on purpose")


steps = Steps()
