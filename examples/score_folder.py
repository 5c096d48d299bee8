"""Score every file of saved rollouts in a folder with a function of your own.

    python examples/score_folder.py ROLLOUTS_FOLDER OUT_FOLDER

The function below runs in worker processes with a time and a memory limit; what it raises, or does not
return in time, is a missing value with a counted cause. Kill the script whenever you like and start it again:
files that are done are left alone, and the one under way goes on where it was. Verdicts are cached, so that
scoring the same answers again costs nothing until you edit this file.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from guerdon.score import Limits, Options, score_file

NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")


def last_number(completion: str, reference: str, tolerance: float = 1e-6) -> float:
    """1 where the last number in the completion is the reference."""
    found = NUMBER.findall(completion)
    if not found:
        return 0.0
    return float(abs(float(found[-1].replace(",", "")) - float(reference)) <= tolerance)


def main(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    options = Options(resume=True, skip_bad=True, limits=Limits(item_seconds=1.0))
    for path in sorted(source.iterdir()):
        if not path.name.endswith((".jsonl", ".jsonl.gz", ".parquet")) or (target / path.name).exists():
            continue
        rewards = {"correct": {"use": f"{__file__}:last_number", "tolerance": 1e-4}}
        report = score_file(path, target / path.name, rewards, options=options)
        tally = report.tally.rewards["correct"]
        print(
            f"{path.name}: {tally.records} records, {tally.mean:.1%} correct, "
            f"{tally.cached + tally.repeated} known, {report.tally.skipped} broken"
        )
        for cause, count in tally.causes.most_common(3):
            print(f"    {count} not scored: {cause}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
