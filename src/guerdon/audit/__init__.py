"""audit: attacks and diagnostics of rewards, before a policy finds what pays.

Enters: a reward and problems with known right and wrong answers. Leaves: false-positive rates per attack with
intervals, what else sways the reward, and the over-optimisation curve.
"""

from guerdon.audit.attacks import ATTACKS, Attack
from guerdon.audit.items import ITEM_SETS, Item
from guerdon.audit.run import Audit, audit

__all__ = ["ATTACKS", "ITEM_SETS", "Attack", "Audit", "Item", "audit"]
