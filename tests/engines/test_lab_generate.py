from __future__ import annotations

import numpy as np
import pytest
from small_engines import PROMPTS, taught_lab, tiny_lab

from guerdon.engines.protocol import Sampling
from guerdon.errors import EngineError

LIMITS = Sampling(max_new_tokens=12, seed=5)


@pytest.fixture
def lab():
    return taught_lab()


def test_rows_come_prompt_by_prompt_with_groups(lab):
    rollouts = lab.generate(PROMPTS, n=3, sampling=LIMITS)
    assert rollouts.prompt == [p for p in PROMPTS for _ in range(3)]
    assert rollouts.group.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert lab.generate(PROMPTS[:2], n=1, sampling=LIMITS, group=[7, 7]).group.tolist() == [7, 7]
    assert all(rollouts.text(i) == lab.tokenizer.decode(rollouts.tokens[i]) for i in range(12))


def test_samples_do_not_depend_on_the_batch(lab):
    together = lab.generate(PROMPTS, n=4, sampling=LIMITS).tokens.to_lists()
    backwards = lab.generate(PROMPTS[::-1], n=4, sampling=LIMITS).tokens.to_lists()
    assert [backwards[4 * (3 - p) + d] for p in range(4) for d in range(4)] == together
    fewer = lab.generate(PROMPTS, n=2, sampling=LIMITS).tokens.to_lists()
    assert fewer == [together[4 * p + d] for p in range(4) for d in range(2)]
    lab.cache_tokens = 1  # one row at a time
    assert lab.generate(PROMPTS, n=4, sampling=LIMITS).tokens.to_lists() == together


def test_a_repeated_prompt_continues_its_draws(lab):
    once = lab.generate(["1+1="], n=4, sampling=LIMITS).tokens.to_lists()
    twice = lab.generate(["1+1=", "1+1="], n=2, sampling=LIMITS).tokens.to_lists()
    assert twice == once and len({tuple(row) for row in once}) > 1


def test_seeds_change_samples(lab):
    other = Sampling(max_new_tokens=12, seed=6)
    assert lab.generate(["x"], 2, LIMITS).tokens != lab.generate(["x"], 2, other).tokens


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_scoring_agrees_with_sampling(lab, temperature):
    sampling = Sampling(max_new_tokens=20, temperature=temperature, top_k=40, top_p=0.95, entropy=True)
    rollouts = lab.generate(PROMPTS, n=8, sampling=sampling)
    assert len(set(rollouts.tokens.lengths.tolist())) > 1  # some rows ended early and were compacted away
    scored = lab.logprobs(rollouts, temperature=temperature)
    np.testing.assert_allclose(scored.values, rollouts.logprobs.values, atol=1e-4)
    stats = lab.forward(rollouts, temperature=temperature)
    np.testing.assert_allclose(stats.entropy.detach().numpy(), rollouts.entropy.values, atol=1e-4)
    np.testing.assert_allclose(stats.logprobs.detach().numpy(), scored.values, atol=1e-5)


def test_greedy_is_the_most_likely_token_at_every_position(lab):
    rollouts = lab.generate(PROMPTS, n=2, sampling=Sampling(max_new_tokens=6, temperature=0))
    assert rollouts.tokens.to_lists()[0::2] == rollouts.tokens.to_lists()[1::2]
    for row in range(0, 8, 2):
        sofar: list[int] = []
        for token in rollouts.tokens[row].tolist():
            best = lab.generate([rollouts.prompt[row]], 1, Sampling(1, temperature=0), prefix=[sofar])
            assert best.tokens[0].tolist() == [*sofar, token]
            sofar.append(token)


def test_ends_and_truncation(lab):
    rollouts = lab.generate(PROMPTS, n=16, sampling=Sampling(max_new_tokens=7))
    ended = np.array([row[-1] == lab.tokenizer.eos for row in rollouts.tokens.to_lists()])
    assert ended.any() and (~ended).any()
    np.testing.assert_array_equal(rollouts.truncated, ~ended)
    assert all(lab.tokenizer.eos not in row[:-1] for row in rollouts.tokens.to_lists())
    assert (rollouts.tokens.lengths[rollouts.truncated] == 7).all()


def test_the_context_ends_rows_too(lab):
    prompt = "x" * (lab.context - 4)  # with bos three tokens are left
    rollouts = lab.generate([prompt, "y"], n=8, sampling=Sampling(max_new_tokens=9))
    lengths = rollouts.tokens.lengths
    assert lengths[:8].max() == 3 and lengths[8:].max() > 3
    ended = np.array([row[-1] == lab.tokenizer.eos for row in rollouts.tokens.to_lists()])
    np.testing.assert_array_equal(rollouts.truncated, ~ended)


def test_stop_strings_end_rows_and_stay_in_the_text(lab):
    free = lab.generate(PROMPTS, n=8, sampling=Sampling(max_new_tokens=24))
    row = int(np.argmax(free.lengths))
    letter = next(c for c in free.text(row)[1:] if c.isascii())
    stopped = lab.generate(PROMPTS, n=8, sampling=Sampling(max_new_tokens=24, stop=(letter,)))
    whole = free.text(row)
    assert stopped.text(row) == whole[: whole.index(letter) + 1] and not stopped.truncated[row]
    for i in range(len(free)):
        assert free.tokens[i][: len(stopped.tokens[i])].tolist() == stopped.tokens[i].tolist()
        assert letter not in stopped.text(i)[:-1]


def test_a_branch_goes_on_from_its_prefix():
    lab = tiny_lab()
    whole = lab.generate(["12*3="], n=1, sampling=Sampling(max_new_tokens=10, temperature=0))
    ids = whole.tokens[0].tolist()
    branch = lab.generate(["12*3="], n=2, sampling=Sampling(10, temperature=0), prefix=[ids[:4]])
    assert branch.tokens[0].tolist()[:10] == ids
    assert branch.acted[0].tolist()[:5] == [False] * 4 + [True]
    assert (branch.logprobs[0][:4] == 0).all()
    np.testing.assert_allclose(branch.logprobs[0][4:10], whole.logprobs[0][4:], atol=1e-4)
    scored = lab.logprobs(branch)
    np.testing.assert_allclose(scored[1][4:], branch.logprobs[1][4:], atol=1e-4)


def test_branches_with_different_and_empty_prefixes(lab):
    ids = lab.tokenizer.encode("abc")
    rollouts = lab.generate(["x", "x", "y"], n=2, sampling=LIMITS, prefix=[ids, [], ids[:1]])
    assert rollouts.tokens[0][:3].tolist() == ids and rollouts.tokens[4][:1].tolist() == ids[:1]
    assert [int(rollouts.acted[i].sum() == len(rollouts.tokens[i])) for i in range(6)] == [0, 0, 1, 1, 0, 0]
    assert rollouts.text(0).startswith("abc")


def test_a_prompt_beyond_the_context_is_named(lab):
    with pytest.raises(EngineError, match=r"prompt 1 .* has 201 tokens .* context holds 96"):
        lab.generate(["ok", "z" * 200], sampling=LIMITS)
    with pytest.raises(EngineError, match="prompt 0"):
        lab.generate(["z" * 94], sampling=LIMITS, prefix=[[5]])


def test_no_prompts_give_no_rollouts(lab):
    assert len(lab.generate([], n=4, sampling=LIMITS)) == 0


def test_arguments_that_do_not_fit(lab):
    with pytest.raises(EngineError, match="2 prompts, 1 prefixes"):
        lab.generate(["a", "b"], prefix=[[1]])
    with pytest.raises(EngineError, match="n=0"):
        lab.generate(["a"], n=0)


def test_chat_messages_are_joined(lab):
    messages = [{"role": "user", "content": "1+"}, {"role": "user", "content": "1"}]
    assert lab.prompt_ids(messages) == lab.prompt_ids("1+\n1")
