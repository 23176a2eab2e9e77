"""What travels between the HTTP side and the codec: plain values that pickle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from deepsic.bitstream.semantics import Label
from deepsic.targets import Goal

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
    "MeasureJob",
    "Measured",
    "ModelInfo",
    "ShrinkJob",
]


R = TypeVar("R")
#: How often a search for a size encodes, about.
SEARCH_PASSES = 8
#: How often refinement goes over an image, about; a search refines at fewer qualities.
REFINE_PASSES, REFINED_QUALITIES = 100, 4


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model as clients know it."""

    name: str
    identity: str
    """First 8 bytes of the SHA-256 of the model file, hexadecimal; files carry it."""
    tunings: tuple[str, ...]
    """What its files may be tuned for."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A `.sic` file, and what making it took."""

    blob: bytes
    seconds: float
    batch: int = 1


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An ordinary image file."""

    data: bytes
    media_type: str
    width: int
    height: int
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How close a file is to the image it was made from."""

    psnr: float | None
    """dB over RGB; None: equal."""
    ms_ssim: float | None
    """0 to 1; None: the image is too small for it."""
    labels: list[Label] | None
    """What the classifier sees in the file; None: there is no classifier."""


@dataclass(frozen=True, kw_only=True)
class Job(Generic[R]):
    """One request's work; R is what it gives."""

    data: bytes
    """The request's body: an image file or a `.sic` file."""
    pixels: int
    """Size of the image, from its header."""
    model: str = ""
    """Which codec does it; empty if none is needed."""

    @property
    def cost(self) -> int:
        """Pixels, times how often they are gone over."""
        return self.pixels


@dataclass(frozen=True, kw_only=True)
class EncodeJob(Job[Encoded]):
    """An image as it was uploaded, and the size that its file should have."""

    goal: Goal
    labels: bool = True
    tune: str | None = None
    """None: as the model is tuned by default."""
    refine_for: tuple[str, ...] = ()
    """Classifiers."""

    @property
    def refined(self) -> int:
        """At how many qualities the image is refined, about."""
        if not self.refine_for:
            return 0
        return 1 if self.goal.quality is not None else REFINED_QUALITIES

    @property
    def together(self) -> tuple[Any, ...]:
        """Jobs with equal keys may go through the net together."""
        return (self.model, self.goal, self.labels, self.tune, self.refine_for)

    @property
    def cost(self) -> int:
        """A size is searched for."""
        passes = 1 if self.goal.quality is not None else SEARCH_PASSES
        return self.pixels * (passes + REFINE_PASSES * self.refined)


@dataclass(frozen=True, kw_only=True)
class DecodeJob(Job[Decoded]):
    """A `.sic` file, and the kind of image that is wanted."""

    media_type: str
    width: int | None = None
    """Pixels at most; None: as large as it is."""


@dataclass(frozen=True, kw_only=True)
class ShrinkJob(Job[Decoded]):
    """An image that is to be no longer than `longest` pixels a side, without other loss."""

    longest: int


@dataclass(frozen=True, kw_only=True)
class LabelsJob(Job[list[Label]]):
    """A `.sic` file without stored labels, for the model's semantic head."""

    top: int


@dataclass(frozen=True, kw_only=True)
class BaselineJob(Job[Decoded]):
    """An image for an ordinary codec, under a number of bytes without metadata."""

    format: str
    max_bytes: int

    @property
    def cost(self) -> int:
        """A size is searched for."""
        return self.pixels * SEARCH_PASSES


@dataclass(frozen=True, kw_only=True)
class MeasureJob(Job[Measured]):
    """An image, and a file that was made from it: `.sic` (of `model`) or an ordinary one."""

    file: bytes


@dataclass(frozen=True, kw_only=True)
class HeatJob(Job[Decoded]):
    """An image for the map of what the classifier looks at."""

    label: str | None = None
    """wnid of the class to explain; None: the most likely one."""


@dataclass(frozen=True, kw_only=True)
class ClassifyJob(Job[list[Label]]):
    """An image to name."""
