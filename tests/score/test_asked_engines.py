"""Rewards that ask a model, on saved rollouts: engines named on a command line, checked, part of cache keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scored import causes, read_lines, values, write_lines

import guerdon
from guerdon.cli import main
from guerdon.context import Context
from guerdon.engines.fingerprint import fingerprint
from guerdon.engines.hf import HFEngine
from guerdon.engines.lab import LabEngine
from guerdon.engines.tokenizer import ByteTokenizer
from guerdon.errors import EngineError, RecipeError
from guerdon.registry import build
from guerdon.score import Options, score_file
from guerdon.score.engines import open_engines

SETTINGS: dict[str, dict[str, Any]] = {
    "likelihood-rewards": {"opening": "#"},
    "rlpr": {"opening": "#", "baseline": "#"},
    "dro-r3": {"opening": "#", "masked": "#"},
    "rlp": {},
    "crew": {},
    "self-aligned-reward": {},
    "laser": {"token": 259},
    "flr": {},
}


def tiny(seed: int = 0, context: int = 128) -> LabEngine:
    made = LabEngine(dim=16, layers=1, heads=2, context=context, device="cpu", seed=seed)
    with torch.no_grad():
        for parameter in made.parameters().values():
            if parameter.dim() == 2:
                parameter.mul_(4.0)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engine") / "lab"
    tiny().save(path)
    return path


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GUERDON_CACHE", str(tmp_path / "cache"))


def saved(n: int = 8, tokens: bool = True) -> list[dict[str, Any]]:
    """Two to a group, with the byte tokenizer's ids."""
    records: list[dict[str, Any]] = []
    for i in range(n):
        text = f"so {i}#\\boxed{{{i % 3}}}"
        record = {"group": i // 2, "prompt": f"{i // 2}+1=", "completion": text, "reference": str(i // 2)}
        if tokens:
            record["tokens"] = ByteTokenizer().encode(text)
        records.append({"id": f"r{i}", **record})
    return records


def run(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["score", *map(str, arguments)])
    code = ended.value.code
    return 0 if code is None else int(code)


def direct(source: Path, slug: str, engine: Any) -> list[float]:
    """The reward's own values, group by group."""
    rollouts = guerdon.read(source)
    reward = build("reward", {"use": slug, **SETTINGS[slug]})
    labels, n = rollouts.groups()
    parts = [
        reward(rollouts.select(labels == g), Context(engines={"policy": engine})).values for g in range(n)
    ]
    return np.concatenate(parts).tolist()


@pytest.mark.parametrize("slug", SETTINGS)
@pytest.mark.parametrize("tokens", [True, False], ids=["ids", "text"])
def test_the_values_are_the_rewards_own(tmp_path: Path, folder: Path, slug: str, tokens: bool):
    source, out = write_lines(tmp_path / "in.jsonl", saved(tokens=tokens)), tmp_path / "out.jsonl"
    given = [f"--set={key}={json.dumps(value)}" for key, value in SETTINGS[slug].items()]
    assert run(source, "-r", slug, "-e", folder, "--out", out, "--no-cache", *given) == 0
    found = values(out, slug)
    assert None not in found
    np.testing.assert_array_equal(found, direct(source, slug, tiny()))


def test_votes_and_groups_need_no_engine_and_stay_whole(tmp_path: Path):
    source, out = write_lines(tmp_path / "in.jsonl", saved(7)), tmp_path / "out.jsonl"
    assert run(source, "-r", "empo", "--set", "equal=text", "--out", out, "--workers", 0) == 0
    assert causes(out, "empo") == {6: "a group of one cannot vote"}
    twins = [{**record, "meta": {"pair": record["group"] // 2}} for record in saved(8)]
    assert run(write_lines(source, twins), "-r", "co-reward", "--out", out, "--workers", 0) == 0
    assert None not in values(out, "co-reward")
    apart = [saved(4)[i] for i in (0, 2, 1, 3)]
    assert run(write_lines(source, apart), "-r", "empo", "--out", out, "--workers", 0) == 2


def test_a_run_folder_gives_its_newest_checkpoint(tmp_path: Path):
    from guerdon.store import Run

    with Run.create(tmp_path / "run", {"steps": 2}) as training:
        assert run(write_lines(tmp_path / "in.jsonl", saved()), "-r", "crew", "-e", tmp_path / "run",
                   "--out", tmp_path / "out.jsonl") == 2  # fmt: skip
        for step, seed in ((1, 1), (2, 2)):
            training.checkpoint(step, tiny(seed).save)
    opened = open_engines([str(tmp_path / "run"), f"reference={tmp_path / 'run/checkpoints/step_000001'}"])
    assert fingerprint(opened["policy"]) == fingerprint(tiny(2))
    assert fingerprint(opened["reference"]) == fingerprint(tiny(1))
    assert opened["policy"].frozen


def test_a_transformers_folder_scores_alike(tmp_path: Path, folder: Path):
    source = write_lines(tmp_path / "in.jsonl", saved())
    hf = HFEngine(model=str(folder), device="cpu")
    again = HFEngine(model=str(folder), device="cpu")
    assert fingerprint(hf) == fingerprint(again) != fingerprint(tiny())
    report = score_file(
        source,
        tmp_path / "out.jsonl",
        ["likelihood-rewards"],
        {"opening": "#"},
        Options(workers=0, cache=None),
        Context(engines={"policy": hf}),
    )
    assert report.tally.records == 8
    found = values(tmp_path / "out.jsonl", "likelihood-rewards")
    np.testing.assert_allclose(found, direct(source, "likelihood-rewards", tiny()), atol=1e-4)


def test_the_engine_is_part_of_the_cache_key(tmp_path: Path, folder: Path, capfd: Any):
    source, out = write_lines(tmp_path / "in.jsonl", saved()), tmp_path / "out.jsonl"
    other = tmp_path / "other"
    tiny(1).save(other)
    seen = []
    for where in (folder, folder, other, folder):
        capfd.readouterr()
        assert run(source, "-r", "crew", "-e", where, "--out", out, "--json") == 0
        seen.append(json.loads(capfd.readouterr().out)["rewards"]["crew"]["cached"])
    assert seen == [0, 8, 0, 8]


def test_fingerprints():
    base = fingerprint(tiny())
    assert base == fingerprint(tiny()) and len(base) == 32
    moved = tiny()
    with torch.no_grad():
        next(iter(moved.parameters().values())).view(-1)[0] += 1e-3
    longer = tiny(context=64)
    assert len({base, fingerprint(tiny(1)), fingerprint(moved), fingerprint(longer)}) == 4
    assert fingerprint(object()) is None


def test_what_only_talks_is_refused_before_anything_is_scored(tmp_path: Path):
    class Talker:
        """Text in, text out."""

        tokenizer = ByteTokenizer()

    source = write_lines(tmp_path / "in.jsonl", saved())
    with pytest.raises(EngineError, match="crew: Talker gives no log-probs"):
        score_file(source, tmp_path / "out.jsonl", ["crew"], context=Context(engines={"policy": Talker()}))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "crew: this reward asks a model; give --engine FOLDER"),
        (["-e", "nowhere"], "--engine nowhere: no such folder"),
        (["-e", "."], "holds no engine"),
        (["-e", "x", "--on", "ray"], "--on local only"),
    ],
)
def test_engines_that_cannot_be_had(tmp_path: Path, capfd: Any, arguments: list[str], message: str,
                                    monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    source = write_lines(tmp_path / "in.jsonl", saved())
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert run(source, "-r", "crew", *arguments, "--out", tmp_path / "out.jsonl") == 2
    errors = capfd.readouterr().err
    assert errors.startswith("error: ") and message in errors


def test_two_engines_of_one_name(folder: Path):
    with pytest.raises(RecipeError, match="'policy' already"):
        open_engines([str(folder), f"policy={folder}"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([70, 71, 72], "its token ids read 'CDE' under this tokenizer"),
        ([5000], "token id 5000 is outside this vocabulary of 264"),
    ],
)
def test_token_ids_of_another_tokenizer_are_refused_by_line(
    tmp_path: Path, folder: Path, capfd: Any, wrong: list[int], message: str
):
    records = saved()
    records[4]["tokens"] = wrong
    source, out = write_lines(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl"
    assert run(source, "-r", "crew", "-e", folder, "--out", out) == 2
    errors = capfd.readouterr().err
    assert "in.jsonl line 5: " in errors and message in errors
    assert not out.exists()


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, folder: Path):
    source, out, whole = (tmp_path / name for name in ("in.jsonl", "out.jsonl", "whole.jsonl"))
    write_lines(source, saved(2000))
    engines = {"policy": tiny()}
    seen: list[int] = []

    def go(target: Path, stop: Any = None, resume: bool = False, context: Any = engines) -> Any:
        return score_file(
            source,
            target,
            ["crew"],
            options=Options(workers=0, cache=None, resume=resume),
            context=Context(engines=context),
            watch=lambda records, total: seen.append(records),
            stop=stop,
        )

    go(whole)
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        go(out, stop=lambda: bool(seen))
    assert (tmp_path / "out.jsonl.unfinished").is_dir()
    with pytest.raises(guerdon.errors.StoreError, match="engines was"):
        go(out, resume=True, context={"policy": tiny(1)})
    report = go(out, resume=True)
    assert 0 < report.resumed < 2000
    assert out.read_bytes() == whole.read_bytes()


def test_a_self_reward_with_a_memory_sees_groups_in_order(tmp_path: Path, folder: Path):
    source, out = write_lines(tmp_path / "in.jsonl", saved()), tmp_path / "out.jsonl"
    given = ["--set", "outcome={use: verify.math}"]
    assert run(source, "-r", "memory-r-plus", "-e", folder, "--out", out, *given) == 0
    first = read_lines(out)
    assert run(source, "-r", "memory-r-plus", "-e", folder, "--out", out, *given) == 0
    assert read_lines(out) == first and len(first) == 8
    assert any(values(out, "memory-r-plus"))
