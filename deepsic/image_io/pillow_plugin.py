"""Pillow opens and saves `.sic` files after `deepsic.register_pillow()`.

>>> import deepsic
>>> from PIL import Image
>>> deepsic.register_pillow()
>>> Image.registered_extensions()[".sic"]
'SIC'
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from functools import lru_cache, wraps
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from deepsic import atomic
from deepsic.bitstream import PREFIX_BYTES, Layout, Metadata, read_header, read_semantics, verify
from deepsic.bitstream.header import SIGNATURE
from deepsic.errors import (
    CorruptFileError,
    StorageError,
    UnknownModelError,
    UnknownVersionError,
    UsageError,
)
from deepsic.image_io.metadata import attach
from deepsic.limits import DEFAULT_LIMITS
from deepsic.zoo import name_of

if TYPE_CHECKING:
    from deepsic.codec import Codec

__all__ = ["SicImageFile", "register_pillow"]

_FORMAT = "SIC"
_METADATA = ("exif", "icc_profile", "xmp")


class SicImageFile(ImageFile.ImageFile):
    """A `.sic` file; size, mode, labels and metadata are there at once, pixels when asked for.

    As Pillow's own formats: what isn't a `.sic` file ends in `UnidentifiedImageError`; damage
    behind its header, and a version or model that isn't known here, in `OSError`.
    """

    format = _FORMAT
    format_description = "DeepSIC"

    def _open(self) -> None:
        start = self._file().read(PREFIX_BYTES)
        try:
            header = read_header(start)
            semantics = read_semantics(start)
        except CorruptFileError as error:
            raise SyntaxError(str(error)) from error  # Pillow's sign for "not mine"
        except UnknownVersionError as error:
            raise OSError(str(error)) from error
        DEFAULT_LIMITS.check_size(header.width, header.height)
        self._size = header.width, header.height
        self._mode = header.mode
        self.info["labels"] = semantics.labels if semantics else ()
        self._model_id = header.model_id
        # Damage behind the header is for `load` to tell: size and labels are there without it.
        with contextlib.suppress(CorruptFileError):
            blob = start + self._file().read()
            layout = Layout.of(blob)
            if layout.metadata is not None:
                attach(Metadata.unpack(memoryview(blob), layout.metadata, DEFAULT_LIMITS), self)

    def load(self) -> Any:
        """Decode the pixels, once.

        Raises: `OSError`, `ValueError` if the file was closed; otherwise as `Codec.decode`.
        """
        if self._im is None:
            try:
                image = _codec(self._model_id).decode(self._bytes())
            except (CorruptFileError, UnknownVersionError, UnknownModelError) as error:
                raise OSError(str(error)) from error
            self.info.update(image.info)
            self.im = image.im
            if self._exclusive_fp:
                self._file().close()
        return super().load()

    def verify(self) -> None:
        """Check every checksum, without a model; the image is used up, as with other formats.

        Raises: `OSError`.
        """
        try:
            verify(self._bytes())
        except CorruptFileError as error:
            raise OSError(str(error)) from error
        super().verify()

    def _bytes(self) -> bytes:
        self._file().seek(0)
        return self._file().read()

    def _file(self) -> IO[bytes]:
        if self.fp is None:
            raise ValueError("the file was closed before its image was decoded")
        return self.fp


def register_pillow() -> None:
    """Teach Pillow the format.

    Saving takes the options of `Codec.encode`, `model`, and as for other formats `exif`,
    `icc_profile` and `xmp`, which replace those of the image; None leaves them out.
    """
    Image.register_open(
        _FORMAT, SicImageFile, lambda start: start[:3] == SIGNATURE and start[3:4] >= b"\x80"
    )
    Image.register_save(_FORMAT, _save)
    Image.register_extension(_FORMAT, ".sic")
    Image.register_mime(_FORMAT, "image/x-sic")
    if not hasattr(Image.Image.save, "__wrapped__"):
        Image.Image.save = _whole_or_not(Image.Image.save)  # type: ignore[method-assign]


def _whole_or_not(save: Callable[..., None]) -> Callable[..., None]:
    """Pillow's `save`, which empties a file before it asks a format to write it.

    A failed encoding would lose the old file, so `.sic` files are made first and then written.
    """

    @wraps(save)
    def whole(self: Image.Image, fp: Any, format: str | None = None, **params: Any) -> None:
        path = os.fsdecode(fp) if isinstance(fp, (str, bytes, os.PathLike)) else ""
        wanted = (format or Image.EXTENSION.get(os.path.splitext(path)[1].lower(), "")).upper()
        if path and wanted == _FORMAT:
            if not os.path.isdir(os.path.dirname(path) or os.curdir):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            out = BytesIO()
            save(self, out, _FORMAT, **params)
            try:
                atomic.write(path, out.getvalue())
            except StorageError as error:
                raise OSError(str(error)) from error
        else:
            save(self, fp, format, **params)

    return whole


def _save(image: Image.Image, file: IO[bytes] | BytesIO, filename: str | bytes) -> None:
    options = dict(getattr(image, "encoderinfo", {}))
    allowed = ("quality", "bpp", "max_bytes", "labels", "labeler", "metadata")
    chosen = {name: options[name] for name in allowed if name in options}
    given = {name: options[name] for name in _METADATA if name in options}
    for name, value in given.items():
        if value is not None and not isinstance(value, (bytes, bytearray, str, Image.Exif)):
            raise UsageError(f"{name}: bytes are due, not {type(value).__name__}")
    if given:
        image = image.copy()
        image.info.update(given)
    file.write(_load(options.get("model", "sic")).encode(image, **chosen))


def _codec(identity: bytes) -> Codec:
    name = name_of(identity)
    if name is None:
        raise UnknownModelError(
            f"the file was made with model {identity.hex()}, which doesn't ship"
        )
    return _load(name)


@lru_cache(maxsize=4)
def _load(model: str) -> Codec:
    from deepsic.codec import Codec

    return Codec.load(model)
