"""SALT: advantages averaged over merged edges against plain GRPO, for a policy that reads history."""

from __future__ import annotations

import numpy as np

from guerdon import credit
from guerdon.claims import kit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.kit_worlds import key_rooms, with_history
from guerdon.systems.credit.salt import salt


def _curve(arm: str, rate: float, seed: int, steps: int = 60) -> np.ndarray:
    rooms = [with_history(room) for room in key_rooms(seed)]
    return kit.learn(rooms, salt() if arm == "salt" else credit.grpo(), steps, 8, rate, seed, cap=kit.CAP)[0]


_tuned = kit.tuned(_curve, kit.CAPPED_RATES)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Area under the exact success curve of one arm."""
    return kit.measured(_curve(arm, 640.0, seed, 3) if smoke else _tuned(arm, seed))


CLAIM = Claim(
    slug="salt",
    claim="Averaging the advantages of equal steps over the merged graph of a group's trajectories improves "
    "on plain GRPO (arXiv 2510.20022: on WebShop, ALFWorld and AppWorld, up to 10.6 points on harder "
    "splits).",
    metric="mean exact success over 60 updates, %",
    baseline="grpo",
    system="salt",
    run=run,
    margin=2.0,
    seeds=16,
    notes="Five 5x5 rooms per seed: fetch a key, then open a chest, 8 to 14 moves at best and 30 at most, "
    "reward only at the end; groups of 8. The policy is a softmax table over (state, last action): a "
    "table over states alone could not show anything, because averaging over equal (state, action) "
    "pairs leaves its summed gradient as it was. Each arm takes the best of four step sizes on three "
    "other seeds; a logit moves by at most 0.5 per update.",
)
