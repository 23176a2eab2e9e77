"""Is a file that was just made what the contract calls ok?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image

from deepsic.bitstream import Label, verify
from deepsic.errors import UsageError, VerificationError
from pipelines.archive.work.codec import ArchiveCodec

__all__ = ["Check", "Verify", "psnr"]


class Verify(StrEnum):
    """How much is checked beside what always is: that storage gives back the bytes it got."""

    NONE = "none"
    CRC = "crc"
    """Every CRC in the file."""
    DECODE = "decode"
    """Decoded: size, labels and a PSNR floor."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """How each file is checked before it is stored."""

    verify: Verify = Verify.CRC
    psnr_floor: float = 15.0
    """dB; below this an image failed (`Verify.DECODE` only)."""

    def __post_init__(self) -> None:
        if not 0 <= self.psnr_floor <= 99:
            raise UsageError(f"--psnr-floor {self.psnr_floor} must be within 0-99 dB")

    def run(
        self, image: Image.Image, blob: bytes, labels: list[Label], codec: ArchiveCodec
    ) -> float | None:
        """Check one file against its source; return its PSNR where it was decoded.

        Raises: `CorruptFileError`, `VerificationError`.
        """
        if self.verify is Verify.NONE:
            return None
        verify(blob)
        if self.verify is Verify.CRC:
            return None
        decoded = codec.decode(blob)
        if decoded.size != image.size:
            raise VerificationError(
                f"decodes to {decoded.size} pixels, the source has {image.size}"
            )
        if labels and list(codec.labels(blob, top=len(labels))) != labels:
            raise VerificationError("its labels differ when they are read again")
        value = psnr(image, decoded)
        if value < self.psnr_floor:
            raise VerificationError(
                f"PSNR {value:.1f} dB is below the floor of {self.psnr_floor:g}"
            )
        return value


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio of two images as 8-bit RGB, dB; 99 when they are equal."""
    a = np.asarray(one.convert("RGB"), dtype=np.float32)
    b = np.asarray(other.convert("RGB"), dtype=np.float32)
    error = float(np.mean((a - b) ** 2, dtype=np.float64))
    return 99.0 if error == 0 else 10 * math.log10(255**2 / error)
