"""What engines say about given tokens: statistics, shared prompts, refusals; lab against transformers."""

import math

import numpy as np
import pytest
import torch

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.engines import distributions, lab
from guerdon.engines.distributions import STATISTICS, distribution_stats, forced
from guerdon.engines.hf import HFEngine
from guerdon.engines.lab import LabEngine
from guerdon.engines.tokenizer import ByteTokenizer
from guerdon.errors import EngineError, RecipeError
from guerdon.intrinsic import flow
from guerdon.intrinsic.scoring import (
    EMPTY,
    NO_ROOM,
    Place,
    check_ids,
    inside_characters,
    require_logprobs,
    score_places,
)


def tiny(**options) -> LabEngine:
    engine = LabEngine(**{"dim": 32, "layers": 2, "heads": 2, "context": 128, "device": "cpu"} | options)
    with torch.no_grad():
        for parameter in engine.parameters().values():
            if parameter.dim() == 2:
                parameter.mul_(4.0)
    return engine


def test_statistics_against_the_whole_table():
    torch.manual_seed(0)
    hidden, weight = torch.randn(7, 5), torch.randn(11, 5)
    targets = torch.randint(0, 11, (7,))
    got = distribution_stats(hidden, lambda h: h @ weight.T, targets, 11, chunk=3)
    p = torch.softmax(hidden @ weight.T, dim=-1).double()
    uniform = torch.full_like(p, 1 / 11)
    expected = {
        "logprob": p.gather(1, targets[:, None]).log().squeeze(1),
        "entropy": -(p * p.log()).sum(1),
        "kl_to_uniform": (p * (p / uniform).log()).sum(1),
        "kl_from_uniform": (uniform * (uniform / p).log()).sum(1),
        "rank": (p > p.gather(1, targets[:, None])).sum(1).double(),
    }
    assert set(expected) == set(STATISTICS)
    for name, values in expected.items():
        torch.testing.assert_close(got[name].double(), values, atol=1e-5, rtol=1e-5)
    with pytest.raises(RecipeError, match="unknown 'mode'"):
        distribution_stats(hidden, lambda h: h, targets, 11, ["mode"])


def test_logits_are_taken_in_chunks():
    seen = []

    def head(h):
        seen.append(len(h))
        return torch.zeros(len(h), 9)

    distribution_stats(torch.zeros(10, 3), head, torch.zeros(10, dtype=torch.long), 9, chunk=4)
    assert seen == [4, 4, 2]


def test_log_probs_are_the_engines_own():
    engine = tiny()
    rollouts = engine.rollouts_from_text(["1+1=", "1+1=", "longer prompt"], ["2", "34", "x"])
    contexts = [engine.prompt_ids(p) for p in rollouts.prompt]
    got = forced(engine, contexts, rollouts.tokens)["logprob"]
    np.testing.assert_allclose(got, engine.logprobs(rollouts).values, atol=1e-5)


def test_lab_and_transformers_agree_on_the_same_weights(tmp_path):
    engine = tiny()
    engine.save(tmp_path)
    other = HFEngine(str(tmp_path), tokenizer=ByteTokenizer(), device="cpu")
    contexts = [engine.prompt_ids(p) for p in ("1+1=", "1+1=", "abc")]
    tokens = Ragged.from_lists([[50, 51], [60], [70, 71, 72]], dtype=np.int32)
    mine = forced(engine, contexts, tokens, STATISTICS)
    theirs = forced(other, contexts, tokens, STATISTICS)
    for name in STATISTICS:
        np.testing.assert_allclose(mine[name], theirs[name], atol=1e-4)


def test_prompts_are_read_once_for_their_samples(monkeypatch):
    engine = tiny(context=512)
    context = tuple(range(1, 161))
    places = [Place(context, (), tuple((7 * i + j) % 250 for j in range(40))) for i in range(8)]
    read = []
    pack = lab.pack
    monkeypatch.setattr(lab, "pack", lambda *args: read.append(pack(*args)) or read[-1])
    scored = score_places(engine, places)
    counted = sum(len(packed.ids) for packed in read)
    assert counted == scored.forwards == 160 + 8 * 39
    assert scored.apart == 8 * (160 + 39) and scored.apart >= 3 * counted
    alone = [score_places(engine, [place]).logprobs.values for place in places]
    np.testing.assert_allclose(scored.logprobs.values, np.concatenate(alone), atol=1e-4)


def test_only_the_text_is_scored_and_problems_have_causes():
    engine = tiny()
    context = engine.prompt_ids("q")
    scored = score_places(
        engine, [Place(context, (65, 66), (67,)), Place(context, (), ()), Place(context, (), (65,) * 200)]
    )
    assert scored.logprobs.lengths.tolist() == [1, 0, 0]
    assert dict(scored.causes) == {1: EMPTY, 2: NO_ROOM}
    whole = score_places(engine, [Place(context, (), (65, 66, 67))]).logprobs.values
    assert scored.logprobs.values[0] == pytest.approx(whole[2], abs=1e-5)
    assert score_places(engine, [Place(context, (), ())]).causes == {0: EMPTY}


def test_engines_without_log_probs_are_refused():
    with pytest.raises(EngineError, match="gives no log-probs"):
        require_logprobs(object())


def test_foreign_token_ids_are_refused():
    engine = tiny()
    rollouts = engine.rollouts_from_text(["q", "q"], ["abc", "de"])
    check_ids(engine, rollouts)
    with pytest.raises(EngineError, match="row 1: its token ids read"):
        check_ids(engine, rollouts.replace(completion=["abc", "xy"]))
    foreign = Rollouts(prompt=["q"], completion=["a"], tokens=Ragged.from_lists([[100_000]], dtype=np.int32))
    with pytest.raises(EngineError, match="row 0: token id 100000 is outside"):
        check_ids(engine, foreign)


def test_tokens_inside_characters_of_a_text_with_wide_ones():
    engine = tiny()
    text = "é {42}"
    ids = tuple(engine.tokenizer.encode(text))
    inside = inside_characters(engine, ids, text.index("42"), text.index("42") + 2)
    assert engine.tokenizer.decode([i for i, kept in zip(ids, inside, strict=True) if kept]) == "42"


def test_a_flow_step_by_hand():
    h, e = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, -1.0]])
    x, u = flow.between(h, e, torch.tensor([0.8]))
    assert x[0].tolist() == pytest.approx([0.8, 1.4]) and u[0].tolist() == [1.0, 3.0]
    error = flow.velocity_error(torch.tensor([[0.5, 2.0]]), u)
    assert error.item() == 0.625 and 0.8 / (1 - 0.8) * error.item() == pytest.approx(2.5)


def test_min_max_threshold_and_top_k_by_row():
    scores = np.array([0.2, 0.5, 1.0, 0.8, 3.0, 3.0])
    offsets = np.array([0, 4, 6])
    scaled = flow.min_max(scores, offsets)
    assert scaled == pytest.approx([0, 0.375, 1, 0.75, 0, 0])
    assert flow.sparse(scaled, offsets) == pytest.approx([0, 0, 1, 0.75, 0, 0])
    assert flow.sparse(scaled, offsets, top_k=1) == pytest.approx([0, 0, 1, 0, 0, 0])
    released = flow.min_max(np.array([0.2, 0.5, 1.0]), np.array([0, 3]), release=True)
    assert released[2] == 1.0 and released[1] == 0.0 and released[0] < 0


def test_a_flow_field_learns_where_states_go():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    condition = torch.randn(256, 3, generator=generator)
    h = 0.9 * condition
    field = flow.FlowField(3, hidden=32, blocks=2)
    first = flow.flow_loss(field, h, condition, generator).item()
    optimizer = torch.optim.Adam(field.parameters(), 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        flow.flow_loss(field, h, condition, generator).backward()
        optimizer.step()
    assert flow.flow_loss(field, h, condition, generator).item() < 0.7 * first
    odd = h.clone()
    odd[:20] += 3.0
    score = flow.deviation(field, odd, condition, draws=4)
    assert score[:20].mean() > 2 * score[20:].mean()
    torch.testing.assert_close(score, flow.deviation(field, odd, condition, draws=4))
    with pytest.raises(RecipeError, match="times"):
        flow.deviation(field, odd, condition, times=[1.0])


def test_kl_directions_of_a_uniform_distribution_are_zero():
    got = distribution_stats(torch.zeros(2, 3), lambda h: torch.zeros(len(h), 8), torch.tensor([0, 7]), 8)
    assert got["entropy"].tolist() == pytest.approx([math.log(8)] * 2)
    assert got["kl_to_uniform"].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert got["kl_from_uniform"].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert got["rank"].tolist() == [0, 0]
    assert distributions.STATISTICS == STATISTICS


def test_a_chunk_holds_a_fixed_number_of_bytes():
    """What lives at once does not grow with the vocabulary, nor with the number of tokens."""
    for device, limit in distributions.CHUNK_BYTES.items():
        for vocabulary in (264, 32_000, 151_936, 1_000_000):
            held = 4 * vocabulary * distributions.chunk_tokens(vocabulary, device)
            assert limit / 2 < held <= limit
    assert distributions.chunk_tokens(1 << 30) == 1


@pytest.mark.parametrize("vocabulary", [500, 4000])
def test_the_default_chunk_is_the_largest_that_fits(monkeypatch: pytest.MonkeyPatch, vocabulary: int):
    monkeypatch.setitem(distributions.CHUNK_BYTES, "cpu", 64_000)
    seen = []

    def head(h):
        seen.append(len(h))
        return torch.zeros(len(h), vocabulary)

    distribution_stats(torch.zeros(70, 3), head, torch.zeros(70, dtype=torch.long), vocabulary)
    assert max(seen) * vocabulary * 4 <= 64_000 and sum(seen) == 70


class WithTag(ByteTokenizer):
    """A tokenizer with one special token that texts may show and decoding drops."""

    def encode(self, text):
        head, tag, tail = text.partition("<t>")
        return super().encode(head) + ([260] if tag else []) + super().encode(tail)


def test_special_tokens_shown_in_the_text_are_no_mismatch():
    engine = tiny(tokenizer=WithTag())
    ids = engine.tokenizer.encode("<t>a")
    assert engine.tokenizer.decode(ids) == "a"
    for tokens in (ids, [*ids, 2]):
        check_ids(engine, Rollouts(completion=["<t>a"], tokens=Ragged.from_lists([tokens], dtype=np.int32)))
    with pytest.raises(EngineError, match="row 0: its token ids read 'a'"):
        check_ids(engine, Rollouts(completion=["<t>b"], tokens=Ragged.from_lists([ids], dtype=np.int32)))
