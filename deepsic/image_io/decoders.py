"""Pillow's decoders: which of them may see a file, and one name for whatever they raise."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import IO

from PIL import Image, UnidentifiedImageError

from deepsic.errors import (
    DeepsicError,
    InputError,
    LimitError,
    UnsupportedImageError,
)
from deepsic.image_io import jpeg_xl
from deepsic.limits import Limits

__all__ = ["claims_to_be_image", "decoding", "known_formats", "opened"]

#: What Pillow must not open for us. EPS runs Ghostscript, WMF the Windows API, IPTC whatever lies
#: inside it, FITS inflates without a bound, FPX and MIC need a package; of the rest Pillow knows
#: the signature, but has no decoder.
_LEFT_OUT = {"EPS", "WMF", "IPTC", "FITS", "FPX", "MIC", "BUFR", "GRIB", "HDF5", "MPEG"}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_RAW = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\0MRM")
_CANON_RAW = b"II*\0\x10\0\0\0CR"
#: Formats that begin with a signature which nothing else has.
_SIGNED = (
    "AVIF", "BLP", "DDS", "FTEX", "GIF", "ICNS", "JPEG", "JPEG2000", "PNG", "PSD", "QOI", "SUN",
    "TIFF", "WEBP",
)  # fmt: skip
#: Formats whose files begin with text.
_TEXT = ("IM", "IMT", "PPM", "XBM", "XPM", "XVTHUMB")
#: What Pillow says of files that are sound as far as it knows, but of a kind that it doesn't read.
_UNKNOWN_KIND = re.compile(
    "unknown (pixel mode|data org)|cannot handle|(un|not )supported|unimplemented", re.IGNORECASE
)


@cache
def known_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that we read; HEIF and JPEG XL where their plugins are."""
    Image.init()
    for plugin, register in (("pillow_heif", "register_heif_opener"), ("pillow_jxl", "")):
        try:
            module = import_module(plugin)
        except ModuleNotFoundError:
            continue
        if register:
            getattr(module, register)()
    return tuple(name for name in Image.ID if name in Image.OPEN and name not in _LEFT_OUT)


def _unreadable_kind(start: bytes) -> str | None:
    """Say what a file that no decoder took is, by its first 32 bytes, if it is an image."""
    brand = start[8:12] if start[4:8] == b"ftyp" else b""
    if brand == b"crx " or start.startswith(_RAW):
        return "a camera's raw file; develop it first"
    for name, label, matches in (
        ("HEIF", "HEIF", brand in _HEIF_BRANDS),
        ("JXL", "JPEG XL", jpeg_xl.is_jpeg_xl(start)),
    ):
        if matches and name in known_formats():
            return f"{label} that its decoder doesn't take: damaged, or of a newer kind"
        if matches:
            return f"{label}; pip install 'deepsic[formats]' reads it"
    return None


def _signed_kind(start: bytes) -> str | None:
    """The format whose signature a file bears, which Pillow didn't take in spite of that."""
    for name in set(_SIGNED).intersection(_formats_for(start)):
        accepts = Image.OPEN[name][1]
        if accepts is not None and accepts(start[:16]):
            return name
    return None


def _formats_for(start: bytes) -> tuple[str, ...]:
    """The formats that a file may have: one that begins like a text isn't of a binary format."""
    is_text = start.isascii() and not re.search(rb"[^\t\n\f\r -~]", start)
    return tuple(name for name in known_formats() if name in _TEXT) if is_text else known_formats()


def claims_to_be_image(file: IO[bytes]) -> bool:
    """Whether a file begins like an image, one that is damaged or can't be read here included."""
    start = file.read(32)
    file.seek(0)
    if jpeg_xl.is_jpeg_xl(start):
        return True  # to open it would be to decode it
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is damaged is said when it is read
            Image.open(file, formats=_formats_for(start)).close()
    except UnidentifiedImageError:
        return _unreadable_kind(start) is not None or _signed_kind(start) is not None
    except Exception:  # a decoder that knew it fell over it, see `decoding`
        return True
    return True


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Give whatever a decoder raises inside the block one of our names.

    Decoders meet hostile bytes, and raise what they like: RuntimeError (AVIF), struct.error (GIF,
    TIFF), AssertionError and so on. None of it may end a run of many files.

    Raises:
        InputError: damaged or truncated.
        UnsupportedImageError: of a kind that the decoder says it doesn't know.
        LimitError: the decoder asks for more memory than there is, or Pillow's own bound is passed.
    """
    try:
        yield
    except DeepsicError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(
            f"{name}: its header claims a size beyond what Pillow opens ({error})"
        ) from None
    except MemoryError:
        raise LimitError(f"{name}: decoding it needs more memory than there is") from None
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        # Tables of what a decoder knows end in KeyError.
        if _UNKNOWN_KIND.search(why) or isinstance(error.__cause__, KeyError):
            raise UnsupportedImageError(
                f"{name}: of a kind that isn't read here, or damaged ({why})"
            ) from error
        raise InputError(f"{name}: damaged or truncated ({why})") from error


@contextmanager
def opened(
    file: IO[bytes], name: str, limits: Limits, formats: Collection[str] | None = None
) -> Iterator[Image.Image]:
    """Open an image by its content; work on it inside the block, as in `decoding`.

    Args:
        limits: held here for what its plugin decodes at once, JPEG XL; the caller holds the others.
        formats: of `known_formats`, those that may be; None: all.

    Raises:
        InputError: not an image, damaged or truncated.
        UnsupportedImageError: an image of a kind that can't be read here.
        LimitError: as `decoding`.
    """
    with decoding(name):
        start = file.read(32)
        allowed = [kind for kind in _formats_for(start) if formats is None or kind in formats]
        if start.startswith(_CANON_RAW):  # to Pillow it is its preview
            raise UnsupportedImageError(f"{name}: a camera's raw file; develop it first")
        xmp = None
        if jpeg_xl.is_jpeg_xl(start) and "JXL" in allowed:
            limits.check_size(*(jpeg_xl.size_of(file) or (0, 0)))
            xmp = jpeg_xl.xmp_of(file)
        file.seek(0)
        try:
            image = Image.open(file, formats=allowed)
        except UnidentifiedImageError:
            kind = _unreadable_kind(start)
            if kind is not None:
                raise UnsupportedImageError(f"{name}: {kind}") from None
            signed = _signed_kind(start)
            if signed in allowed:
                file.seek(0)
                Image.OPEN[signed][0](file, "")  # says what `Image.open` keeps to itself
            only = "" if formats is None else f": {', '.join(sorted(formats))}"
            raise InputError(f"{name}: not an image in a format that we read{only}") from None
        if xmp is not None:
            image.info["xmp"] = xmp
        with image:
            yield image
