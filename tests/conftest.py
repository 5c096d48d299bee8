"""Idle OpenMP threads sleep instead of spinning, as in the command line: tests share the machine's cores."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
