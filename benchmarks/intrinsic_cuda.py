"""Log-prob scoring of 64k tokens with a randomly initialised 0.5B Qwen2, against transformers + log_softmax.

    python benchmarks/intrinsic_cuda.py            # needs a CUDA device; says so where there is none
    python benchmarks/intrinsic_cuda.py --small    # a tiny model on whatever is there, to see that it runs

Two layouts: `shared`, 16 samples behind each of 8 prompts, all of 512 tokens; and `apart`, every sample
behind a prompt of its own. The peer runs the whole model in batches of 8 and takes log_softmax of all logits
in float32; both run under bf16 autocast on CUDA. Every form runs in a process of its own, on CUDA a second
time. Memory is what scoring takes beyond the weights: the allocator's peak on CUDA, else the growth of the
resident peak.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FORMS = ("guerdon", "plain")
BATCH = 8
QWEN = {
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
TINY = QWEN | {"vocab_size": 8192, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
               "num_attention_heads": 4}  # fmt: skip
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}


def model_of(config: dict[str, Any], device: str) -> Any:
    """A Qwen2 with weights from seed 0, in float32."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(**config)).to(device).eval()


def sequences(layout: str, small: bool, vocabulary: int) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Contexts of every row and their samples, int64 (rows, length)."""
    prompts, samples, length = (2, 4, 32) if small else (8, 16, 512)
    rng = np.random.default_rng(0)
    rows = prompts * samples
    distinct = [tuple(rng.integers(3, vocabulary, length).tolist()) for _ in range(rows)]
    contexts = [distinct[i // samples if layout == "shared" else i] for i in range(rows)]
    return contexts, rng.integers(3, vocabulary, (rows, length))


def guerdon(model: Any, device: str, contexts: list[tuple[int, ...]], answers: np.ndarray) -> Any:
    """Scoring by the engine: shared prompts, chunked logits."""
    from guerdon.data.ragged import Ragged
    from guerdon.engines.distributions import forced
    from guerdon.engines.hf import HFEngine
    from guerdon.engines.tokenizer import ByteTokenizer

    engine = HFEngine(model=model, tokenizer=ByteTokenizer(), device=device)
    tokens = Ragged.from_lists([row.tolist() for row in answers], dtype=np.int32)
    return lambda: forced(engine, contexts, tokens)["logprob"]


def plain(model: Any, device: str, contexts: list[tuple[int, ...]], answers: np.ndarray) -> Any:
    """Scoring as scripts do it: whole sequences, all logits, log_softmax, gather."""
    import torch

    whole = torch.from_numpy(np.concatenate([np.array(contexts, np.int64), answers], axis=1)).to(device)
    lead = len(contexts[0])

    def score() -> np.ndarray:
        out = []
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            for ids in whole.split(BATCH):
                logits = model(input_ids=ids, use_cache=False).logits[:, lead - 1 : -1]
                logprobs = torch.log_softmax(logits.float(), dim=-1)
                out.append(logprobs.gather(-1, ids[:, lead:, None]).squeeze(-1).flatten().cpu())
        return torch.cat(out).numpy()

    return score


def measure(form: str, layout: str, small: bool, device: str, out: Path) -> dict[str, float]:
    """Tokens per second and peak memory of one form; its log-probs go to a file."""
    import torch

    config = TINY if small else QWEN
    contexts, answers = sequences(layout, small, config["vocab_size"])
    score = (guerdon if form == "guerdon" else plain)(model_of(config, device), device, contexts, answers)
    on_gpu = device == "cuda"
    if on_gpu:
        score()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    began = time.perf_counter()
    found = score()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    peak = (
        torch.cuda.max_memory_allocated()
        if on_gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    np.save(out, found)
    return {"tokens": answers.size, "per_second": answers.size / seconds, "mib": (peak - before) / 2**20}


def child(form: str, layout: str, small: bool, device: str, out: Path) -> dict[str, float]:
    """`measure` in a fresh process."""
    command = [
        sys.executable,
        __file__,
        "--form",
        form,
        "--layout",
        layout,
        "--device",
        device,
        "--out",
        str(out),
    ]
    done = subprocess.run(
        command + ["--small"] * small, capture_output=True, text=True, env={**os.environ, **GIVE_BACK}
    )
    if done.returncode:
        raise SystemExit(f"{form}, {layout}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Both forms in both layouts, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device")
    for name in ("form", "layout", "out"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.form:
        print(json.dumps(measure(given.form, given.layout, given.small, given.device, Path(given.out))))
        return
    import torch

    device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device != "cuda":
        print("no CUDA device here: nothing below is the figure this benchmark is for", flush=True)
        if not given.small:
            raise SystemExit("the 0.5B model is for a GPU; --small runs a tiny one here")
    print(f"{'layout':>7} {'form':>8} {'tokens':>7} {'tokens/s':>10} {'peak MiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for layout in ("shared", "apart"):
            files = {form: Path(folder) / f"{form}.npy" for form in FORMS}
            found = {form: child(form, layout, given.small, device, files[form]) for form in FORMS}
            for form, of in found.items():
                print(f"{layout:>7} {form:>8} {of['tokens']:>7} {of['per_second']:>10.0f} {of['mib']:>9.0f}")
            ours, theirs = (found[form] for form in FORMS)
            apart = np.abs(np.load(files["guerdon"]) - np.load(files["plain"])).max()
            speed, memory = ours["per_second"] / theirs["per_second"], theirs["mib"] / max(ours["mib"], 1)
            print(f"{layout:>7} throughput x{speed:.2f}, peak memory 1/{memory:.1f}, within {apart:.1e}")


if __name__ == "__main__":
    main()
