"""Group statistics across processes: two processes hold one group between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trl", reason="the extra 'trl' is not installed")
pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("two_processes.py")


def test_a_group_across_two_processes(tmp_path: Path) -> None:
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_addr",
        "127.0.0.1",
    ]
    launch += ["--master_port", "0", "--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [*launch, str(SCRIPT), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank{i}.json").read_text()) for i in range(2)]
    assert len(ranks[0]) == len(ranks[1]) == 2
    for one, two in zip(*ranks, strict=True):
        texts = one["texts"] + two["texts"]
        rewards = np.array([sum(c.isdigit() for c in text) / 12 for text in texts])
        expected = rewards - (rewards.sum() - rewards) / 3  # leave-one-out over all four
        np.testing.assert_allclose(one["advantages"] + two["advantages"], expected, atol=1e-6)
        np.testing.assert_allclose(one["logged"], expected, atol=1e-6)
        # a reward that looks at groups saw all four, on both processes
        assert one["ranks"] == two["ranks"] == np.argsort(np.argsort(rewards, kind="stable")).tolist()
