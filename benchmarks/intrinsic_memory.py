"""Peak memory of log-prob scoring against the whole table of logits, over vocabularies and lengths.

    python benchmarks/intrinsic_memory.py

Prints, per vocabulary and number of tokens, the growth of the process's peak memory in MiB (each case in a
process of its own) of chunked log-probs, of all five chunked statistics, and of log_softmax over all logits
at once. A chunk has as many tokens as fit into a fixed number of bytes: its peak grows with neither.

glibc keeps freed buffers of this size in its heap, where small allocations cut them up: without the two
MALLOC_ settings below the chunked peak wanders between 60 and 160 MiB from case to case, in no relation to
the vocabulary. With them freed memory is given back, and the peak is that of what is alive.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys

CASES = [(8_000, 1024), (8_000, 4096), (32_000, 1024), (32_000, 4096), (128_000, 1024), (128_000, 2048)]
WIDTH = 64
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}


def measure(form: str, vocabulary: int, tokens: int) -> float:
    """Growth of the peak in MiB."""
    import torch

    from guerdon.engines.distributions import STATISTICS, distribution_stats

    torch.set_num_threads(1)
    torch.manual_seed(0)
    hidden, weight = torch.randn(tokens, WIDTH), torch.randn(vocabulary, WIDTH)
    targets = torch.randint(0, vocabulary, (tokens,))
    torch.log_softmax(hidden[:8] @ weight.T, dim=-1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.no_grad():
        if form == "whole":
            torch.log_softmax(hidden @ weight.T, dim=-1).gather(1, targets[:, None])
        else:
            asked = ("logprob",) if form == "chunked" else STATISTICS
            distribution_stats(hidden, lambda h: h @ weight.T, targets, vocabulary, asked)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Every case in fresh processes."""
    if len(sys.argv) == 4:
        print(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
        return
    forms = ("chunked", "all five", "whole")
    print(
        f"{'vocabulary':>10} {'tokens':>7} {'chunked MiB':>12} {'all five':>9} {'whole MiB':>10} {'ratio':>6}"
    )
    for vocabulary, tokens in CASES:
        command = [sys.executable, __file__]
        peaks = [
            float(
                subprocess.run(
                    [*command, form, str(vocabulary), str(tokens)],
                    capture_output=True,
                    text=True,
                    check=True,
                    env={**os.environ, **GIVE_BACK},
                ).stdout
            )
            for form in forms
        ]
        few, five, whole = peaks
        case = f"{vocabulary:>10} {tokens:>7} {few:>12.0f} {five:>9.0f} {whole:>10.0f}"
        print(f"{case} {whole / max(few, 1):>6.1f}", flush=True)


if __name__ == "__main__":
    main()
