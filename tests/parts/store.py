"""Settings of a store, as in an environment file."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """The `[store]` of an environment."""

    url: str
    region: str = ""
    endpoint: str = ""
    profile: str = ""
    profiles: dict[str, str] = field(default_factory=dict)
    max_parts: int = 10000
