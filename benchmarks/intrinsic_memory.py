"""Peak memory and forwarded tokens of log-prob scoring, against the whole table of logits.

    python benchmarks/intrinsic_memory.py

Prints, per vocabulary and number of tokens, the growth of the process's peak memory in MiB (each case in a
process of its own) of chunked statistics and of log_softmax over all logits at once, and their ratio.
"""

from __future__ import annotations

import resource
import subprocess
import sys

CASES = [(8_000, 1024), (32_000, 1024), (32_000, 4096), (64_000, 4096)]
WIDTH = 64


def measure(form: str, vocabulary: int, tokens: int) -> float:
    """Growth of the peak in MiB."""
    import torch

    from guerdon.engines.distributions import distribution_stats

    torch.set_num_threads(1)
    torch.manual_seed(0)
    hidden, weight = torch.randn(tokens, WIDTH), torch.randn(vocabulary, WIDTH)
    targets = torch.randint(0, vocabulary, (tokens,))
    torch.log_softmax(hidden[:8] @ weight.T, dim=-1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.no_grad():
        if form == "chunked":
            distribution_stats(
                hidden, lambda h: h @ weight.T, targets, vocabulary, chunk=max(1, (1 << 22) // vocabulary)
            )
        else:
            logprobs = torch.log_softmax(hidden @ weight.T, dim=-1)
            logprobs.gather(1, targets[:, None])
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Every case in fresh processes."""
    if len(sys.argv) == 4:
        print(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
        return
    print(f"{'vocabulary':>10} {'tokens':>7} {'chunked MiB':>12} {'whole MiB':>10} {'ratio':>6}")
    for vocabulary, tokens in CASES:
        chunked, whole = (
            float(
                subprocess.run(
                    [sys.executable, __file__, form, str(vocabulary), str(tokens)],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for form in ("chunked", "whole")
        )
        print(
            f"{vocabulary:>10} {tokens:>7} {chunked:>12.0f} {whole:>10.0f} {whole / max(chunked, 1):>6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
