"""What an input may cost: checked from headers, before anything large is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from deepsic.errors import LimitError, UsageError, counted

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds for one image or file.

    >>> Limits(max_pixels=1_000_000).check_size(500, 500)
    >>> Limits(max_pixels=100).check_size(500, 500)
    Traceback (most recent call last):
        ...
    deepsic.errors.LimitError: image of 500x500 has 250,000 pixels, more than the limit of 100; raise max_pixels if you trust it
    """  # noqa: E501

    max_pixels: int = 200_000_000
    """Width x height of an image, pixels."""
    max_side: int = 65_535
    """Longest side, pixels (the format's own bound)."""
    max_input_bytes: int = 1_000_000_000
    """Size of an encoded input file, bytes."""
    max_metadata_bytes: int = 16_000_000
    """EXIF, ICC and XMP together, bytes."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise UsageError(f"limit {name}={value} must be positive")

    def check_size(self, width: int, height: int) -> None:
        """Raise `LimitError` if an image of width x height pixels is too large."""
        if max(width, height) > self.max_side:
            raise LimitError(
                f"image of {width}x{height} is longer than the limit of "
                f"{self.max_side:,} pixels a side"
            )
        if width * height > self.max_pixels:
            raise LimitError(
                f"image of {width}x{height} has {width * height:,} pixels, more than the "
                f"limit of {self.max_pixels:,}; raise max_pixels if you trust it"
            )

    def check_bytes(self, count: int) -> None:
        """Raise `LimitError` if an input file of `count` bytes is too large."""
        if count > self.max_input_bytes:
            raise LimitError(
                f"input of {counted(count, 'byte')} is more than the limit of "
                f"{self.max_input_bytes:,}"
            )


DEFAULT_LIMITS = Limits()
