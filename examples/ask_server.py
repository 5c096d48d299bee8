"""Score records with a running reward server.

    guerdon serve --reward verify.math &
    python examples/ask_server.py rollouts.jsonl [http://127.0.0.1:8077]

The client tries again what may go well another time: a server that restarts, a full queue, a broken
connection. Asking twice is harmless, since verdicts are known by what a record holds.
"""

from __future__ import annotations

import json
import sys

from guerdon.serve.client import Client


def main(path: str, url: str) -> None:
    with open(path, encoding="utf-8") as lines, Client(url) as client:
        records = (json.loads(line) for line in lines if line.strip())
        for signals in client.score_all(records):
            print(json.dumps(signals))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "http://127.0.0.1:8077")
