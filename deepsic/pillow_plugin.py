"""Pillow opens and saves `.sic` files after `deepsic.register_pillow()`.

>>> import deepsic
>>> from PIL import Image
>>> deepsic.register_pillow()
>>> Image.registered_extensions()[".sic"]
'SIC'
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from deepsic.bitstream import PREFIX_BYTES, read_header, read_semantics
from deepsic.bitstream.header import SIGNATURE
from deepsic.errors import InputError, UnknownModelError
from deepsic.limits import DEFAULT_LIMITS
from deepsic.zoo import name_of

if TYPE_CHECKING:
    from deepsic.codec import Codec

__all__ = ["SicImageFile", "register_pillow"]

_FORMAT = "SIC"


class SicImageFile(ImageFile.ImageFile):
    """A `.sic` file; size, mode and labels are there at once, pixels when first asked for."""

    format = _FORMAT
    format_description = "DeepSIC"

    def _open(self) -> None:
        start = self._file().read(PREFIX_BYTES)
        header = read_header(start)
        DEFAULT_LIMITS.check_size(header.width, header.height)
        semantics = read_semantics(start)
        self._size = header.width, header.height
        self._mode = header.mode
        self.info["labels"] = semantics.labels if semantics else ()
        self._model_id = header.model_id
        self._decoded = False

    def load(self) -> Any:
        """Decode the pixels, once. Raises as `Codec.decode`."""
        if not self._decoded:
            file = self._file()
            file.seek(0)
            image = _codec(self._model_id).decode(file.read())
            self.info.update(image.info)
            self.im = image.im
            self._decoded = True
            if self._exclusive_fp:
                file.close()
        return super().load()

    def _file(self) -> IO[bytes]:
        if self.fp is None:
            raise InputError("the file was closed before its picture was decoded")
        return self.fp


def register_pillow() -> None:
    """Teach Pillow the format. Saving takes the options of `Codec.encode`, and `model`."""
    Image.register_open(_FORMAT, SicImageFile, lambda start: start[:3] == SIGNATURE)
    Image.register_save(_FORMAT, _save)
    Image.register_extension(_FORMAT, ".sic")
    Image.register_mime(_FORMAT, "image/x-sic")


def _save(image: Image.Image, file: IO[bytes] | BytesIO, filename: str | bytes) -> None:
    options = dict(getattr(image, "encoderinfo", {}))
    allowed = ("quality", "bpp", "max_bytes", "labels", "labeler")
    chosen = {name: options[name] for name in allowed if name in options}
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
