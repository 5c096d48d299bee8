"""TabularPolicy: a softmax table over the states of small worlds; thousands of episodes in NumPy.

    pi(a | s) = softmax(theta[s] / temperature)_a

Enters: one MDP or several (see `guerdon.tasks.mdp`), one prompt group each. Leaves: Rollouts as an engine
would sample them (one token per action, one step and one turn per token, state keys, step rewards, log-probs)
and policy-gradient updates from per-token advantages. Exact success rates and values come with it, so that
a credit method can be judged without sampling noise.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.seeds import uniforms
from guerdon.errors import DataError
from guerdon.learn.tabular_rollouts import Walks, rollouts_of
from guerdon.tasks.base import stable_seed
from guerdon.tasks.mdp import MDP


class TabularPolicy:
    """Softmax policy over the states of some MDPs.

    Args:
        mdps: one process or several; number i is prompt group i.
        logits: start of theta, float64 (all states, most actions); default: 0, the uniform policy.
        temperature: divides theta.

    Attributes:
        theta: float64 (all states, A); rows of process i are `first[i]` to `first[i + 1]`. Actions a process
            does not have are -inf.
    """

    def __init__(
        self, mdps: MDP | Sequence[MDP], logits: np.ndarray | None = None, temperature: float = 1.0
    ) -> None:
        self.mdps = [mdps] if isinstance(mdps, MDP) else list(mdps)
        if not self.mdps or temperature <= 0:
            raise DataError(
                f"a policy needs at least one MDP and a temperature above 0, got {len(self.mdps)} and "
                f"{temperature}"
            )
        self.temperature = temperature
        sizes = [mdp.n_states for mdp in self.mdps]
        self.first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        width = max(mdp.n_actions for mdp in self.mdps)
        shape = int(self.first[-1]), width
        self._next = np.repeat(np.arange(shape[0])[:, None], width, axis=1)
        self._done = np.ones(shape, bool)
        self.theta = np.full(shape, -np.inf)
        for at, mdp in enumerate(self.mdps):
            rows = slice(self.first[at], self.first[at + 1])
            self._next[rows, : mdp.n_actions] = mdp.next + self.first[at]
            self._done[rows, : mdp.n_actions] = mdp.done
            self.theta[rows, : mdp.n_actions] = 0.0
        if logits is not None:
            if np.shape(logits) != shape:
                raise DataError(f"logits must have the shape {shape}, got {np.shape(logits)}")
            self.theta = np.where(np.isneginf(self.theta), -np.inf, np.asarray(logits, dtype=np.float64))
        self._start = np.array([mdp.start for mdp in self.mdps]) + self.first[:-1]
        self._horizon = np.array([mdp.horizon for mdp in self.mdps])

    # -- what the policy is --------------------------------------------------------------------------

    def log_probabilities(self) -> np.ndarray:
        """log pi, float64 (all states, A)."""
        scaled = self.theta / self.temperature
        top = scaled.max(axis=1, keepdims=True)
        return scaled - top - np.log(np.exp(scaled - top).sum(axis=1, keepdims=True))

    def entropies(self) -> np.ndarray:
        """Entropy of pi in every state, nats, float64 (all states,)."""
        log_p = self.log_probabilities()
        return -(np.exp(log_p) * np.where(np.isneginf(log_p), 0.0, log_p)).sum(axis=1)

    def probabilities(self, problem: int | None = None) -> np.ndarray:
        """pi of all states, or (S, A) of one process, as its `evaluate` wants it."""
        every = np.exp(self.log_probabilities())
        if problem is None:
            return every
        return every[self.first[problem] : self.first[problem + 1], : self.mdps[problem].n_actions]

    def success_rate(self) -> np.ndarray:
        """Exact chance of success within the horizon, float64 (processes,)."""
        return np.array([mdp.success_rate(self.probabilities(i)) for i, mdp in enumerate(self.mdps)])

    def copy(self) -> TabularPolicy:
        """An independent policy with equal logits: a reference, or the start of another run."""
        other = copy.copy(self)
        other.theta = self.theta.copy()
        return other

    # -- sampling --------------------------------------------------------------------------------------

    def sample(
        self, draws: int, seed: int = 0, problems: Sequence[int] | None = None, first_draw: int = 0
    ) -> Rollouts:
        """`draws` episodes of every process, ordered process by process.

        Args:
            draws: episodes per process: the group.
            seed: an episode depends on (seed, process, number of the draw) only.
            problems: numbers of the processes to sample from; default: all.
            first_draw: number of the first draw, to go on where an earlier call ended.

        Returns:
            rollouts with tokens, logprobs, entropy, the partitions step and turn, `state`, `truncated`,
            the signals outcome (1 success), env, call_ok, grounded and useful, and meta with actions,
            final_state and success.
        """
        chosen = np.arange(len(self.mdps)) if problems is None else np.asarray(problems, dtype=np.int64)
        problem = np.repeat(chosen, draws)
        draw = first_draw + np.tile(np.arange(draws), len(chosen))
        return rollouts_of(self, self.walk(problem, draw, seed))

    def sample_tree(
        self,
        leaves: int,
        seed: int = 0,
        at: str | tuple[int, ...] = "random",
        points: int = 1,
        width: int = 1,
    ) -> Rollouts:
        """Trees of every process: trunks, and `width` continuations from `points` steps of each.

        Args:
            leaves: episodes per process; a multiple of 1 + points * width.
            at, points, width: see `guerdon.learn.branching.Branch`.

        Returns:
            rollouts as `sample` gives them with `node`: steps sampled once carry one id.
        """
        from guerdon.learn.branching import Branch, fork_rows, tree_nodes

        branch = Branch(at=at, points=points, width=width)
        trunks = branch.trunks(leaves)
        problem = np.repeat(np.arange(len(self.mdps)), trunks)
        draw = np.tile(np.arange(trunks), len(self.mdps))
        walks = self.walk(problem, draw, seed)
        plan = fork_rows(rollouts_of(self, walks), branch, problem, draw, trunks, seed)
        begun = walks.select(plan.trunk)
        grown = self.walk(plan.problem, plan.draw, seed, begun, plan.step)
        order, origin, shared = plan.interleave(len(problem))
        every = rollouts_of(self, walks.joined(grown).select(order))
        return every.replace(node=tree_nodes(every.offsets("step"), origin, shared))

    def walk(
        self,
        problem: np.ndarray,
        draw: np.ndarray,
        seed: int,
        begun: Walks | None = None,
        keep: np.ndarray | None = None,
    ) -> Walks:
        """Episodes as padded tables; all of them take their t-th action at once.

        Args:
            problem, draw: int64 (N,), process and draw number of every episode.
            begun: N episodes whose first `keep` actions are repeated (a fork), drawn afresh after that.
            keep: int64 (N,).
        """
        n, steps = len(problem), int(self._horizon[problem].max(initial=1))
        keys = np.array([stable_seed(seed, "tabular", i) for i in range(len(self.mdps))], dtype=np.uint64)
        cumulative = np.exp(self.log_probabilities()).cumsum(axis=1)
        walks = Walks.empty(problem, steps)
        now, live = self._start[problem].copy(), np.arange(n)
        for t in range(steps):
            if len(live) == 0:
                break
            at = now[live]
            total = cumulative[at, -1]
            drawn = uniforms(keys[problem[live]], draw[live], np.array(t)) * total
            drawn = np.minimum(drawn, np.nextafter(total, 0.0))
            action = (cumulative[at] <= drawn[:, None]).sum(axis=1)
            if begun is not None and keep is not None:
                action = np.where(t < keep[live], begun.actions[live, min(t, begun.width - 1)], action)
            walks.states[live, t], walks.actions[live, t] = at, action
            now[live] = self._next[at, action]
            ended, out = self._done[at, action], t + 1 >= self._horizon[problem[live]]
            walks.lengths[live] = t + 1
            walks.truncated[live] = out & ~ended
            live = live[~(ended | out)]
        walks.last[:] = now
        return walks

    # -- learning --------------------------------------------------------------------------------------

    def logprobs(self, rollouts: Rollouts) -> Ragged:
        """log pi of every token, float32: of the same policy later, or of a reference."""
        states, actions = self.visited(rollouts)
        assert rollouts.tokens is not None
        return rollouts.tokens.with_values(self.log_probabilities()[states, actions].astype(np.float32))

    def update(
        self, rollouts: Rollouts, advantage: Signal | np.ndarray, lr: float, per: str = "token"
    ) -> dict[str, float]:
        """One step of policy gradient ascent on sum_t A_t log pi(a_t | s_t) / n.

        theta[s, b] += lr / n * sum_{t: s_t = s} A_t * (1[b = a_t] - pi(b | s)) / temperature

        Args:
            advantage: one value per token, from a credit method.
            lr: step size.
            per: n is the number of tokens ("token") or of rollouts ("rollout").

        Returns:
            "grad_norm" and "entropy" (mean over the visited states, before the step).

        Raises:
            DataError: advantages that do not fit or are not finite.
        """
        gradient = self.gradient(rollouts, advantage, per)
        states, _ = self.visited(rollouts)
        entropy = self.entropies()[states]
        self.theta += lr * gradient
        return {"grad_norm": float(np.linalg.norm(gradient)), "entropy": float(entropy.mean())}

    def gradient(self, rollouts: Rollouts, advantage: Signal | np.ndarray, per: str = "token") -> np.ndarray:
        """The direction `update` goes, float64 like theta."""
        values = np.asarray(advantage.values if isinstance(advantage, Signal) else advantage, np.float64)
        states, actions = self.visited(rollouts)
        if values.shape != states.shape or not np.isfinite(values).all():
            raise DataError(
                f"an update needs {len(states)} finite advantages, one per token; got {values.shape} with "
                f"{int((~np.isfinite(values)).sum())} that are not finite"
            )
        if per not in ("token", "rollout"):
            raise DataError(f"per: expected 'token' or 'rollout', got {per!r}")
        weight = values / ((len(states) if per == "token" else len(rollouts)) * self.temperature)
        gradient = np.zeros_like(self.theta)
        np.add.at(gradient, (states, actions), weight)
        total = np.bincount(states, weights=weight, minlength=len(gradient))
        return gradient - total[:, None] * np.exp(self.log_probabilities())

    def visited(self, rollouts: Rollouts) -> tuple[np.ndarray, np.ndarray]:
        """State (row of theta) and action of every token, int64 (tokens,) each."""
        if rollouts.tokens is None:
            raise DataError("a tabular policy reads actions from tokens; these rollouts have none")
        tokens, group = rollouts.tokens, rollouts.group
        if group.min(initial=0) < 0 or group.max(initial=0) >= len(self.mdps):
            raise DataError(f"groups must be numbers of the {len(self.mdps)} MDPs, got {group.max()}")
        actions = tokens.to_padded(0).astype(np.int64)
        if actions.size and (actions.min() < 0 or actions.max() >= self.theta.shape[1]):
            raise DataError(f"tokens must be actions 0..{self.theta.shape[1] - 1}, got {actions.max()}")
        states = np.empty_like(actions)
        now = self._start[group]
        for t in range(actions.shape[1]):
            states[:, t] = now
            now = self._next[now, actions[:, t]]
        inside = np.arange(actions.shape[1])[None, :] < tokens.lengths[:, None]
        return states[inside], actions[inside]
