"""Claims of benchmarks: whether what they measure is what counts."""
