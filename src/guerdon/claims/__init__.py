"""claims: what a publication promises, tried at small scale against its baseline.

Enters: a slug. Leaves: one number per arm and seed, their paired difference with an interval, a verdict.
Experiments are modules `guerdon.claims.<family>.<slug with underscores>` with one `CLAIM`; results lie in
`guerdon/claims/results`.
"""

from guerdon.claims.claim import Claim, Outcome, find, slugs
from guerdon.claims.run import run_claim
from guerdon.claims.stored import load_result, results

__all__ = ["Claim", "Outcome", "find", "load_result", "results", "run_claim", "slugs"]
