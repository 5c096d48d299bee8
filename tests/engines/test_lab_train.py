from __future__ import annotations

import numpy as np
import pytest
import torch
from small_engines import PROMPTS, gradients, nll, random_loss, same_weights, tiny_lab, weights_of

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.engines.lab import LabEngine
from guerdon.engines.protocol import Sampling
from guerdon.errors import EngineError, RecipeError, TrainingError


@pytest.fixture
def lab():
    return tiny_lab()


def naive(engine, context, tokens):
    """Log-probs and entropies by one plain, unbatched, unshared forward in textbook form."""
    model, config = engine.model, engine.config
    ids = torch.tensor([*context, *tokens])
    n, heads = len(ids), config.heads

    def norm(x, weight):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config.norm_eps) * weight

    def rotate(x):
        pairs = torch.view_as_complex(x.reshape(n, heads, -1, 2)) * model.phase[:n, None]
        return torch.view_as_real(pairs).reshape(n, heads, -1)

    x = model.embedding[ids]
    for block in model.blocks:
        q, k, v = (norm(x, block.attention_norm) @ block.qkv.T).view(n, 3, heads, -1).unbind(1)
        scores = torch.einsum("ihd,jhd->hij", rotate(q), rotate(k)) / model.head_dim**0.5
        scores = scores + torch.full((n, n), -torch.inf).triu(1)
        x = x + torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).reshape(n, -1) @ block.out.T
        gate, up = (norm(x, block.mlp_norm) @ block.gate_up.T).chunk(2, -1)
        x = x + (torch.nn.functional.silu(gate) * up) @ block.down.T
    logprobs = torch.log_softmax(norm(x, model.final_norm) @ model.embedding.T, -1)[len(context) - 1 : -1]
    return logprobs.gather(1, torch.tensor(tokens)[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(-1)


def uneven(lab) -> Rollouts:
    """Groups of unequal size, one-token and empty completions, prompts of unequal length."""
    rollouts = lab.generate(PROMPTS, n=4, sampling=Sampling(max_new_tokens=9))
    rows = rollouts.select([9, 0, 1, 2, 3, 4, 12, 8, 13, 14]).tokens.to_lists()
    rows[2], rows[5] = rows[2][:1], []
    return Rollouts(
        prompt=[rollouts.prompt[i] for i in (9, 0, 1, 2, 3, 4, 12, 8, 13, 14)],
        tokens=Ragged.from_lists(rows, dtype=np.int32),
    )


def test_shared_prefix_forward_equals_the_naive_one_with_gradients(lab):
    rollouts = uneven(lab)
    rows = [
        naive(lab, lab.prompt_ids(p), t)
        for p, t in zip(rollouts.prompt, rollouts.tokens.to_lists(), strict=True)
        if t
    ]
    logprobs, entropy = (torch.cat(column) for column in zip(*rows, strict=True))
    stats = lab.forward(rollouts)
    torch.testing.assert_close(stats.logprobs, logprobs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(stats.entropy, entropy, atol=1e-4, rtol=1e-4)
    stats.logprobs, stats.entropy = logprobs, entropy
    names, parameters = zip(*lab.parameters().items(), strict=True)
    loss, _ = random_loss(rollouts)(stats, np.arange(len(rollouts)))
    expected = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    for name, got in gradients(lab, rollouts).items():
        torch.testing.assert_close(
            got, expected[name], atol=1e-3 * float(expected[name].abs().max()), rtol=1e-3
        )


def test_micro_batches_and_order_leave_the_step_alone(lab):
    rollouts = uneven(lab)
    start = weights_of(lab)
    results = []
    for micro, rows in ((None, np.arange(10)), (1, np.arange(10)), (3, np.arange(10))):
        engine = tiny_lab()
        result = engine.train_step(
            rollouts.select(rows), random_loss(rollouts), micro_rollouts=micro, lr=1e-3
        )
        results.append((result, weights_of(engine)))
    for result, weights in results[1:]:
        assert result["loss"] == pytest.approx(results[0][0]["loss"], rel=1e-4)
        assert result["grad_norm"] == pytest.approx(results[0][0]["grad_norm"], rel=1e-4)
        for name in weights:
            step, expected = weights[name] - start[name], results[0][1][name] - start[name]
            assert torch.nn.functional.cosine_similarity(step.flatten(), expected.flatten(), 0) > 0.999


def test_one_token_rollouts(lab):
    rollouts = lab.generate(PROMPTS, n=2, sampling=Sampling(max_new_tokens=5))
    first = [row[:1] for row in rollouts.tokens.to_lists()]
    single = Rollouts(prompt=rollouts.prompt, tokens=Ragged.from_lists(first, dtype=np.int32))
    expected = rollouts.logprobs.values[rollouts.tokens.offsets[:-1]]
    np.testing.assert_allclose(lab.logprobs(single).values, expected, atol=1e-4)
    assert lab.train_step(single, nll(single))["grad_norm"] > 0
    assert lab.hidden(single).shape[0] == len(single)


def test_forward_of_nothing(lab):
    empty = Rollouts(prompt=["a", "b"], tokens=Ragged.from_lists([[], []], dtype=np.int32))
    assert lab.forward(empty).logprobs.shape == (0,) and lab.logprobs(empty).total == 0
    before = weights_of(lab)
    assert lab.train_step(empty, lambda stats, rows: (stats.logprobs.sum(), {}))["loss"] == 0.0
    assert same_weights(before, weights_of(lab))


def test_supervised_steps_teach(lab):
    rollouts = lab.rollouts_from_text(["1+1=", "2+2="] * 4, ["2", "4"] * 4)
    assert rollouts.tokens[0].tolist() == [*lab.tokenizer.encode("2"), lab.tokenizer.eos]
    losses = [lab.train_step(rollouts, nll(rollouts), lr=1e-2)["loss"] for _ in range(40)]
    assert losses[-1] < 0.1 < 2 < losses[0]
    answers = lab.generate(["1+1=", "2+2="], sampling=Sampling(max_new_tokens=4, temperature=0))
    assert answers.completion == ["2", "4"] and not answers.truncated.any()


def test_metrics_are_averaged_over_tokens(lab):
    rollouts = lab.rollouts_from_text(["a", "b"], ["xyz", ""])  # four tokens and one

    def loss(stats, rows):
        return stats.logprobs.sum(), {"length": float(len(stats.logprobs)), "device": torch.tensor(1.0)}

    result = lab.train_step(rollouts, loss, micro_rollouts=1)
    assert result["length"] == pytest.approx((4 * 4 + 1 * 1) / 5) and result["device"] == 1.0


def test_learning_rate_and_clipping(lab):
    rollouts = lab.rollouts_from_text(["a"], ["xyz"])
    before = weights_of(lab)
    lab.train_step(rollouts, nll(rollouts), lr=0.0)
    assert same_weights(before, weights_of(lab))
    lab = tiny_lab(lr=1e-2)
    norm = lab.train_step(rollouts, nll(rollouts), max_grad_norm=1e-12)["grad_norm"]
    assert norm > 1e-3
    moved = max(float((a - before[n]).abs().max()) for n, a in weights_of(lab).items())
    assert moved < 1e-5  # AdamW's eps dominates a gradient clipped to nothing


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("micro", [None, 1])
def test_a_loss_that_is_not_finite_is_refused_with_the_weights_unchanged(lab, bad, micro):
    rollouts = lab.rollouts_from_text(["a", "b", "c"], ["xyz", "uv", "w"])
    lab.train_step(rollouts, nll(rollouts))
    before = weights_of(lab)
    weight = np.ones(rollouts.tokens.total, np.float32)
    weight[rollouts.tokens.offsets[1]] = bad

    def loss(stats, rows):
        return (torch.from_numpy(weight[rollouts.tokens.positions(rows)]) * stats.logprobs).sum(), {}

    with pytest.raises(TrainingError, match="rollouts 1;"):
        lab.train_step(rollouts, loss, micro_rollouts=micro)
    assert same_weights(before, weights_of(lab))
    assert all(p.grad is None for p in lab.parameters().values())
    lab.train_step(rollouts, nll(rollouts))  # and training can go on


def test_rollouts_are_named_by_their_id(lab):
    rollouts = lab.rollouts_from_text(["a", "b"], ["x", "y"]).replace(id=["first", "second"])
    with pytest.raises(TrainingError, match="rollouts first, second;"):
        lab.train_step(rollouts, lambda stats, rows: (stats.logprobs.sum() * float("nan"), {}))


def test_a_gradient_that_overflows_in_the_network_is_refused(lab):
    rollouts = lab.rollouts_from_text(["a", "b"], ["xyz", "uv"])
    before = weights_of(lab)

    def loss(stats, rows):
        change = (stats.logprobs - stats.logprobs.detach()).sum()
        return change * (3e38 if 1 in rows else 1.0), {}

    with pytest.raises(TrainingError, match=r"gradient's norm is (inf|nan).*rollouts 1;"):
        lab.train_step(rollouts, loss, micro_rollouts=1)
    assert same_weights(before, weights_of(lab))


def test_a_failing_loss_function_leaves_no_gradients(lab):
    rollouts = lab.rollouts_from_text(["a", "b"], ["xyz", "uv"])
    calls = []

    def loss(stats, rows):
        calls.append(rows)
        if len(calls) == 2:
            raise KeyError("reward")
        return stats.logprobs.sum(), {}

    with pytest.raises(KeyError):
        lab.train_step(rollouts, loss, micro_rollouts=1)
    assert all(p.grad is None for p in lab.parameters().values())


def test_a_clone_is_frozen_in_time(lab):
    reference = lab.clone()
    rollouts = lab.generate(PROMPTS, n=2, sampling=Sampling(max_new_tokens=8))
    before = lab.logprobs(rollouts)
    lab.train_step(rollouts, nll(rollouts), lr=1e-2)
    assert reference.logprobs(rollouts) == before != lab.logprobs(rollouts)
    with pytest.raises(EngineError, match="frozen"):
        reference.train_step(rollouts, nll(rollouts))
    reference.load_state_dict(lab.state_dict())
    np.testing.assert_array_equal(reference.logprobs(rollouts).values, lab.logprobs(rollouts).values)


def test_save_load_and_resume_bit_for_bit(lab, tmp_path):
    rollouts = lab.generate(PROMPTS, n=2, sampling=Sampling(max_new_tokens=8))
    lab.save(tmp_path / "fresh", optimizer=True)  # before the first step there is no optimiser state
    for _ in range(3):
        lab.train_step(rollouts, random_loss(rollouts), lr=1e-3)
    lab.save(tmp_path / "run", optimizer=True)
    other = LabEngine(init=tmp_path / "run", device="cpu")
    assert other.config == lab.config and same_weights(weights_of(other), weights_of(lab))
    other.load(tmp_path / "run")
    for engine in (lab, other):
        for _ in range(2):
            engine.train_step(rollouts, random_loss(rollouts), lr=1e-3)
    assert same_weights(weights_of(other), weights_of(lab))
    other.load(tmp_path / "run")
    other.save(tmp_path / "again", optimizer=True)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    other.load(tmp_path / "fresh")
    assert other.train_step(rollouts, random_loss(rollouts))["loss"] != 0


def test_loading_without_optimizer_state_starts_it_afresh(lab, tmp_path):
    rollouts = lab.rollouts_from_text(["a"], ["xyz"])
    lab.save(tmp_path)
    first = lab.train_step(rollouts, nll(rollouts), lr=1e-3), weights_of(lab)
    lab.load(tmp_path)
    assert lab.train_step(rollouts, nll(rollouts), lr=1e-3) == first[0]
    assert same_weights(weights_of(lab), first[1])


def test_bad_folders_and_states_are_named(lab, tmp_path):
    with pytest.raises(EngineError, match="no weights at"):
        lab.load(tmp_path)
    with pytest.raises(EngineError, match=r"config\.json"):
        LabEngine(init=tmp_path)
    lab.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(EngineError, match="damaged"):
        lab.load(tmp_path)
    with pytest.raises(EngineError, match="has shape"):
        LabEngine(dim=64, layers=2, heads=2, device="cpu").load_state_dict(lab.state_dict())
    with pytest.raises(EngineError, match="1 missing"):
        lab.load_state_dict(dict(list(lab.state_dict().items())[1:]))


def test_hidden_states_and_embeddings(lab):
    rollouts = lab.generate(PROMPTS, n=2, sampling=Sampling(max_new_tokens=8))
    last = lab.hidden(rollouts)
    assert last.shape == (rollouts.tokens.total, 32) and last.dtype == np.float32
    np.testing.assert_array_equal(last, lab.hidden(rollouts, layer=2))
    zeroth = lab.hidden(rollouts, layer=0)
    np.testing.assert_allclose(zeroth, lab.model.embedding.detach().numpy()[rollouts.tokens.values])
    # the state after token j predicts token j + 1
    logits = torch.from_numpy(last[:-1]) @ lab.model.embedding.detach().T
    inner = np.setdiff1d(np.arange(rollouts.tokens.total - 1), rollouts.tokens.offsets[1:-1] - 1)
    scored = torch.log_softmax(logits, -1)[inner, rollouts.tokens.values[inner + 1].astype(int)]
    np.testing.assert_allclose(scored.numpy(), lab.logprobs(rollouts).values[inner + 1], atol=1e-4)
    vectors = lab.embed(["abc", "", "abc"])
    assert vectors.shape == (3, 32) and np.allclose(vectors[0], vectors[2], atol=1e-5)
    with pytest.raises(EngineError, match="layer 3"):
        lab.hidden(rollouts, layer=3)


def test_what_an_engine_cannot_score(lab):
    with pytest.raises(EngineError, match="no tokens"):
        lab.logprobs(Rollouts(prompt=["a"], completion=["b"]))
    with pytest.raises(EngineError, match="no prompts"):
        lab.logprobs(Rollouts(tokens=Ragged.from_lists([[5]])))
    long = Rollouts(prompt=["a", "b"], tokens=Ragged.from_lists([[5], [5] * 95]))
    with pytest.raises(EngineError, match=r"prompt 1 .* 2 tokens .* followed by 95.* holds 96"):
        lab.logprobs(long)


def test_init_decides_the_shape(lab, tmp_path):
    lab.save(tmp_path)
    assert LabEngine(init=tmp_path, dim=32, context=200, device="cpu").context == 200
    with pytest.raises(RecipeError, match=r"engine\.dim: 64 was asked for.*with 32"):
        LabEngine(init=tmp_path, dim=64, heads=2)


def test_shapes_are_checked_early():
    with pytest.raises(RecipeError, match=r"engine\.heads"):
        LabEngine(dim=30, heads=4)
    with pytest.raises(RecipeError, match=r"engine\.layers"):
        LabEngine(layers=0)
    with pytest.raises(EngineError, match="unknown to torch"):
        LabEngine(device="warp")


def test_the_initial_weights_depend_on_the_seed_only():
    torch.manual_seed(1)
    first = LabEngine(dim=16, layers=1, heads=2, seed=4, device="cpu")
    torch.manual_seed(2)
    again = LabEngine(dim=16, layers=1, heads=2, seed=4, device="cpu")
    assert same_weights(weights_of(first), weights_of(again))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(EngineError, match="no CUDA device"):
        LabEngine(device="cuda")
    assert LabEngine(dim=16, layers=1, heads=2).device.type == "cpu"
