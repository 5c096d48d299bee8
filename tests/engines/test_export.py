from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from small_engines import PROMPTS, same_weights, taught_lab, weights_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon.engines import export_checkpoint
from guerdon.engines.export import config_from_llama, from_llama, to_llama
from guerdon.engines.hf import HFEngine
from guerdon.engines.lab import LabEngine
from guerdon.engines.protocol import Sampling
from guerdon.errors import EngineError

TEXTS = ["1+1=2", "é 漢字 🙂\x00\n\t ", "", "  two  spaces ", "<eos> <pad> <bos>", "the end.\r\n"]


@pytest.fixture(scope="module")
def lab():
    return taught_lab()


@pytest.fixture(scope="module")
def folder(lab, tmp_path_factory):
    return export_checkpoint(lab, tmp_path_factory.mktemp("export"))


def test_transformers_gives_the_same_logits(lab, folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert type(model).__name__ == "LlamaForCausalLM"
    for prompt in PROMPTS:
        rollouts = lab.generate([prompt], sampling=Sampling(max_new_tokens=20))
        ids = [*lab.prompt_ids(prompt), *rollouts.tokens[0].tolist()]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        expected = torch.from_numpy(lab.hidden(rollouts)) @ lab.model.embedding.detach().T
        torch.testing.assert_close(logits[-len(rollouts.tokens[0]) :], expected, atol=1e-4, rtol=1e-4)


def test_the_tokenizer_gives_the_same_ids(lab, folder):
    words = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = lab.tokenizer.encode(text)
        assert words.encode(text, add_special_tokens=False) == ids
        assert tuple(words.encode(text)) == lab.prompt_ids(text)
        assert words.decode(ids, clean_up_tokenization_spaces=False) == text
    assert (words.pad_token_id, words.bos_token_id, words.eos_token_id) == (0, 1, 2)


def test_lab_and_hf_are_the_same_policy(lab, folder):
    hf = HFEngine(folder, device="cpu")
    assert hf.context == lab.context and hf.vocab_size == lab.vocab_size
    sampling = Sampling(max_new_tokens=16, seed=4, entropy=True)
    ours, theirs = (e.generate(PROMPTS, n=4, sampling=sampling) for e in (lab, hf))
    assert ours.tokens == theirs.tokens and ours.completion == theirs.completion
    np.testing.assert_allclose(ours.logprobs.values, theirs.logprobs.values, atol=1e-4)
    np.testing.assert_allclose(lab.logprobs(ours).values, hf.logprobs(ours).values, atol=1e-4)
    np.testing.assert_allclose(lab.hidden(ours), hf.hidden(ours), atol=1e-3)
    np.testing.assert_allclose(lab.embed(["abc", ""]), hf.embed(["abc", ""]), atol=1e-3)
    for text in TEXTS:
        ids = lab.tokenizer.encode(text)
        assert hf.tokenizer.token_bytes([1, *ids, 2]) == lab.tokenizer.token_bytes([1, *ids, 2])


def test_weights_go_there_and_back_exactly(lab, folder):
    state = to_llama(lab.model.state_dict(), lab.config)
    back = from_llama(state, lab.config)
    assert all(torch.equal(back[name], value) for name, value in lab.model.state_dict().items())
    assert same_weights(weights_of(LabEngine(init=folder, device="cpu")), weights_of(lab))
    hf = HFEngine(folder, device="cpu")
    assert all(torch.equal(hf.state_dict()[name], value) for name, value in lab.state_dict().items())


def test_a_checkpoint_written_by_transformers_comes_back(lab, folder, tmp_path):
    HFEngine(folder, device="cpu").save(tmp_path)
    assert same_weights(weights_of(LabEngine(init=tmp_path, device="cpu")), weights_of(lab))


def test_an_architecture_the_lab_lacks_is_refused(lab):
    from guerdon.engines.export import llama_config

    config = llama_config(lab.config, lab.tokenizer)
    assert config_from_llama(config) == lab.config
    for field, value in (("model_type", "qwen2"), ("num_key_value_heads", 1), ("tie_word_embeddings", False)):
        with pytest.raises(EngineError, match=field):
            config_from_llama({**config, field: value})
