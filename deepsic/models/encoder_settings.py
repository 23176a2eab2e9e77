"""What a user chooses of how a model encodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepsic.errors import UsageError
from deepsic.models.effort import DEFAULT_EFFORT, checked_effort
from deepsic.models.quality import HALVES, TUNINGS
from deepsic.models.registry import Quick, Tunable

__all__ = ["EncoderSettings", "tunings_of"]


def tunings_of(engine: Any) -> tuple[str, ...]:
    """What the files of a loaded model may be tuned for."""
    return TUNINGS[: engine.tunings] if isinstance(engine, Tunable) else TUNINGS[:1]


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Arguments of `Codec.load`, which says what each is."""

    tune: str
    effort: int
    streams: int | None

    @classmethod
    def of(
        cls, engine: Any, name: str, *, tune: str | None, effort: int, streams: int | None
    ) -> EncoderSettings:
        """For a loaded model. Raises: `UsageError`, for what it hasn't."""
        tunings = tunings_of(engine)
        tune = tune or tunings[-1]
        if tune not in tunings:
            had = ", ".join(tunings)
            raise UsageError(f"model {name!r} can't tune for {tune!r}; it has {had}")
        if checked_effort(effort) != DEFAULT_EFFORT and not isinstance(engine, Quick):
            raise UsageError(f"model {name!r} has one effort")
        two = isinstance(engine, Tunable) and HALVES in engine.coders
        if streams not in (None, 1, *([2] if two else [])):
            had = "1 or 2 streams" if two else "one stream"
            raise UsageError(f"model {name!r} has {had} in each tile, not {streams!r}")
        return cls(tune=tune, effort=effort, streams=streams)
