"""The alpha plane of a file: lossless, as a PNG of its own."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepsic.bitstream import Header
from deepsic.errors import CorruptFileError

__all__ = ["pack_alpha", "unpack_alpha"]


def pack_alpha(alpha: NDArray[np.uint8]) -> bytes:
    """The stream of an alpha plane (H, W)."""
    buffer = io.BytesIO()
    Image.fromarray(alpha).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def unpack_alpha(stream: bytes, header: Header) -> NDArray[np.uint8]:
    """The alpha plane (H, W) of a stream.

    Raises:
        CorruptFileError: not a PNG of the image's size.
    """
    try:
        with Image.open(io.BytesIO(stream), formats=("PNG",)) as image:
            if image.size != (header.width, header.height) or image.mode != "L":
                raise CorruptFileError("alpha: size or kind differs from the image's")
            return np.asarray(image)
    except CorruptFileError:
        raise
    except Exception as error:  # Pillow's decoder raises what it likes on damaged bytes
        raise CorruptFileError(f"alpha: {error}") from error
