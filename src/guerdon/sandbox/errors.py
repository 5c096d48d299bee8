"""What the sandbox raises."""

from __future__ import annotations

from guerdon.errors import GuerdonError


class SandboxError(GuerdonError, RuntimeError):
    """The sandbox cannot isolate here, or failed for a reason that is not the candidate's."""
