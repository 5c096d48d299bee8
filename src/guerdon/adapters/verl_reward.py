"""verl's reward loop with guerdon rewards, `reward.reward_manager.name=guerdon`. Imports verl.

    +reward.guerdon.use=verify.math +reward.guerdon.on_error=drop

verl asks for one sample at a time, many at once; those that wait are scored together, in one thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from guerdon.adapters.trl_rewards import token_bytes_of
from guerdon.adapters.verl_scoring import RewardSettings, Sample, Scored, Scorer, extra_info
from guerdon.errors import DataError


class RewardManager(RewardManagerBase):
    """Any guerdon reward as verl's reward manager.

    Args:
        config: verl's whole configuration; `reward.guerdon` is ours, see `verl_scoring.RewardSettings`.
        tokenizer: of the policy.
        compute_score: ignored: the reward is guerdon's.
        reward_router_address, reward_model_tokenizer: ignored.

    Raises:
        RecipeError: settings that name no reward, an unknown one, or a failure policy the estimator cannot
            take.
    """

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Any = None,
        reward_router_address: Any = None,
        reward_model_tokenizer: Any = None,
    ) -> None:
        super().__init__(config, tokenizer, compute_score)
        self.settings = RewardSettings.of(config.reward.get("guerdon", None))
        algorithm = config.get("algorithm", None)
        self.settings.check_estimator(str(algorithm.get("adv_estimator", "")) if algorithm else "")
        self.scorer = Scorer(self.settings, token_bytes_of(tokenizer) if self.settings.steps else None)
        self._thread = ThreadPoolExecutor(1, "guerdon-reward")
        self._waiting: list[tuple[Sample, asyncio.Future[Scored]]] = []
        self._draining: asyncio.Task[None] | None = None

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Score one response (the last, where a session has several outputs).

        Returns:
            `reward_score`, a float that knows the rewards it is made of, and `reward_extra_info`: each part
            under its name, `missing` (1.0 without a verdict) and `guerdon`, the record for the trainer.

        Raises:
            TrainingError: no verdict, and the policy is "raise".
        """
        future: asyncio.Future[Scored] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._sample(data[len(data) - 1]), future))
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain())
        scored = await future
        return {"reward_score": self.scorer.settle(scored), "reward_extra_info": extra_info(scored)}

    @classmethod
    def assemble_rm_scores(cls, data: Any, scores: list[float]) -> torch.Tensor:
        """Rewards per token, float32 (B, T), each at the end of its step or else of the response.

        Args:
            data: with `prompts`, `responses` and `attention_mask`.
            scores: one per row, as `run_single` gave them.
        """
        rewards = torch.zeros_like(data.batch["responses"], dtype=torch.float32)
        width = data.batch["prompts"].size(1)
        lengths = data.batch["attention_mask"][:, width:].sum(dim=1).tolist()
        for row, (score, length) in enumerate(zip(scores, lengths, strict=True)):
            for end, value in getattr(score, "rewards", ()) or [(length, float(score))]:
                rewards[row, min(end, length) - 1] += value
        return rewards

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                found = await loop.run_in_executor(self._thread, self.scorer, [one for one, _ in batch])
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                raise
            for (_, future), scored in zip(batch, found, strict=True):
                if not future.done():
                    future.set_result(scored)

    def _sample(self, item: Any) -> Sample:
        columns = item.non_tensor_batch
        responses, attention = item.batch["responses"], item.batch["attention_mask"]
        length = int(attention[-responses.shape[-1] :].sum())
        ids = responses[:length].cpu().numpy()
        text = self.tokenizer.decode(ids.tolist(), skip_special_tokens=True)
        extra = columns.get("extra_info", None)
        meta = {**(extra if isinstance(extra, Mapping) else {}), **_plain(columns)}
        return Sample(self._prompt(item), text, ids, self._reference(columns, meta), meta)

    def _prompt(self, item: Any) -> Any:
        raw = item.non_tensor_batch.get("raw_prompt", None)
        if raw is not None:
            return raw if isinstance(raw, str) else [dict(message) for message in raw]
        prompts, attention = item.batch["prompts"], item.batch["attention_mask"]
        kept = prompts[attention[: prompts.shape[-1]] > 0]
        return self.tokenizer.decode(kept.tolist(), skip_special_tokens=True)

    def _reference(self, columns: Mapping[str, Any], meta: Mapping[str, Any]) -> Any:
        wanted = self.settings.reference
        if wanted is None:
            model = columns.get("reward_model", None)
            return model.get("ground_truth", None) if isinstance(model, Mapping) else None
        if wanted not in meta:
            raise DataError(
                f"reward.guerdon.reference: there is no column {wanted!r}; verl hands over "
                f"{', '.join(sorted(meta)) or 'none'}"
            )
        return meta[wanted]


def _plain(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a sample that are plain data."""
    kinds = (str, int, float, bool, dict, list, np.generic)
    return {name: value for name, value in columns.items() if isinstance(value, kinds)}
