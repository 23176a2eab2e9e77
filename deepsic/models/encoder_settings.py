"""What a user chooses of how a model encodes."""

from __future__ import annotations

from dataclasses import dataclass

from deepsic.models.effort import DEFAULT_EFFORT, checked_effort

__all__ = ["EncoderSettings"]


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Arguments of `Codec.load`, which says what each is."""

    tune: str | None = None
    effort: int = DEFAULT_EFFORT
    streams: int | None = None

    def __post_init__(self) -> None:
        checked_effort(self.effort)
