"""The description of the server, and a program that reads it and tries what it allows and forbids."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from asking import ask, post, record
from running_server import serving

TOKEN = {"authorization": "Bearer s3cret"}


def described(url: str) -> dict[str, Any]:
    return json.loads(ask(url, "GET", "/openapi.json")[2])


def test_without_a_token_it_names_the_rewards(open_server: str) -> None:
    paths = described(open_server)["paths"]
    asked = paths["/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert asked["rewards"]["items"]["enum"] == ["match", "length"]
    assert paths["/openrlhf"]["post"]["parameters"][0]["schema"]["items"]["enum"] == ["match", "length"]
    credit = paths["/credit"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert {"grpo", "gae", "levels"} <= set(credit["method"]["enum"])
    assert "text/plain" in paths["/metrics"]["get"]["responses"]["200"]["content"]
    assert not any("security" in operation for path in paths.values() for operation in path.values())


def test_with_a_token_it_says_where_and_names_no_reward() -> None:
    with serving({"secretive": "verify.match"}, token="s3cret") as url:
        document = described(url)
        ask(url, "GET", "/openapi.json")  # asked twice, described the same
        assert described(url) == document
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    guarded = {path for path, each in document["paths"].items() if "security" in next(iter(each.values()))}
    assert guarded == {"/score", "/credit", "/openrlhf", "/rewards", "/metrics"}
    assert "secretive" not in json.dumps(document)


def test_the_query_names_rewards_for_json_too(open_server: str) -> None:
    _, found = post(open_server, "/score?reward=length", {"records": [record(1)]})
    assert set(found["results"][0]["signals"]) == {"length"}
    _, found = post(open_server, "/score?reward=length&reward=match", {"records": [record(1)], "rewards": []})
    assert set(found["results"][0]["signals"]) == {"length", "match"}
    status, found = post(open_server, "/score?reward=length", {"records": [record(1)], "rewards": ["match"]})
    assert status == 422 and "in the body and in the query" in found["error"]["message"]
    assert post(open_server, "/score?reward=nothing", {"records": [record(1)]})[0] == 422


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed")
@pytest.mark.parametrize("token", [None, "s3cret"])
def test_schemathesis_finds_nothing(token: str | None, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    with serving({"match": "verify.match"}, token=token) as url:
        command = [
            str(program),
            "run",
            f"{url}/openapi.json",
            "--no-color",
            "--seed",
            "1",
            "--generation-deterministic",
        ]
        command += ["--request-timeout", "60"]
        # Which labels or tokens fit together is more than a schema can say.
        command += ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-examples", "40"]
        command += [] if token is None else ["--header", f"Authorization: Bearer {token}"]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
        assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-1000:]
        assert "6 passed" in ended.stdout
        metrics = ask(url, "GET", "/metrics", headers=TOKEN)[2].decode()
    assert 'route="/score",status="200"' in metrics and 'status="5' not in metrics
