"""Any image in, upright 8-bit RGB out: size checked from the header before pixels are decoded.

`docs/FORMAT.md` section 8 is the public list of what happens to what.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from deepsic.bitstream import Metadata
from deepsic.bitstream.facts import read_open
from deepsic.errors import (
    DeepsicError,
    InputError,
    LimitError,
    UnsupportedImageError,
    UsageError,
)
from deepsic.image_io.arrays import from_array, is_tensor, tensor_array
from deepsic.image_io.decoders import decoding, opened
from deepsic.image_io.metadata import attach, upright
from deepsic.image_io.pixels import (
    check_cut,
    depth_of,
    eight_bits,
    mend_opened,
    to_supported_mode,
)
from deepsic.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FIRST_COUNTS", "ImageSource", "LoadedImage", "load_image", "to_pil"]

#: Formats whose further images are previews, gain maps or layers of the first.
FIRST_COUNTS = ("MPO", "PSD", "HEIF", "ICNS")
_SUBFILE, _OLD_SUBFILE, _SUB_IFDS, _DNG_VERSION = 254, 255, 330, 50706


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """An image as the codec takes it, with what has to come back beside it."""

    rgb: NDArray[np.uint8]
    """(height, width, 3), sRGB unless `icc` says otherwise, 0 to 255."""
    alpha: NDArray[np.uint8] | None = None
    """(height, width), 0 transparent to 255 opaque."""
    gray: bool = False
    """The three planes of `rgb` are equal because the original had one."""
    sixteen_bit: bool = False
    """The original had 16 bits a channel; the upper 8 were kept."""
    exif: bytes | None = None
    """TIFF structure without the `Exif\\0\\0` before it; orientation is 1 or absent."""
    icc: bytes | None = None
    xmp: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]


ImageSource = Union[
    Image.Image, NDArray[Any], "Tensor", str, os.PathLike[str], bytes, bytearray, memoryview,
    IO[bytes], LoadedImage,
]  # fmt: skip
"""Whatever holds an image, see `load_image`."""


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What the caller says of a file, see `load_image`."""

    frame: int | None
    white: int | None


def load_image(
    source: ImageSource,
    limits: Limits = DEFAULT_LIMITS,
    *,
    frame: int | None = None,
    white: int | None = None,
) -> LoadedImage:
    """Load an image from whatever holds one.

    Args:
        source: path, bytes of an image file, open binary file, PIL image, array, tensor, or what
            this function returned. Arrays are (height, width) or (height, width, 1, 3 or 4),
            tensors (1, 3 or 4, height, width): uint8, uint16 (the upper eight bits are kept), or
            floating point from 0 to 1.
        limits: bounds, held before pixels are decoded.
        frame: which frame or page of a file with several, counted from 0. None: such a file is
            refused.
        white: the value of white in images of more than 8 bits a channel, 255 to 65535; what is
            brighter is refused. None: as the file says, else 65535, and images so dark that
            this can't be are refused.

    Raises:
        InputError: can't be read, is no image, or is damaged or truncated.
        UnsupportedImageError: a kind of image that we refuse (`docs/FORMAT.md` section 8).
        LimitError: larger than `limits` allow.
        UsageError: there is no such frame, or `white` isn't possible.
    """
    if white is not None and not 0xFF <= white <= 0xFFFF:
        raise UsageError(f"white={white}: give 255 to 65535, such as 4095 for 12 bits")
    wanted = _Wanted(frame=frame, white=white)
    if isinstance(source, LoadedImage):
        limits.check_size(*source.size)
        return source
    if is_tensor(source):
        source = tensor_array(source)
    if isinstance(source, np.ndarray):
        rgb, alpha, gray, sixteen = from_array(source, limits, white)
        return LoadedImage(rgb=rgb, alpha=alpha, gray=gray, sixteen_bit=sixteen)
    if isinstance(source, Image.Image):
        with decoding("image"):
            return _from_pil(source, limits, "image", wanted, None)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(Path(source), limits, wanted)
    data: Any = source
    if hasattr(data, "read"):
        data = read_open(data)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise UsageError(
            f"can't make an image of {type(data).__name__}; give a path, the bytes of an image "
            "file, an open binary file, a PIL image, an array (H, W, 3) or a tensor (3, H, W)"
        )
    limits.check_bytes(len(data))
    return _from_file(io.BytesIO(data), limits, "image", wanted)


def to_pil(image: LoadedImage) -> Image.Image:
    """Return the PIL image (L, LA, RGB or RGBA) with EXIF, ICC and XMP in its `info`.

    `info["sixteen_bit"]` is set where it applies, so that `load_image` of the result loses nothing.
    """
    pixels: NDArray[np.uint8] = image.rgb[..., 1] if image.gray else image.rgb
    out = Image.fromarray(np.ascontiguousarray(pixels))
    if image.alpha is not None:
        out.putalpha(Image.fromarray(np.ascontiguousarray(image.alpha)))
    if image.sixteen_bit:
        out.info["sixteen_bit"] = True
    return attach(Metadata(exif=image.exif, icc=image.icc, xmp=image.xmp), out)


def _from_path(path: Path, limits: Limits, wanted: _Wanted) -> LoadedImage:
    try:
        limits.check_bytes(path.stat().st_size)
        with path.open("rb") as file:
            if file.seekable():
                return _from_file(file, limits, str(path), wanted)
            data = file.read(limits.max_input_bytes + 1)  # of a pipe
        limits.check_bytes(len(data))
        return _from_file(io.BytesIO(data), limits, str(path), wanted)
    except DeepsicError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _from_file(file: IO[bytes], limits: Limits, name: str, wanted: _Wanted) -> LoadedImage:
    with opened(file, name, limits) as image:
        return _from_pil(image, limits, name, wanted, file)


def _from_pil(
    image: Image.Image, limits: Limits, name: str, wanted: _Wanted, file: IO[bytes] | None
) -> LoadedImage:
    limits.check_size(*image.size)
    if 0 in image.size:
        raise UnsupportedImageError(f"{name}: image of {image.width}x{image.height} has no pixels")
    _choose_frame(image, name, wanted.frame)
    limits.check_size(*image.size)
    mend_opened(image, name)
    depth = depth_of(image, wanted.white)
    image.load()
    limits.check_size(*image.size)  # icons hold images whose size isn't the icon's
    image, metadata = upright(image)
    icc = metadata.icc
    if image.mode.startswith("I"):
        image = eight_bits(image, depth, name)
    else:
        image = check_cut(image, depth, file, name)
        image, icc = to_supported_mode(image, icc, name)
    _check_metadata((metadata.exif, icc, metadata.xmp), limits)
    pixels = np.asarray(image)
    gray = image.mode in ("L", "LA")
    alpha = None
    if image.mode in ("LA", "RGBA"):
        alpha = np.ascontiguousarray(pixels[..., -1])
        pixels = pixels[..., 0] if gray else pixels[..., :3]
    if gray:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return LoadedImage(
        rgb=np.ascontiguousarray(pixels),
        alpha=alpha,
        gray=gray,
        sixteen_bit=depth.sixteen,
        exif=metadata.exif,
        icc=icc,
        xmp=metadata.xmp,
    )


def _choose_frame(image: Image.Image, name: str, frame: int | None) -> None:
    """Go to the frame wanted. Raises where there are several and none was named, or no such."""
    frames = getattr(image, "n_frames", 1)
    if frame is not None:
        if not 0 <= frame < frames:
            raise UsageError(f"{name}: no frame {frame}; it has {frames}, counted from 0")
        if frames > 1:
            image.seek(frame)
    elif frames > 1 and image.format not in FIRST_COUNTS:
        raise UnsupportedImageError(
            f"{name}: {image.format} with {frames} frames or pages; name one with --frame N "
            "(in Python, load_image(..., frame=N))"
        )
    elif isinstance(image, TiffImagePlugin.TiffImageFile) and _is_preview(image):
        raise UnsupportedImageError(
            f"{name}: its first image is a preview, as in a camera's raw file; develop it first"
        )


def _is_preview(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether a TIFF's first directory is a small version of an image that lies elsewhere."""
    tags: Any = image.tag_v2
    if tags.get(_SUBFILE, 0) & 1 or tags.get(_OLD_SUBFILE) == 2 or _DNG_VERSION in tags:
        return True
    offsets = tags.get(_SUB_IFDS, ())
    if not offsets:
        return False
    with contextlib.ExitStack() as stack:
        file: Any = image.fp
        if file is None:  # it is loaded
            if not os.path.isfile(image.filename):
                return False  # who has its pixels in hand means these
            file = stack.enter_context(open(image.filename, "rb"))
        return any(
            inner.get(256, 0) * inner.get(257, 0) > image.width * image.height
            for inner in _directories(file, offsets)
        )


def _directories(file: IO[bytes], offsets: Any) -> Iterator[Any]:
    """A TIFF's directories at these offsets."""
    file.seek(0)
    start = file.read(8)
    start += file.read(8) if start[2] == 43 else b""  # BigTIFF
    for offset in offsets if isinstance(offsets, tuple) else (offsets,):
        inner: Any = TiffImagePlugin.ImageFileDirectory_v2(start)
        file.seek(offset)
        inner.load(file)
        yield inner


def _check_metadata(parts: tuple[bytes | None, ...], limits: Limits) -> None:
    total = sum(len(part) for part in parts if part is not None)
    if total > limits.max_metadata_bytes:
        raise LimitError(
            f"metadata of {total:,} bytes is more than the limit of {limits.max_metadata_bytes:,}; "
            "strip it or raise max_metadata_bytes"
        )
