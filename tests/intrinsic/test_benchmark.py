"""The benchmark for CUDA on a tiny Qwen2: both forms give the same log-probs, shared prompts or not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "intrinsic_cuda.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("intrinsic_cuda", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("layout", ["shared", "apart"])
def test_both_forms_agree(benchmark: ModuleType, layout: str, tmp_path: Path):
    found = []
    for form in benchmark.FORMS:
        report = benchmark.measure(form, layout, True, "cpu", tmp_path / f"{form}.npy")
        assert report["tokens"] == 256 and report["per_second"] > 0 and report["mib"] >= 0
        found.append(np.load(tmp_path / f"{form}.npy"))
    np.testing.assert_allclose(*found, atol=1e-4)
