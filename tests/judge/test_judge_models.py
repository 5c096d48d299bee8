"""Judges that are real models: an engine here, and the same weights behind `transformers serve`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from guerdon import Context, Rollouts
from guerdon.engines.protocol import Sampling
from guerdon.judge import Endpoint, EngineClient, Judge, NamedEngine, Query, Retry, Template

torch = pytest.importorskip("torch", reason="needs guerdon[lab]")
pytest.importorskip("aiohttp", reason="needs guerdon[judge]")

TEMPLATE = {
    "messages": [{"role": "user", "content": "{{answer}}\nRating:"}],
    "verdict": {"use": "rating", "high": 9},
}
PATIENCE = 60.0  # seconds for the server to come up


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The tensors here are tiny: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def answers(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"{('bad', 'good')[rng.integers(2)]} {rng.integers(1000)}" for _ in range(n)]


def wanted(answer: str) -> int:
    return 8 if answer.startswith("good") else 2


@pytest.fixture(scope="module")
def engine():
    """A small model trained for a few seconds to rate "good ..." with 8 and "bad ..." with 2."""
    from guerdon.engines import LabEngine

    template = Template.load(TEMPLATE)
    engine = LabEngine(dim=64, layers=2, heads=4, context=512, seed=3, device="cpu")
    for step in range(150):
        texts = answers(16, seed=1000 + step)
        prompts = [list(template.render({"answer": text})) for text in texts]
        batch = engine.rollouts_from_text(prompts, [f" [[{wanted(text)}]]" for text in texts])

        def loss(stats, rows, total=batch.tokens.total):
            return -stats.logprobs.sum() / total, {}

        engine.train_step(batch, loss, lr=5e-3 if step < 100 else 1e-3, entropy=False)
    return engine


def start_server(folder: Path, log: Path) -> tuple[subprocess.Popen, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = "from transformers.cli.transformers import main; main()"
    arguments = ["serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", command, *arguments], stdout=out, stderr=subprocess.STDOUT, env=environment
        )
    return process, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def server(engine, tmp_path_factory):
    """The engine's weights behind `transformers serve`; fails where the server does not come up."""
    for package in ("transformers", "fastapi", "uvicorn", "openai"):
        pytest.importorskip(package, reason="needs transformers[serving]")
    folder = tmp_path_factory.mktemp("served")
    engine.save(folder / "model")
    settings = folder / "model" / "tokenizer_config.json"
    content = json.loads(settings.read_text())
    # as the lab engine reads messages: their contents, joined by newlines
    content["chat_template"] = (
        "{{ bos_token }}{% for m in messages %}{{ m['content'] }}"
        "{% if not loop.last %}\n{% endif %}{% endfor %}"
    )
    settings.write_text(json.dumps(content))
    log = folder / "log"
    process, address = start_server(folder / "model", log)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2).read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"transformers serve did not come up:\n{log.read_text()[-3000:]}")
                time.sleep(0.2)
        yield f"{address}/v1", str(folder / "model")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def over_http(server, api="completions", **options) -> Judge:
    url, model = server
    endpoint = Endpoint(url, model, api=api, concurrency=2, timeout=30, retry=Retry(attempts=2, patience=40))
    return Judge(endpoint, sampling={"max_new_tokens": 7}, **options)


def in_process(engine, **options) -> Judge:
    return Judge(EngineClient(engine), sampling={"max_new_tokens": 7}, **options)


def test_an_engine_rates(engine):
    texts = answers(100, seed=7)
    judge = in_process(engine, price_out=1.0)
    signal = judge.rate(TEMPLATE, scale="raw")(Rollouts(completion=texts))
    expected = np.array([wanted(text) for text in texts])
    assert (signal.values == expected).mean() >= 0.9
    assert (
        judge.usage.answered == len(set(texts)) and judge.usage.completion_tokens > 0 and judge.usage.cost > 0
    )


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_the_same_judge_behind_a_real_server(engine, server, api, tmp_path):
    batch = Rollouts(completion=answers(12, seed=11))
    judge = over_http(server, api, cache=tmp_path / "c.sqlite", price_in=1.0)
    served, local = judge.rate(TEMPLATE, scale="raw"), in_process(engine).rate(TEMPLATE, scale="raw")
    values = served(batch).values
    np.testing.assert_array_equal(values, local(batch).values)
    assert np.isfinite(values).all() and set(values) == {2.0, 8.0}
    assert judge.usage.failed == 0 and judge.usage.unmetered == 0
    assert judge.usage.prompt_tokens > 12 * 40 and judge.usage.cost > 0
    attempts = judge.usage.attempts
    np.testing.assert_array_equal(served(batch).values, values)
    assert judge.usage.attempts == attempts


def test_texts_are_equal_over_http_and_in_process(engine, server):
    prompts = ["Hello", "What is 1 + 1?", "ünïcödé 漢"]
    said = [[reply.text for reply in judge.ask(prompts)] for judge in (over_http(server), in_process(engine))]
    assert said[0] == said[1] and all(said[0])


def test_a_server_without_logprobs(engine, server):
    template = {**TEMPLATE, "verdict": {"use": "scale", "low": 1, "high": 5}}
    signal = over_http(server).rate(template, read="logprobs")(Rollouts(completion=["good 1", "bad 2"]))
    assert signal.cause_counts() == {"judge: the endpoint offers no log-probs": 2}


def test_a_server_that_refuses_a_request(server):
    judge = over_http(server)
    judge.client.body = {"no_such_field": 1}
    signal = judge.rate(TEMPLATE)(Rollouts(completion=["good 1"]))
    assert signal.missing == 1 and next(iter(signal.cause_counts())).startswith("judge: HTTP 422: ")


def test_labels_are_scored_exactly(engine):
    judge = in_process(engine)
    query = Query.of("Is it?")
    reply = judge.ask([Query(query.messages, labels=("Yes", "No!"))])[0]
    for label in ("Yes", "No!"):
        batch = engine.rollouts_from_text([list(query.messages)], [label])
        exact = float(engine.logprobs(batch).values[:-1].sum())  # without the end of text
        assert reply.label_logprobs[label] == pytest.approx(exact, abs=1e-4)
    template = {**TEMPLATE, "verdict": {"use": "yes_no"}}
    signal = judge.rate(template, read="logprobs", min_mass=0.0)(Rollouts(completion=["good", "bad"]))
    assert ((signal.values > 0) & (signal.values < 1)).all()


def test_votes_do_not_depend_on_the_batch(engine):
    batch = Rollouts(completion=answers(9, seed=5))
    found = []
    for size in (1, 4, 64):
        judge = Judge(
            EngineClient(engine, batch=size), sampling=Sampling(max_new_tokens=7, temperature=1.5, seed=4)
        )
        total, parts = judge.rate(TEMPLATE, votes=5, scale="raw").explain(batch)
        found.append((total.values, parts["spread"].values))
    for values, spread in found[1:]:
        np.testing.assert_array_equal(values, found[0][0])
        np.testing.assert_array_equal(spread, found[0][1])


def test_one_prompt_too_long_costs_only_itself(engine):
    batch = Rollouts(completion=["good 1", "x" * 2000, "bad 1"])
    signal = in_process(engine).rate(TEMPLATE, scale="raw")(batch)
    assert np.isnan(signal.values).tolist() == [False, True, False]
    assert signal.causes[1].startswith("judge: EngineError: prompt # ")


def test_replies_of_changing_weights_are_not_kept(engine, tmp_path):
    kept = Judge(
        EngineClient(engine, identity="lab-7"), cache=tmp_path / "a.sqlite", sampling={"max_new_tokens": 3}
    )
    loose = Judge(EngineClient(engine), cache=kept.cache, sampling={"max_new_tokens": 3})
    for judge, entries in ((loose, 0), (kept, 1), (kept, 1)):
        judge.ask(["hello"])
        assert len(kept.cache) == entries
    assert kept.usage.cached == 1


def test_the_engine_of_the_run(engine):
    reward = Judge(NamedEngine("policy"), sampling={"max_new_tokens": 7}).rate(TEMPLATE, scale="raw")
    batch = Rollouts(completion=["good 5", "bad 6"])
    assert reward(batch, Context(engines={"policy": engine})).missing == 0
