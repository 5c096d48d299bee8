"""Hidden states of prefixes: the same numbers as other ways of reading, and a head that can be trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_engines import PROMPTS, same_weights, tiny_lab, weights_of
from small_hf import tiny_hf

from guerdon.data import Ragged, Rollouts
from guerdon.errors import EngineError, TrainingError

MAKERS = {"lab": tiny_lab, "hf": tiny_hf}


def rollouts_for(engine) -> Rollouts:
    ids = [engine.tokenizer.encode(text) for text in ("7", "42+1", "", "a b", "12")]
    prompts = [*PROMPTS, PROMPTS[0]]
    return Rollouts(prompt=prompts, tokens=Ragged.from_lists(ids, dtype=np.int32))


@pytest.mark.parametrize("name", MAKERS)
def test_prefix_states_agree_with_the_states_after_each_token(name):
    engine = MAKERS[name]()
    rollouts = rollouts_for(engine)
    found = engine.prefix_states(rollouts)
    starts = np.cumsum(rollouts.lengths + 1) - rollouts.lengths - 1
    assert found.shape == (int(rollouts.lengths.sum()) + 5, engine.width)
    behind = np.arange(rollouts.tokens.total) + rollouts.tokens.row_ids() + 1
    np.testing.assert_allclose(found[behind], engine.hidden(rollouts), rtol=1e-4, atol=1e-4)
    # the first of each row has read the prompt only: equal prompts, equal states
    np.testing.assert_allclose(found[starts[0]], found[starts[4]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MAKERS)
def test_batch_order_does_not_change_the_states(name):
    engine = MAKERS[name]()
    rollouts = rollouts_for(engine)
    whole = Ragged.from_lengths(engine.prefix_states(rollouts)[:, 0], rollouts.lengths + 1)
    order = np.array([3, 0, 4, 2, 1])
    moved = engine.prefix_states(rollouts.select(order))[:, 0]
    np.testing.assert_allclose(moved, whole.select(order).values, rtol=1e-4, atol=1e-4)


def test_a_full_context_can_be_read_to_its_end():
    engine = tiny_lab(context=8)
    rollouts = Rollouts(prompt=["12"], tokens=Ragged.from_lists([[50, 51, 52, 53, 54]], dtype=np.int32))
    assert engine.prefix_states(rollouts).shape == (6, 32)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("trunk", [True, False])
def test_training_on_states_moves_the_trunk_only_where_asked(name, trunk):
    engine = MAKERS[name]()
    rollouts, head = rollouts_for(engine), torch.nn.Linear(engine.width, 1)
    optimizer = torch.optim.AdamW([*head.parameters(), *engine.parameters().values()], lr=1e-3)
    before, losses = weights_of(engine), []

    def loss(stats, rows):
        return ((head(stats.states) - 1) ** 2).sum() / 14, {}

    for _ in range(15):
        losses.append(engine.train_on_states(rollouts, loss, optimizer, trunk=trunk)["loss"])
    assert losses[-1] < losses[0]
    assert same_weights(before, weights_of(engine)) is not trunk


def test_a_state_loss_that_is_not_finite_changes_nothing_and_names_the_rollouts():
    engine = tiny_lab()
    rollouts, head = rollouts_for(engine), torch.nn.Linear(engine.width, 1)
    optimizer = torch.optim.AdamW([*head.parameters(), *engine.parameters().values()], lr=1e-3)
    before = weights_of(engine)
    with pytest.raises(TrainingError, match="not finite"):
        engine.train_on_states(rollouts, lambda s, r: (head(s.states).sum() * np.inf, {}), optimizer)
    assert same_weights(before, weights_of(engine))


@pytest.mark.parametrize("name", MAKERS)
def test_clones_are_frozen_or_free(name):
    engine = MAKERS[name]()
    rollouts = rollouts_for(engine)
    reference, other = engine.clone(), engine.clone(frozen=False)
    before = weights_of(engine)
    other.train_step(rollouts, lambda s, r: (-s.logprobs.sum(), {}), lr=1e-2)
    assert same_weights(before, weights_of(engine)) and not same_weights(before, weights_of(other))
    assert same_weights(before, weights_of(reference))
    with pytest.raises(EngineError, match="frozen"):
        reference.train_on_states(rollouts, lambda s, r: (s.states.sum(), {}), None)
