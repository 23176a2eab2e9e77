"""What travels between the HTTP side and the codec: plain values that pickle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ClassifyJob",
    "DecodeJob",
    "Decoded",
    "EncodeJob",
    "Encoded",
    "HeatJob",
    "LabelsJob",
    "ModelInfo",
    "RivalJob",
]


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model as clients know it."""

    name: str
    identity: str
    """First 8 bytes of the SHA-256 of the model file, hexadecimal; files carry it."""


@dataclass(frozen=True, kw_only=True)
class EncodeJob:
    """A picture as it was uploaded, and the size that its file should have."""

    data: bytes
    model: str
    width: int
    height: int
    quality: float | None = None
    bpp: float | None = None
    max_bytes: int | None = None
    labels: bool = True

    @property
    def together(self) -> tuple[Any, ...]:
        """Jobs with equal keys may go through the net together."""
        return (self.model, self.quality, self.bpp, self.max_bytes, self.labels)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A `.sic` file, and what making it took."""

    blob: bytes
    seconds: float
    batch: int = 1


@dataclass(frozen=True, kw_only=True)
class DecodeJob:
    """A `.sic` file, and the kind of picture that is wanted."""

    data: bytes
    model: str
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An ordinary picture file."""

    data: bytes
    media_type: str
    width: int
    height: int
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LabelsJob:
    """A `.sic` file without stored labels, for the model's semantic head."""

    data: bytes
    model: str
    top: int


@dataclass(frozen=True, kw_only=True)
class RivalJob:
    """A picture for an ordinary codec, under a number of bytes."""

    data: bytes
    format: str
    max_bytes: int


@dataclass(frozen=True, kw_only=True)
class HeatJob:
    """A picture for the map of what the classifier looks at."""

    data: bytes
    label: str | None = None
    """wnid of the class to explain; None: the most likely one."""


@dataclass(frozen=True, kw_only=True)
class ClassifyJob:
    """A picture to name."""

    data: bytes
