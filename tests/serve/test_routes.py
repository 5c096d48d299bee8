"""What the routes answer, and that it is what a local call gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from asking import ask, post, record
from running_server import serving

import guerdon as gd
from guerdon.data import io
from guerdon.score import Options, score_file
from guerdon.serve.client import Client


def test_score_answers_each_record_in_order(open_server: str) -> None:
    records = [record(0), record(1, right=False), record(2)]
    status, found = post(open_server, "/score", {"records": records, "rewards": ["match"]})
    assert status == 200
    assert [result["id"] for result in found["results"]] == ["r0", "r1", "r2"]
    values = [result["signals"]["match"] for result in found["results"]]
    assert values == [{"level": "rollout", "values": [worth]} for worth in (1.0, 0.0, 1.0)]


def test_all_rewards_are_asked_and_groups_are_seen_whole(open_server: str) -> None:
    records = [record(1, group="a"), record(10, group="a"), record(100, group="b")]
    _, found = post(open_server, "/score", {"records": records})
    assert [r["signals"]["length"]["values"] for r in found["results"]] == [[0.0], [1.0], [0.0]]
    assert {name for r in found["results"] for name in r["signals"]} == {"match", "length"}


def test_missing_has_a_cause(open_server: str) -> None:
    records = [{"completion": "4"}, record(1)]
    _, found = post(open_server, "/score", {"records": [{**records[0], "prompt": "p", "reference": None}]})
    signal = found["results"][0]["signals"]["match"]
    assert signal["values"] == [None]
    assert "reference" in signal["causes"]["0"]


def test_lines_in_lines_out(open_server: str) -> None:
    records = [record(i, right=i % 3 > 0) for i in range(200)]
    body = "".join(json.dumps(r) + "\n" for r in records).encode()
    status, headers, content = ask(
        open_server, "POST", "/score?reward=match", body, {"content-type": "application/x-ndjson"}
    )
    lines = [json.loads(line) for line in content.splitlines()]
    assert status == 200 and headers["content-type"].startswith("application/x-ndjson")
    assert [line["id"] for line in lines] == [r["id"] for r in records]
    assert [line["signals"]["match"]["values"][0] for line in lines] == [float(i % 3 > 0) for i in range(200)]


def test_lines_keep_groups_together(open_server: str) -> None:
    records = [record(10**i, group="g") for i in range(5)] * 30
    body = "\n".join(json.dumps(r) for r in records).encode()
    _, _, content = ask(open_server, "POST", "/score", body, {"content-type": "application/x-ndjson"})
    lengths = [json.loads(line)["signals"]["length"]["values"][0] for line in content.splitlines()]
    assert lengths == [0.0, 1.0, 2.0, 3.0, 4.0] * 30


def test_credit_equals_the_local_call(open_server: str) -> None:
    outcome = [1.0, 0.0, 0.0, 1.0]
    records = [
        {"group": "g", "tokens": [1] * n, "signals": {"outcome": {"level": "rollout", "values": [value]}}}
        for n, value in zip((2, 3, 1, 4), outcome, strict=True)
    ]
    with Client(open_server) as client:
        found = client.credit(records, "grpo", {"scale": "batch"})
    tokens = gd.Ragged.from_lengths(np.ones(10, np.int32), np.array([2, 3, 1, 4]))
    rollouts = gd.Rollouts(tokens=tokens, group=[0] * 4)
    own = gd.credit.grpo(scale="batch")(rollouts, {"outcome": gd.Signal(outcome, "rollout")})
    assert [value for row in found for value in row] == own.values.tolist()
    assert [len(row) for row in found] == [2, 3, 1, 4]


def test_credit_refuses_what_it_does_not_know(open_server: str) -> None:
    status, found = post(open_server, "/credit", {"records": [record(1)], "method": "grpoo"})
    assert status == 422 and "did you mean 'grpo'" in found["error"]["message"]
    asked = {"records": [record(1)], "method": "grpo", "settings": {"scales": 1}}
    status, found = post(open_server, "/credit", asked)
    assert status == 422 and "method.scales" in found["error"]["message"]
    status, found = post(open_server, "/credit", {"records": [record(1)], "method": "grpo"})
    assert status == 422 and "outcome" in found["error"]["message"]


def test_openrlhf_protocol(open_server: str) -> None:
    asked = {"query": ["<s>say 4</s>4"], "prompts": ["say 4</s>"], "labels": ["4"]}
    assert post(open_server, "/openrlhf", asked)[1] == {
        "rewards": [1.0],
        "scores": [1.0],
        "extra_logs": {"length": [0.0]},
    }
    asked = {"query": ["p: 4", "p: 5"], "prompts": ["p: ", "p: "], "labels": ["4", "4"]}
    assert post(open_server, "/openrlhf", asked)[1]["rewards"] == [1.0, 0.0]
    _, found = post(open_server, "/openrlhf", {"query": ["4"], "prompts": [""], "labels": [None]})
    assert found["rewards"] is None and found["scores"] is None
    status, found = post(open_server, "/openrlhf", {"query": ["4"], "prompts": [], "labels": ["4"]})
    assert status == 422 and "prompts" in found["error"]["message"]
    _, found = post(
        open_server, "/openrlhf?reward=length", {"query": ["4"], "prompts": [""], "labels": ["4"]}
    )
    assert found == {"rewards": [0.0], "scores": [0.0], "extra_logs": {"match": [1.0]}}
    asked = {"query": ["4", "4"], "prompts": ["", ""], "labels": [None, "4"]}
    _, found = post(open_server, "/openrlhf?missing=-0.5", asked)
    assert found["rewards"] == [-0.5, 1.0] and found["extra_logs"]["missing"] == [1.0, 0.0]
    for wrong in ("nan", "much", ""):
        status, found = post(open_server, f"/openrlhf?missing={wrong}", asked)
        assert status == 422 and "missing" in found["error"]["message"]


def test_page_health_and_rewards(open_server: str) -> None:
    status, _, content = ask(open_server, "GET", "/openapi.json")
    paths = json.loads(content)["paths"]
    assert status == 200 and {"/score", "/credit", "/openrlhf", "/healthz", "/metrics"} <= set(paths)
    assert paths["/score"]["post"]["requestBody"]["content"].keys() == {
        "application/json",
        "application/x-ndjson",
    }
    assert ask(open_server, "GET", "/docs")[0] == 200
    assert json.loads(ask(open_server, "GET", "/healthz")[2]) == {"status": "ok"}
    served = json.loads(ask(open_server, "GET", "/rewards")[2])
    assert {label: each["looks_at"] for label, each in served.items()} == {
        "match": "sample",
        "length": "group",
    }


def test_metrics_count(tmp_path: Path) -> None:
    with serving({"match": "verify.match"}, Options(workers=0, cache=tmp_path / "v.sqlite")) as url:
        with Client(url) as client:
            client.score([record(i) for i in range(5)])
            client.score([record(i) for i in range(5)])
        ask(url, "POST", "/score", b"{")
        text = ask(url, "GET", "/metrics")[2].decode()
    assert 'guerdon_records_total{reward="match"} 10' in text
    assert 'guerdon_repeated_total{reward="match"} 5' in text
    assert 'guerdon_requests_total{route="/score",status="200"} 2' in text
    assert 'guerdon_requests_total{route="/score",status="400"} 1' in text
    assert 'guerdon_request_seconds_count{route="/score"} 3' in text
    assert "guerdon_waiting_requests 0" in text
    assert "guerdon_waiting_bytes 0" in text


def test_request_ids(open_server: str) -> None:
    headers = {"content-type": "application/json", "x-request-id": "run7-step3"}
    _, named, content = ask(open_server, "POST", "/score", b"no", headers)
    assert named["x-request-id"] == "run7-step3"
    assert json.loads(content)["error"]["request_id"] == "run7-step3"
    made = ask(open_server, "GET", "/healthz", headers={"x-request-id": "bad id!"})[1]["x-request-id"]
    assert len(made) == 32 and made != ask(open_server, "GET", "/healthz")[1]["x-request-id"]


def test_the_cache_is_that_of_guerdon_score(tmp_path: Path) -> None:
    cache, source = tmp_path / "verdicts.sqlite", tmp_path / "in.jsonl"
    records = [record(i, right=i % 2 > 0) for i in range(40)]
    source.write_text("".join(json.dumps(r) + "\n" for r in records))
    with serving({"match": "verify.match"}, Options(workers=0, cache=cache)) as url, Client(url) as client:
        first = client.score(records)
    report = score_file(
        source, tmp_path / "out.jsonl", ["match=verify.match"], options=Options(workers=0, cache=cache)
    )
    assert report.tally.rewards["match"].cached == 40
    values = io.read(tmp_path / "out.jsonl").signals["match"].values
    assert values.tolist() == [signals["match"]["values"][0] for signals in first]


def test_workers_with_limits(tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "import os, time\n"
        "def odd(completion):\n"
        "    if completion == '2': time.sleep(60)\n"
        "    if completion == '4': os._exit(3)\n"
        "    return float(int(completion) % 2)\n"
    )
    from guerdon.score import Limits

    options = Options(workers=1, cache=None, limits=Limits(item_seconds=4.0))
    with serving({"odd": f"{code}:odd"}, options) as url, Client(url) as client:
        found = client.score([record(i) for i in range(6)])
        text = ask(url, "GET", "/metrics")[2].decode()
    assert [signals["odd"]["values"][0] for signals in found] == [0.0, 1.0, None, 1.0, None, 1.0]
    assert found[2]["odd"]["causes"]["0"] == "timed out after 4 s"
    assert "exit code 3" in found[4]["odd"]["causes"]["0"]
    assert "guerdon_workers_replaced_total 2" in text


def test_a_reward_of_whole_files_is_refused() -> None:
    class All(gd.scoring.SampleReward):
        name, shape = "all", "all"

    with pytest.raises(gd.errors.RecipeError, match="whole file"), serving({"all": All()}):
        pass
