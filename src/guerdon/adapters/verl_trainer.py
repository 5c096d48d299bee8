"""verl's trainers with everything that credit needs, `trainer.v1.trainer_mode=guerdon_sync`. Imports verl.

verl's trainer hands an estimator rewards, mask and prompts. These subclasses fetch the rest of the batch from
its transfer queue first (token ids, log-probabilities, entropies, values, what reward manager and agent loop
left in `extra_fields`), and let it go on as before: only guerdon's estimators look at it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import transfer_queue as tq
from omegaconf import open_dict
from verl.protocol import DataProto
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from guerdon.adapters.trl_rewards import token_bytes_of
from guerdon.adapters.verl_batch import Columns, around, columns_of
from guerdon.adapters.verl_settings import Settings
from guerdon.context import Context

PREFIX = "guerdon_"
FIELDS = (
    "responses",
    "response_mask",
    "rm_scores",
    "old_log_probs",
    "ref_log_prob",
    "entropy",
    "values",
    "extra_fields",
)


class _FetchesColumns:
    """Mixed into verl's trainers; see the module."""

    config: Any
    tokenizer: Any

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        mode = config.trainer.v1.trainer_mode
        with open_dict(config):  # verl compares the mode with its own names
            config.trainer.v1.trainer_mode = mode.removeprefix(PREFIX)
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """verl's own, with the batch's other columns at hand; logs how many rewards are missing."""
        if not str(self.config.algorithm.adv_estimator).startswith(PREFIX):
            return super()._compute_advantage(batch, metrics)  # type: ignore[misc]
        columns = self._columns(batch)
        if columns.scores is not None:
            real = np.ones(len(batch), bool) if columns.padding is None else ~columns.padding
            gone = np.isnan(columns.scores).any(axis=1)[real]
            metrics["guerdon/missing_rewards"] = float(gone.mean()) if len(gone) else 0.0
        with around(columns):
            return super()._compute_advantage(batch, metrics)  # type: ignore[misc]

    def _columns(self, batch: Any) -> Columns:
        """What the transfer queue holds of the batch, in its order."""
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(FIELDS))
        responses = data["responses"]
        whole = np.full(len(responses), responses.shape[-1]) if not responses.is_nested else None
        lengths = responses.offsets().diff().cpu().numpy() if whole is None else whole
        others = {"extra_fields": data.pop("extra_fields").tolist()} if "extra_fields" in data else {}
        padded = DataProto(batch=data.to_padded_tensor()).batch
        steps = Settings.of(self.config.algorithm).steps
        return columns_of(
            padded,
            others,
            tokenizer=None if steps is None else token_bytes_of(self.tokenizer),
            lengths=lengths,
            sessions=[session_of(key) for key in batch.keys],
            padding=np.array([bool(tag.get("is_padding", False)) for tag in batch.tags]),
            ctx=self._moment(),
        )

    def _moment(self) -> Context:
        step = int(getattr(self, "global_steps", 0))
        total = int(getattr(self, "total_training_steps", 0) or 0)
        return Context(progress=min(1.0, step / total) if total > 0 else 0.0, step=step)


def session_of(key: str) -> tuple[str, int]:
    """The session of a row and its place among the session's outputs, from verl's key `uid_session_place`."""
    session, _, place = key.rpartition("_")
    return session, int(place)


@register_trainer("guerdon_sync")
class TrainerSync(_FetchesColumns, PPOTrainerSync):
    """verl's `sync` trainer."""


@register_trainer("guerdon_colocate_async")
class TrainerColocateAsync(_FetchesColumns, PPOTrainerColocateAsync):
    """verl's `colocate_async` trainer."""


@register_trainer("guerdon_separate_async")
class TrainerSeparateAsync(_FetchesColumns, PPOTrainerSeparateAsync):
    """verl's `separate_async` trainer."""
