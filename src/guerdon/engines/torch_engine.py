"""TorchEngine: sampling, scoring and training for any torch policy that can embed rollouts.

Enters: prompts, rollouts, losses. Leaves: rollouts, log-probs, updated weights. A concrete engine says
how token ids become hidden states, how those become logits, and how to decode one token at a time; all
the rest, i.e. what must be equal for every policy, is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.engines.batching import micro_batches
from guerdon.engines.drawing import check_room, draw
from guerdon.engines.head import token_stats
from guerdon.engines.optimize import adamw, optimizer_step
from guerdon.engines.packing import unique_contexts
from guerdon.engines.policy import Contexts, Policy
from guerdon.engines.protocol import LossFn, Prompt, Sampling, StatesLossFn, TokenStats
from guerdon.engines.reading import Head, project, states_step
from guerdon.engines.weights import (
    OPTIMIZER_FILE,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    write_tensors,
)
from guerdon.errors import EngineError

_DEFAULT_SAMPLING = Sampling()


class TorchEngine(Policy):
    """Common half of `LabEngine` and `HFEngine`.

    Attributes:
        tokenizer: text to ids and back.
        device: where the weights are.
        context: longest sequence, prompt and completion together, in tokens.
        width: numbers in a hidden state.
        lr: learning rate of the next step; set it freely between steps.
        frozen: a reference policy: it samples and scores, and refuses to train.
        micro_tokens: padded tokens of a micro-batch where `micro_rollouts` is not given.
        cache_tokens: padded tokens whose keys and values generation may hold at once.
        stop_ids: ids that end a completion.
    """

    tokenizer: Any
    context: int
    width: int
    vocab_size: int
    stop_ids: Sequence[int]

    def __init__(
        self,
        device: torch.device,
        lr: float,
        betas: Sequence[float],
        weight_decay: float,
        micro_tokens: int,
        cache_tokens: int,
    ) -> None:
        self.device = device
        self.lr = lr
        self.betas = (float(betas[0]), float(betas[1]))
        self.weight_decay = weight_decay
        self.micro_tokens = micro_tokens
        self.cache_tokens = cache_tokens
        self.frozen = False
        self._optimizer: torch.optim.AdamW | None = None

    # -- sampling ----------------------------------------------------------------------------------

    def generate(
        self,
        prompts: Sequence[Prompt],
        n: int = 1,
        sampling: Sampling = _DEFAULT_SAMPLING,
        prefix: Sequence[Sequence[int]] | None = None,
        group: Sequence[int] | None = None,
        draws: Sequence[int] | None = None,
    ) -> Rollouts:
        """Draw n completions per prompt.

        Every unique prompt (with its prefix) is computed once and shared by its draws. A completion
        depends on the seed, the prompt, the prefix and the number of the draw; a prompt given twice
        continues the numbering. Batch order and size change nothing but the rounding of logits, so two
        runs can differ only where a uniform number falls within that rounding.

        Args:
            prompts: texts or chat messages.
            n: draws per prompt.
            sampling: limits, temperature, filters, stop strings, seed.
            prefix: ids that already begin each prompt's completion (branching); they come back as tokens
                with `acted` False and log-prob 0.
            group: label of each prompt; default: its index.
            draws: number of each prompt's first draw, where the caller keeps count (turns, forks).

        Returns:
            rollouts ordered prompt by prompt, draw by draw. `tokens` end with eos where the policy chose
            it, the text does not; a stop string stays in both. `logprobs` belong to the
            temperature-scaled distribution before top-k and top-p. `truncated` marks rows ended by
            `max_new_tokens` or by the context.

        Raises:
            EngineError: a prompt leaves no room in the context (prompt and lengths are named).
        """
        return draw(self, prompts, n, sampling, prefix, group, draws)

    # -- scoring -----------------------------------------------------------------------------------

    def forward(self, rollouts: Rollouts, temperature: float = 1.0, entropy: bool = True) -> TokenStats:
        """Log-prob and entropy of every token, with gradients, in one batch.

        Returns:
            flat float32 (total tokens,) in the order of `rollouts.tokens`.

        Raises:
            EngineError: no tokens or prompts, or a rollout longer than the context.
        """
        contexts, tokens = self._sequences(rollouts)
        return self._stats(contexts, tokens, temperature, entropy)

    def logprobs(self, rollouts: Rollouts, temperature: float = 1.0) -> Ragged:
        """Log-prob of every token under this policy, float32, without gradients."""
        contexts, tokens = self._sequences(rollouts)
        out = np.empty(tokens.total, np.float32)
        with torch.no_grad():
            for rows in self._batches(contexts, tokens):
                stats = self._stats([contexts[i] for i in rows], tokens.select(rows), temperature, False)
                out[tokens.positions(rows)] = stats.logprobs.cpu().numpy()
        return tokens.with_values(out)

    def hidden(self, rollouts: Rollouts, layer: int = -1) -> np.ndarray:
        """State of the model after reading each token, float32 (total tokens, D).

        Args:
            layer: 0 for the embeddings, i for the output of block i; the last one (-1) is normalised.
        """
        return self._read(*self._sequences(rollouts), layer)

    def prefix_states(self, rollouts: Rollouts, head: Head | None = None) -> np.ndarray:
        """State after the prompt and 0, 1, ..., L tokens, or what a head makes of it; see `project`."""
        return project(self, *self._sequences(rollouts), head)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Mean of the last layer's states over the tokens of each text, float32 (texts, D)."""
        lead = self.tokenizer.bos if self.tokenizer.bos is not None else self.tokenizer.eos
        ids = [self.tokenizer.encode(text) or [self.tokenizer.eos] for text in texts]
        tokens = Ragged.from_lists(ids, dtype=np.int32)
        check_room([(lead,)] * len(ids), texts, self.context, at_least=tokens.lengths)
        states = self._read([(lead,)] * len(ids), tokens, -1)
        sums = np.add.reduceat(states, tokens.offsets[:-1], axis=0)
        return sums / tokens.lengths[:, None].astype(np.float32)

    # -- training ----------------------------------------------------------------------------------

    def rollouts_from_text(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Rollouts:
        """Rollouts that hold given completions (worked solutions), each followed by eos."""
        ids = [[*self.tokenizer.encode(text), self.tokenizer.eos] for text in completions]
        return Rollouts(
            prompt=list(prompts), completion=list(completions), tokens=Ragged.from_lists(ids, dtype=np.int32)
        )

    def train_step(
        self,
        rollouts: Rollouts,
        loss_fn: LossFn,
        micro_rollouts: int | None = None,
        max_grad_norm: float | None = 1.0,
        lr: float | None = None,
        temperature: float = 1.0,
        entropy: bool = True,
    ) -> dict[str, float]:
        """One AdamW step on the sum of the losses of all micro-batches.

        Args:
            loss_fn: (stats, rows int64) -> (loss, metrics), called per micro-batch with the rows it holds;
                it divides by the counts of the whole batch itself.
            micro_rollouts: rollouts per micro-batch; default: as many as `micro_tokens` allows.
            max_grad_norm: bound on the gradient's norm; None leaves it.
            lr: learning rate of this step; default `self.lr`.
            temperature: of the distribution `stats` describe.
            entropy: whether `stats` hold entropies.

        Returns:
            "loss", "grad_norm" before clipping, and loss_fn's metrics averaged over tokens.

        Raises:
            TrainingError: loss or gradient not finite; names the rollouts; no weight has changed.
            EngineError: the engine is a frozen copy.
        """
        optimizer = self._ready_optimizer(self.lr if lr is None else lr)
        contexts, tokens = self._sequences(rollouts)

        def forward(rows: np.ndarray) -> TokenStats:
            return self._stats([contexts[i] for i in rows], tokens.select(rows), temperature, entropy)

        batches = self._batches(contexts, tokens, micro_rollouts)
        return optimizer_step(optimizer, batches, forward, loss_fn, tokens, max_grad_norm, rollouts.id)

    def train_on_states(
        self,
        rollouts: Rollouts,
        loss_fn: StatesLossFn,
        optimizer: torch.optim.Optimizer,
        trunk: bool = True,
        micro_rollouts: int | None = None,
        max_grad_norm: float | None = 1.0,
    ) -> dict[str, float]:
        """One step of `optimizer` on a loss over hidden states; as `train_step` in everything else.

        Args:
            loss_fn: (PrefixStates, rows int64) -> (loss, metrics) per micro-batch.
            optimizer: over a head's parameters and, with `trunk`, this engine's.
            trunk: whether gradients reach the engine; a frozen copy refuses.
        """
        if trunk and self.frozen:
            raise EngineError("this engine is a frozen copy; train a head on it with trunk=False")
        sequences = self._sequences(rollouts)
        return states_step(self, *sequences, loss_fn, optimizer, trunk, micro_rollouts, max_grad_norm)

    # -- disk --------------------------------------------------------------------------------------

    def save(self, path: str | Path, optimizer: bool = False) -> None:
        """Write a folder that `load` and transformers read; with `optimizer`, AdamW's state too."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        self.save_model(folder)
        if optimizer:
            names: dict[torch.Tensor, str] = {p: name for name, p in self.parameters().items()}
            state = {} if self._optimizer is None else optimizer_tensors(self._optimizer, names)
            write_tensors(state, folder / OPTIMIZER_FILE)

    def load(self, path: str | Path) -> None:
        """Take over weights and AdamW's state, so that training goes on bit for bit.

        A folder without AdamW's state starts it afresh.

        Raises:
            EngineError: no such folder, damaged files or another architecture.
        """
        folder = Path(path)
        self.load_model(folder)
        self._optimizer = None
        if (folder / OPTIMIZER_FILE).is_file() and not self.frozen:
            names: dict[torch.Tensor, str] = {p: name for name, p in self.parameters().items()}
            restore_optimizer(self._ready_optimizer(self.lr), read_tensors(folder / OPTIMIZER_FILE), names)

    # -- inside ------------------------------------------------------------------------------------

    def _sequences(self, rollouts: Rollouts) -> tuple[Contexts, Ragged]:
        if rollouts.tokens is None or rollouts.prompt is None:
            lacking = "tokens (see rollouts_from_text)" if rollouts.tokens is None else "prompts"
            raise EngineError(f"these rollouts have no {lacking}: an engine scores prompts and token ids")
        contexts = [self.prompt_ids(prompt) for prompt in rollouts.prompt]
        check_room(contexts, rollouts.prompt, self.context, at_least=rollouts.tokens.lengths)
        return contexts, rollouts.tokens

    def _batches(
        self, contexts: Contexts, tokens: Ragged, micro_rollouts: int | None = None
    ) -> list[np.ndarray]:
        unique, owner = unique_contexts(contexts)
        widths = np.array([len(c) for c in unique], dtype=np.int64)
        return micro_batches(owner, widths, tokens.lengths, self.micro_tokens, micro_rollouts)

    def _read(self, contexts: Contexts, tokens: Ragged, layer: int) -> np.ndarray:
        """States after reading each token, micro-batch by micro-batch."""
        if tokens.total == 0:
            raise EngineError("there are no tokens to read")
        out: np.ndarray | None = None
        for rows in self._batches(contexts, tokens):
            with torch.no_grad(), self.precision():
                part = self.states([contexts[i] for i in rows], tokens.select(rows), whole=True, layer=layer)
            if out is None:
                out = np.empty((tokens.total, part.shape[1]), np.float32)
            out[tokens.positions(rows)] = part.float().cpu().numpy()
        assert out is not None
        return out

    def _stats(self, contexts: Contexts, tokens: Ragged, temperature: float, entropy: bool) -> TokenStats:
        targets = torch.from_numpy(tokens.values.astype(np.int64)).to(self.device)
        if tokens.total == 0:
            nothing = torch.zeros(0, device=self.device, requires_grad=torch.is_grad_enabled())
            return TokenStats(nothing, nothing * 1.0 if entropy else None)
        with self.precision():
            states = self.states(contexts, tokens)
            return token_stats(states, self.logits, targets, self.vocab_size, temperature, entropy)

    def _ready_optimizer(self, lr: float) -> torch.optim.AdamW:
        if self.frozen:
            raise EngineError("this engine is a frozen copy; train the engine it was cloned from")
        if self._optimizer is None:
            parameters = list(self.parameters().values())
            self._optimizer = adamw(parameters, lr, self.betas, self.weight_decay)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        return self._optimizer
