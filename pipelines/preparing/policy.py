"""What is taken from where, and what is done to it: everything that makes another version."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from urllib.parse import parse_qsl

from deepsic.errors import UsageError
from pipelines.manifest import FORMAT

__all__ = ["EMBEDDED", "DataSource", "Policy"]

EMBEDDED = "embedded"
"""Name of the source that scikit-image ships."""
SHAPES = ("whole", "center", "grid")


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A folder, an s3:// prefix, or the embedded photographs."""

    url: str
    weight: float = 1.0
    """How often training draws a pixel of it, against the other sources."""
    scales: tuple[float, ...] = ()
    """Sizes that every image is prepared at; the policy's if empty."""
    every: int = 1
    """Take every n-th image; of a tar or Parquet file every n-th in each."""
    classes: str = ""
    """Names of classes that tars and Parquet files give as numbers: a label set such as imagenet1k,
    or a text file with one name a line."""

    def __post_init__(self) -> None:
        if self.weight <= 0 or self.every < 1:
            raise UsageError(f"{self.url}: weight must be positive, every at least 1")
        _check_scales(self.scales)

    @classmethod
    def parse(cls, text: str) -> DataSource:
        """Read "PATH" or "PATH?weight=0.8&scales=0.9,0.6&every=3&classes=imagenet1k".

        Raises:
            UsageError: an option that isn't there, or is no number.
        """
        url, _, query = text.partition("?")
        values = dict(parse_qsl(query, strict_parsing=bool(query)))
        unknown = set(values) - {"weight", "scales", "every", "classes"}
        if unknown:
            raise UsageError(f"{text}: no option {', '.join(sorted(unknown))}")
        try:
            return cls(
                url=url,
                weight=float(values.get("weight", 1)),
                scales=parse_scales(values.get("scales", "")),
                every=int(values.get("every", 1)),
                classes=values.get("classes", ""),
            )
        except ValueError as error:
            raise UsageError(f"{text}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How images become rows."""

    scales: tuple[float, ...] = (1.0,)
    shape: str = "whole"
    """"whole": up to `side`, downscaled if larger; "center": shorter side to `side`, middle square;
    "grid": squares of `side` side by side."""
    side: int = 1024
    """Pixels."""
    min_side: int = 64
    """Images and scaled copies below this are quarantined and left out."""
    gray: bool = True
    """Keep images without colour."""
    exclude: tuple[str, ...] = ()
    """Patterns of file names that are never read."""
    pictures_a_shard: int = 64
    """Files that become one shard."""

    def __post_init__(self) -> None:
        _check_scales(self.scales)
        if not self.scales:
            raise UsageError("give at least one scale")
        if self.shape not in SHAPES:
            raise UsageError(f"shape={self.shape!r} is none of {', '.join(SHAPES)}")
        if not 1 <= self.min_side <= self.side:
            raise UsageError(f"min_side={self.min_side} must be 1 .. side={self.side}")
        if self.pictures_a_shard < 1:
            raise UsageError("pictures_a_shard must be positive")


def version_of(policy: Policy, sources: list[DataSource], source_hash: str) -> str:
    """Eight hex digits that change with settings, sources and any file of them."""
    text = json.dumps(
        [FORMAT, asdict(policy), [asdict(s) for s in sources], source_hash], sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def parse_scales(text: str) -> tuple[float, ...]:
    """Read "1,0.75,0.5"."""
    try:
        return tuple(float(part) for part in text.split(",") if part)
    except ValueError:
        raise UsageError(f"scales {text!r} aren't numbers between commas") from None


def _check_scales(scales: tuple[float, ...]) -> None:
    if any(not 0 < scale <= 1 for scale in scales):
        raise UsageError(f"scales {scales} must be above 0 and at most 1")
