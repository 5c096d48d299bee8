"""What runs inside the sandbox: standard library only, imported by path, never through `guerdon`.

`warden` is the pre-imported process that forks; `player` is the candidate's process; `judge` holds the tests
and decides. The candidate's process never sees the tests, and nothing it writes is taken as a verdict.
"""
