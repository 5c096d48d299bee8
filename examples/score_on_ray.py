"""Score a folder of rollouts on Ray Data.

    pip install 'guerdon[ray,math]'
    python examples/score_on_ray.py ROLLOUTS_FOLDER OUT_FOLDER

Every JSON Lines or Parquet file in the folder is read by Ray, scored by an actor pool, and written as Parquet
with one more column. For one big file with restarts, limits and a verdict cache use
`guerdon score FILE --on ray`.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(source: str, target: str) -> None:
    import ray

    from guerdon.adapters.ray import Score

    ray.init(ignore_reinit_error=True)
    actors = max(1, int(ray.cluster_resources()["CPU"]) - 1)  # one stays free for reading
    files = [str(path) for path in sorted(Path(source).iterdir())]
    readers = {".jsonl": ray.data.read_json, ".parquet": ray.data.read_parquet}
    for suffix, read in readers.items():
        chosen = [name for name in files if name.endswith(suffix)]
        if not chosen:
            continue
        scored = read(chosen).map_batches(
            Score,
            fn_constructor_kwargs={"rewards": {"correct": "verify.math"}},
            batch_size=256,
            compute=ray.data.ActorPoolStrategy(size=actors),
        )
        scored.write_parquet(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
