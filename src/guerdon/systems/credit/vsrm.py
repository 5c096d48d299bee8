"""VSRM: a step of thinking earns how much it changed the chance of a right answer when cut off there."""

from __future__ import annotations

from guerdon.credit.baselines import choice
from guerdon.credit.compose import Credit, Level, Whiten
from guerdon.credit.placing import Fill, Place
from guerdon.credit.sources import LookAhead
from guerdon.credit.stages import ReplaceLast, Returns
from guerdon.systems.catalogue import system


@system(
    "vsrm",
    title="Promoting Efficient Reasoning with Verifiable Stepwise Reward",
    arxiv="2508.10293",
    family="credit",
    kind="credit",
)
def vsrm(
    decay: float = 0.7,
    lookahead: int = 4,
    place: str | None = None,
    returns: str = "none",
    gamma: float = 1.0,
    lam: float = 1.0,
    whiten: bool = False,
    variant: str = "paper",
) -> Credit:
    """r_j = acc_{j+1} - acc_j; where flat, decay^(k-j) (acc_{k+1} - acc_k) of the next change, k - j <= L.

    acc_j is the share of right answers when thinking is cut at the end of segment j. The change belongs to
    segment j+1, which caused it; the first segment has none before it and earns 0. The outcome is the reward
    of what follows the thinking.

    Args:
        decay, lookahead: discount per cut, and L; 0 turns filling off, and rewards then telescope.
        place: "segment" gives segment j+1 r_j on all its tokens and the last step the outcome. "cut" makes
            token rewards as released: r_j on the last token of segment j, where its text begins, the outcome
            on the last token, 0 elsewhere. Default "segment", "cut" in "release".
        returns: "none" leaves rewards as they are; "sum" takes discounted sums of what follows, over steps or
            tokens by `place`; "gae" (place "cut") takes generalised advantages against `values`.
        gamma, lam: of the returns.
        whiten: masked whitening over all chosen tokens, as REINFORCE++ does.
        variant: "paper" or "release".

    Inputs: `forced_acc` (step; null on the last step, the answer text), `outcome` (rollout).

    Reference: arXiv 2508.10293; verl/workers/rollout_postprocess.py of 1benwu1/VSRM-Efficient-LRMs.
    """
    choice(variant, ("paper", "release"), "variant")
    place = choice(place or ("cut" if variant == "release" else "segment"), ("segment", "cut"), "place")
    changes = LookAhead("forced_acc", "step", decay, lookahead, place)
    spots = (Fill(), Place(how="last")) if place == "cut" else (Fill(),)
    level = Level(changes, then=(*spots, ReplaceLast("outcome"), Returns(returns, gamma, lam)))
    return Credit([level], whiten=Whiten() if whiten else None, name="vsrm")
