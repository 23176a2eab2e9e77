"""What travels between the HTTP side and the codec: plain values that pickle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from deepsic.bitstream.semantics import Label

__all__ = [
    "BaselineJob",
    "ClassifyJob",
    "DecodeJob",
    "Decoded",
    "EncodeJob",
    "Encoded",
    "HeatJob",
    "Job",
    "LabelsJob",
    "ModelInfo",
]


R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model as clients know it."""

    name: str
    identity: str
    """First 8 bytes of the SHA-256 of the model file, hexadecimal; files carry it."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A `.sic` file, and what making it took."""

    blob: bytes
    seconds: float
    batch: int = 1


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
class Job(Generic[R]):
    """One request's work; R is what it gives."""

    data: bytes
    """The request's body: a picture file or a `.sic` file."""
    model: str = ""
    """Which codec does it; empty if none is needed."""


@dataclass(frozen=True, kw_only=True)
class EncodeJob(Job[Encoded]):
    """A picture as it was uploaded, and the size that its file should have."""

    quality: float | None = None
    bpp: float | None = None
    max_bytes: int | None = None
    labels: bool = True

    @property
    def together(self) -> tuple[Any, ...]:
        """Jobs with equal keys may go through the net together."""
        return (self.model, self.quality, self.bpp, self.max_bytes, self.labels)


@dataclass(frozen=True, kw_only=True)
class DecodeJob(Job[Decoded]):
    """A `.sic` file, and the kind of picture that is wanted."""

    media_type: str


@dataclass(frozen=True, kw_only=True)
class LabelsJob(Job[list[Label]]):
    """A `.sic` file without stored labels, for the model's semantic head."""

    top: int


@dataclass(frozen=True, kw_only=True)
class BaselineJob(Job[Decoded]):
    """A picture for an ordinary codec, under a number of bytes."""

    format: str
    max_bytes: int


@dataclass(frozen=True, kw_only=True)
class HeatJob(Job[Decoded]):
    """A picture for the map of what the classifier looks at."""

    label: str | None = None
    """wnid of the class to explain; None: the most likely one."""


@dataclass(frozen=True, kw_only=True)
class ClassifyJob(Job[list[Label]]):
    """A picture to name."""
