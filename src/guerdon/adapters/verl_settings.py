"""What verl's configuration says to guerdon: `algorithm.guerdon` and how its sections are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from guerdon.errors import RecipeError
from guerdon.registry import nearest


@dataclass(frozen=True)
class Settings:
    """`algorithm.guerdon` of verl's configuration.

    Attributes:
        credit: parameters of the credit method.
        dense: rewards stand on the last tokens of steps: each that is not 0 ends a step, and `process`, `prm`
            and `steps` hold them (`turn_reward` per turn). A step whose reward is exactly 0 is joined to the
            next one.
        steps: a splitter (`guerdon.data.spans.split`) that cuts turns into steps; needs token ids.
        state: "observation" takes what the environment wrote since the policy's last token (and what the
            policy has written of its turn) for the state before a step; "none" leaves states out.
    """

    credit: Mapping[str, Any] = field(default_factory=dict)
    dense: bool = False
    steps: Any = None
    state: str = "observation"

    def __post_init__(self) -> None:
        if self.state not in ("observation", "none"):
            raise RecipeError(
                f"algorithm.guerdon.state: got {self.state!r}, expected 'observation' or 'none'"
            )
        if not isinstance(self.credit, Mapping):
            raise RecipeError(f"algorithm.guerdon.credit: got {self.credit!r}, expected a mapping")

    @classmethod
    def of(cls, config: Any, defaults: Mapping[str, Any] | None = None) -> Settings:
        """Settings from verl's algorithm configuration, over `defaults`.

        Raises:
            RecipeError: an unknown field.
        """
        section = config.get("guerdon", None) if hasattr(config, "get") else None
        given = {**(defaults or {}), **plain_section(section, "algorithm.guerdon")}
        known = [each.name for each in fields(cls)]
        for key in given:
            if key not in known:
                raise RecipeError(f"algorithm.guerdon.{key}: unknown field{nearest(key, known)}")
        return cls(**given)


def plain_section(section: Any, where: str) -> dict[str, Any]:
    """A section of verl's configuration as plain dicts and lists.

    Raises:
        RecipeError: not a mapping.
    """
    if section is None:
        return {}
    if type(section).__module__.startswith("omegaconf"):
        from omegaconf import OmegaConf  # of verl

        section = OmegaConf.to_container(section, resolve=True)
    if not isinstance(section, Mapping):
        raise RecipeError(f"{where}: got {section!r}, expected a mapping")
    return dict(section)
