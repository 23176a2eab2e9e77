"""Compile codec and metrics for this machine, once: `python -m deepsic.compile_kernels`.

numba keeps what it compiled beside the sources, or in the user's cache folder where that can't be
written. A node or an image that is set up with this command doesn't compile at its first image.
"""

from __future__ import annotations

import numpy as np

from deepsic.codec import Codec
from deepsic.evaluation.metrics.distortion import compare

__all__ = ["compile_kernels"]

#: Above the 176 that MS-SSIM's five scales need.
SIDE = 192


def compile_kernels(model: str = "sic") -> None:
    """Encode, decode and measure one small image."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    pixels = np.stack((rows, columns, (rows * columns) % 256), -1).astype(np.uint8)
    codec = Codec.load(model)
    decoded = codec.decode(codec.encode(pixels, quality=50))
    compare(pixels, np.asarray(decoded))


if __name__ == "__main__":
    compile_kernels()
