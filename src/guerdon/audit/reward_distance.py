"""Distances between reward functions that ignore what never changes which policy is better.

Rewards are arrays R(s, a, s') of a tabular MDP (transition P(s'|s, a), discount gamma < 1). A STARC metric is
canonicalise, normalise, compare: it is 0 exactly where two rewards order all policies alike.

Reference: Skalse et al., STARC: A General Framework For Quantifying Differences Between Reward Functions,
arXiv 2309.15257; EPIC (the baseline that looks at no dynamics): Gleave et al., arXiv 2006.13900.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guerdon.errors import DataError, RecipeError

_ZERO = 1e-12
_NORMS = {"l1": 1, "l2": 2, "linf": np.inf}


@dataclass(frozen=True)
class MDP:
    """A tabular decision process without its reward.

    Attributes:
        transition: P(s'|s, a), float64 (S, A, S), rows sum to 1.
        start: distribution of the first state, (S,).
        gamma: discount in [0, 1).

    Raises:
        DataError: shapes or sums that are off.
    """

    transition: np.ndarray
    start: np.ndarray
    gamma: float

    def __post_init__(self) -> None:
        P, mu = np.asarray(self.transition, np.float64), np.asarray(self.start, np.float64)
        if P.ndim != 3 or P.shape[0] != P.shape[2] or not np.allclose(P.sum(-1), 1) or (P < 0).any():
            raise DataError(f"transition must be probabilities (S, A, S) summing to 1 over s', got {P.shape}")
        if mu.shape != P.shape[:1] or not np.isclose(mu.sum(), 1) or (mu < 0).any():
            raise DataError(f"start must be a distribution over the {len(P)} states, got {mu.shape}")
        if not 0 <= self.gamma < 1:
            raise DataError(f"gamma must lie in [0, 1), got {self.gamma}")
        object.__setattr__(self, "transition", P)
        object.__setattr__(self, "start", mu)

    def reachable(self) -> np.ndarray:
        """Which states can be visited at all, bool (S,)."""
        seen = self.start > 0
        edges = self.transition.sum(1) > 0
        while True:
            more = seen | (edges[seen].any(0) if seen.any() else False)
            if (more == seen).all():
                return seen
            seen = more

    def expected(self, reward: np.ndarray) -> np.ndarray:
        """r(s, a) = sum_s' P(s'|s, a) R(s, a, s'), (S, A); R may be given as (S, A) already."""
        R = np.asarray(reward, np.float64)
        shapes = self.transition.shape
        if R.shape == shapes[:2]:
            return R
        if R.shape != shapes:
            raise DataError(f"a reward must be {shapes} or {shapes[:2]}, got {R.shape}")
        return np.einsum("ijk,ijk->ij", self.transition, R)

    def value(self, r: np.ndarray, policy: np.ndarray) -> np.ndarray:
        """V = (I - gamma P_pi)^-1 r_pi, (S,)."""
        P = np.einsum("ij,ijk->ik", policy, self.transition)
        return np.linalg.solve(np.eye(len(P)) - self.gamma * P, (policy * r).sum(1))

    def optimum(self, r: np.ndarray, sign: float = 1.0) -> tuple[np.ndarray, float]:
        """A best (sign 1) or worst (-1) deterministic policy (S, A) by policy iteration, and its return J."""
        S, A = r.shape
        choice = np.zeros(S, np.int64)
        for _ in range(1000):
            policy = np.eye(A)[choice]
            q = sign * r + self.gamma * self.transition @ self.value(sign * r, policy)
            better = q.max(1) > q[np.arange(S), choice] + 1e-10
            if not better.any():
                break
            choice = np.where(better, q.argmax(1), choice)
        policy = np.eye(A)[choice]
        return policy, self.returns(r, policy)

    def returns(self, r: np.ndarray, policy: np.ndarray) -> float:
        """J = sum_s mu(s) V(s)."""
        return float(self.start @ self.value(r, policy))


def advantage_form(mdp: MDP, reward: np.ndarray, policy: np.ndarray | None = None) -> np.ndarray:
    """The canonical reward c(s, a) = r(s, a) + gamma E V^pi(s') - V^pi(s) (the advantage of a fixed policy).

    Args:
        policy: with full support, (S, A); default uniform.
    """
    S, A, _ = mdp.transition.shape
    pi = np.full((S, A), 1 / A) if policy is None else policy
    r = mdp.expected(reward)
    value = mdp.value(r, pi)
    return r + mdp.gamma * mdp.transition @ value - value[:, None]


def least_form(mdp: MDP, reward: np.ndarray) -> np.ndarray:
    """The canonical reward of least L2 norm: r minus its projection on {gamma E phi(s') - phi(s)}."""
    S = len(mdp.start)
    r = mdp.expected(reward)
    keep = mdp.reachable()
    shaping = mdp.gamma * mdp.transition - np.eye(S)[:, None, :]
    flat, target = shaping[keep].reshape(-1, S), r[keep].reshape(-1)
    potential = np.linalg.lstsq(flat, target, rcond=None)[0]
    return r - shaping @ potential


def epic_form(mdp: MDP, reward: np.ndarray) -> np.ndarray:
    """EPIC's canonical reward: uniform S, A, S' in place of the dynamics (a baseline, no STARC metric)."""
    S, A, _ = mdp.transition.shape
    R = np.asarray(reward, np.float64)
    if R.ndim == 2:
        R = np.broadcast_to(R[:, :, None], (S, A, S))
    mean = R.mean((1, 2))
    return R + mdp.gamma * mean[None, None, :] - mean[:, None, None] - mdp.gamma * R.mean()


_FORMS = {
    "value": advantage_form,
    "least": least_form,
    "epic": epic_form,
    "none": lambda mdp, r: mdp.expected(r),
}


def distance(mdp: MDP, first: np.ndarray, second: np.ndarray, form: str = "value", norm: str = "l2") -> float:
    """d(R1, R2) = || c(R1)/n(c(R1)) - c(R2)/n(c(R2)) ||, in [0, 2]; 2 for opposite rewards.

    Args:
        form: how rewards are made canonical: "value", "least" (STARC), "epic", "none" (baselines).
        norm: l1, l2 or linf, both to normalise and to compare, over reachable states.

    Raises:
        RecipeError: an unknown form or norm. DataError: a reward that does not fit the MDP.
    """
    if form not in _FORMS or norm not in _NORMS:
        raise RecipeError(f"form must be one of {', '.join(_FORMS)} and norm one of {', '.join(_NORMS)}")
    keep, order = mdp.reachable(), _NORMS[norm]
    scaled = []
    for reward in (first, second):
        flat = _FORMS[form](mdp, reward)[keep].reshape(-1)
        size = np.linalg.norm(flat, order)
        scale = max(1.0, float(np.abs(mdp.expected(reward)).max()))
        scaled.append(flat / size if size > _ZERO * scale else np.zeros_like(flat))
    return float(np.linalg.norm(scaled[0] - scaled[1], order))


def regret(mdp: MDP, true: np.ndarray, proxy: np.ndarray, mixes: int = 11) -> float:
    """Worst loss of true return, as a share of its range, when the proxy's return is raised.

    max over pairs on the way from the true reward's best policy to the proxy's best and worst ones of
    (J1(pi1) - J1(pi2)) / (max J1 - min J1) with J2(pi2) >= J2(pi1). 0 where the true return is constant.

    Args:
        mixes: policies along each way.
    """
    r1, r2 = mdp.expected(true), mdp.expected(proxy)
    best, high = mdp.optimum(r1)
    worst, low = mdp.optimum(r1, -1.0)
    if high - low < 1e-12:
        return 0.0
    ends = [best, worst, mdp.optimum(r2)[0], mdp.optimum(r2, -1.0)[0]]
    weights = np.linspace(0, 1, mixes)
    policies = [(1 - w) * ends[i] + w * ends[j] for i in range(4) for j in range(i + 1, 4) for w in weights]
    j1 = np.array([mdp.returns(r1, p) for p in policies])
    j2 = np.array([mdp.returns(r2, p) for p in policies])
    allowed = j2[None, :] >= j2[:, None] - 1e-12
    return float(np.max(np.where(allowed, j1[:, None] - j1[None, :], 0.0)) / (high - low))


def sampled_distance(
    rewards: tuple[np.ndarray, np.ndarray],
    next_values: tuple[np.ndarray, np.ndarray],
    values: tuple[np.ndarray, np.ndarray],
    gamma: float,
) -> float:
    """The L2 value-form distance from samples of a continuous problem.

    Args:
        rewards: E R_i(s, a, s') of each reward at n sampled (s, a), (n,) each (a mean over sampled s').
        values, next_values: V_i(s) and E V_i(s') of one fixed full-support policy, (n,) each.
        gamma: discount.
    """
    forms = [r + gamma * after - now for r, after, now in zip(rewards, next_values, values, strict=True)]
    units = []
    for form in forms:
        size = np.linalg.norm(form)
        units.append(form / size if size > _ZERO else np.zeros_like(form))
    return float(np.linalg.norm(units[0] - units[1]))


def random_mdp(states: int, actions: int, gamma: float, seed: int, sparsity: float = 1.0) -> MDP:
    """Dirichlet transitions, a uniform start."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.full(states, sparsity), (states, actions))
    return MDP(transition, np.full(states, 1 / states), gamma)
