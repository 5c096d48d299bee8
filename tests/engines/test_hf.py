from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from small_engines import PROMPTS, gradients, nll, random_loss, same_weights, weights_of
from small_hf import tiny_hf, tokenizer

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.engines.hf import HFEngine
from guerdon.engines.protocol import Sampling
from guerdon.errors import EngineError, RecipeError, TrainingError

LIMITS = Sampling(max_new_tokens=10, seed=2, entropy=True)


def uneven(engine) -> Rollouts:
    """Groups of unequal size, a one-token and an empty completion."""
    rollouts = engine.generate(PROMPTS, n=3, sampling=LIMITS)
    order = [6, 0, 1, 2, 3, 9, 10]
    rows = [rollouts.tokens[i].tolist() for i in order]
    rows[2], rows[5] = rows[2][:1], []
    return Rollouts(
        prompt=[rollouts.prompt[i] for i in order], tokens=Ragged.from_lists(rows, dtype=np.int32)
    )


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma2", "granite"])
def test_sampling_scoring_and_the_model_itself_agree(family):
    engine = tiny_hf(family)
    rollouts = engine.generate(PROMPTS, n=4, sampling=LIMITS)
    assert len({tuple(row) for row in rollouts.tokens.to_lists()}) > 8
    scored = engine.logprobs(rollouts)
    np.testing.assert_allclose(scored.values, rollouts.logprobs.values, atol=1e-4)
    for row in (0, 5, 15):
        ids = torch.tensor([[*engine.prompt_ids(rollouts.prompt[row]), *rollouts.tokens[row].tolist()]])
        with torch.no_grad():
            logits = engine.model(input_ids=ids).logits[0].float()
        start, n = ids.shape[1] - len(rollouts.tokens[row]), len(rollouts.tokens[row])
        expected = torch.log_softmax(logits, -1)[start - 1 : -1][torch.arange(n), ids[0, start:]]
        np.testing.assert_allclose(scored[row], expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2"])
def test_sharing_prompts_changes_neither_values_nor_gradients(family):
    engine = tiny_hf(family)
    rollouts = uneven(engine)
    results = []
    for shared in (True, False):
        engine.shared_prefix = shared
        stats = engine.forward(rollouts)
        results.append((stats, gradients(engine, rollouts), engine.hidden(rollouts, layer=1)))
    (stats, grads, hidden), (expected, expected_grads, expected_hidden) = results
    torch.testing.assert_close(stats.logprobs, expected.logprobs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(stats.entropy, expected.entropy, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(hidden, expected_hidden, atol=1e-4)
    for name, want in expected_grads.items():
        torch.testing.assert_close(grads[name], want, atol=1e-3 * float(want.abs().max()) + 1e-6, rtol=1e-3)


def test_samples_do_not_depend_on_the_batch():
    engine = tiny_hf()
    together = engine.generate(PROMPTS, n=4, sampling=LIMITS).tokens.to_lists()
    alone = [row for p in PROMPTS for row in engine.generate([p], n=4, sampling=LIMITS).tokens.to_lists()]
    assert alone == together
    engine.cache_tokens = 1
    assert engine.generate(PROMPTS, n=4, sampling=LIMITS).tokens.to_lists() == together


def test_branches_and_stop_strings():
    engine = tiny_hf()
    greedy = Sampling(max_new_tokens=8, temperature=0)
    whole = engine.generate(["1+1="], sampling=greedy)
    ids = whole.tokens[0].tolist()
    branch = engine.generate(["1+1="], sampling=greedy, prefix=[ids[:3]])
    assert branch.tokens[0].tolist()[:8] == ids and branch.acted[0].tolist()[:4] == [False] * 3 + [True]
    piece = engine.tokenizer.token_bytes(ids)[2].decode(errors="ignore").strip()
    if piece:
        stopped = engine.generate(["1+1="], sampling=Sampling(8, temperature=0, stop=(piece,)))
        assert piece in stopped.completion[0] and len(stopped.tokens[0]) <= 3


def test_training_lowers_the_loss_and_answers_change():
    engine = tiny_hf(scale=1.0)
    rollouts = engine.rollouts_from_text(["1+1=", "12*3="] * 2, ["2", "36"] * 2)
    losses = [engine.train_step(rollouts, nll(rollouts), lr=1e-2)["loss"] for _ in range(30)]
    assert losses[-1] < 0.1 < 2 < losses[0]
    answers = engine.generate(["1+1=", "12*3="], sampling=Sampling(max_new_tokens=5, temperature=0))
    assert answers.completion == ["2", "36"] and not answers.truncated.any()


def test_one_token_rollouts():
    engine = tiny_hf()
    rollouts = engine.generate(PROMPTS, n=2, sampling=Sampling(max_new_tokens=5))
    first = [row[:1] for row in rollouts.tokens.to_lists()]
    single = Rollouts(prompt=rollouts.prompt, tokens=Ragged.from_lists(first, dtype=np.int32))
    expected = rollouts.logprobs.values[rollouts.tokens.offsets[:-1]]
    np.testing.assert_allclose(engine.logprobs(single).values, expected, atol=1e-4)
    assert engine.train_step(single, nll(single))["grad_norm"] > 0
    assert engine.hidden(single).shape[0] == len(single)


def test_nan_losses_are_refused():
    engine = tiny_hf()
    rollouts = engine.rollouts_from_text(["a", "b"], ["xyz", "uv"])
    before = weights_of(engine)
    with pytest.raises(TrainingError, match="rollouts 0, 1;"):
        engine.train_step(rollouts, lambda s, rows: (s.logprobs.sum() * float("nan"), {}))
    assert same_weights(before, weights_of(engine))


def test_save_load_and_resume_bit_for_bit(tmp_path):
    engine = tiny_hf()
    rollouts = uneven(engine)
    for _ in range(2):
        engine.train_step(rollouts, random_loss(rollouts), lr=1e-3)
    engine.save(tmp_path, optimizer=True)
    other = HFEngine(tmp_path, device="cpu")
    other.load(tmp_path)
    assert same_weights(weights_of(other), weights_of(engine))
    for each in (engine, other):
        each.train_step(rollouts, random_loss(rollouts), lr=1e-3)
    assert same_weights(weights_of(other), weights_of(engine))
    assert other.tokenizer.encode("1+1=2") == engine.tokenizer.encode("1+1=2")


def test_lora_trains_adapters_only(tmp_path):
    engine = tiny_hf(lora={"r": 4, "alpha": 8})
    rollouts = uneven(engine)
    everything = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    reference = engine.clone()
    for _ in range(3):
        engine.train_step(rollouts, random_loss(rollouts), lr=1e-2)
    changed = {n for n, p in engine.model.named_parameters() if not torch.equal(p, everything[n])}
    assert changed and all("lora_" in name for name in changed)
    assert set(engine.state_dict()) == set(engine.parameters()) >= changed
    assert reference.logprobs(rollouts) != engine.logprobs(rollouts)
    shared = [p for p in reference.model.parameters() if any(p is q for q in engine.model.parameters())]
    assert shared  # the base is not copied
    engine.save(tmp_path, optimizer=True)
    other = tiny_hf(lora={"r": 4, "alpha": 8}, seed=9)
    assert other.logprobs(rollouts) == reference.logprobs(rollouts)  # fresh adapters do nothing
    other.load(tmp_path)
    assert other.logprobs(rollouts) == engine.logprobs(rollouts)
    for each in (engine, other):
        each.train_step(rollouts, random_loss(rollouts), lr=1e-2)
    assert same_weights(weights_of(other), weights_of(engine))


def test_lora_settings_are_checked():
    with pytest.raises(RecipeError, match=r"engine\.lora"):
        tiny_hf(lora={"rank": 4})
    with pytest.raises(RecipeError, match="dropout"):
        tiny_hf(lora={"lora_dropout": 0.1})
    with pytest.raises(RecipeError, match=r"engine\.lora"):
        tiny_hf(lora={"target_modules": ["no_such_layer"]})


def test_a_clone_stays_while_the_policy_learns():
    engine = tiny_hf()
    rollouts = uneven(engine)
    reference, before = engine.clone(), engine.logprobs(rollouts)
    engine.train_step(rollouts, random_loss(rollouts), lr=1e-2)
    assert reference.logprobs(rollouts) == before != engine.logprobs(rollouts)
    with pytest.raises(EngineError, match="frozen"):
        reference.train_step(rollouts, random_loss(rollouts))


def test_chat_messages_go_through_the_template():
    engine = tiny_hf()
    messages = [{"role": "user", "content": "1+1="}]
    ids = engine.prompt_ids(messages)
    assert engine.tokenizer.inner.decode(ids) == "<s>user: 1+1=</s><s>assistant: "
    rollouts = engine.generate([messages, "1+1="], n=2, sampling=LIMITS)
    assert rollouts.prompt[0] == messages
    np.testing.assert_allclose(engine.logprobs(rollouts).values, rollouts.logprobs.values, atol=1e-4)
    engine.tokenizer.inner.chat_template = None
    with pytest.raises(EngineError, match="chat template"):
        engine.prompt_ids([{"role": "user", "content": "new"}])


def test_an_eos_the_tokenizer_appends_is_dropped():
    from tokenizers import processors

    words = tokenizer()
    plain = words.encode("1+1=")
    around = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    words.backend_tokenizer.post_processor = around
    assert words.encode("1+1=") == [1, *plain, 2]
    engine = HFEngine(tiny_hf().model, tokenizer=words, device="cpu")
    assert engine.prompt_ids("1+1=") == (1, *plain) and engine.prompt_ids("") == (1,)


def test_every_end_token_of_the_model_ends_a_row():
    engine = tiny_hf()
    greedy = Sampling(max_new_tokens=8, temperature=0)
    ids = engine.generate(["1+1="], sampling=greedy).tokens[0].tolist()
    engine.model.generation_config.eos_token_id = [engine.tokenizer.eos, ids[3]]
    again = HFEngine(engine.model, tokenizer=engine.tokenizer, device="cpu")
    rollouts = again.generate(["1+1="], sampling=greedy)
    assert rollouts.tokens[0].tolist() == ids[: ids.index(ids[3]) + 1] and not rollouts.truncated[0]


def test_token_bytes_concatenate_to_the_text():
    engine = tiny_hf()
    for text in ("1+1=2", "é and 漢字 🙂", " the numbers", ""):
        ids = engine.tokenizer.encode(text)
        assert b"".join(engine.tokenizer.token_bytes([1, *ids, 2])).decode() == text
        assert engine.tokenizer.decode([1, *ids, 2]) == text


def test_sentencepiece_style_bytes():
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    from guerdon.engines.hf_tokenizer import HFTokenizer

    pieces = ["<unk>", "<s>", "</s>", "<0xC3>", "<0xA9>", "▁the", "▁sum", "s"]
    inner = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[], byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    inner.decoder = decoders.Sequence(steps)
    fast = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    words = HFTokenizer(fast)
    ids = [1, 5, 6, 7, 3, 4, 2]
    assert words.decode(ids) == "the sumsé"
    assert b"".join(words.token_bytes(ids)).decode() == "the sumsé"


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(EngineError, match="no tokenizer at"):
        HFEngine(tmp_path)
    with pytest.raises(EngineError, match="needs tokenizer"):
        HFEngine(tiny_hf().model)
    with pytest.raises(RecipeError, match=r"engine\.dtype"):
        HFEngine(tiny_hf().model, tokenizer=tokenizer(), dtype="int3")
    with pytest.raises(EngineError, match="no model at"):
        tiny_hf().load(tmp_path)


def test_a_prompt_beyond_the_context_is_named():
    with pytest.raises(EngineError, match=r"prompt 1 .* context holds 20"):
        tiny_hf(context=20).generate(["ok", "numbers and " * 30])
