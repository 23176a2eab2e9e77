"""DeepSIC: a learned image codec whose files say what is in the image.

>>> import deepsic
>>> codec = deepsic.Codec.load("sic")
>>> blob = codec.encode("photo.jpg", quality=50)
>>> codec.decode(blob).size == (deepsic.info(blob).width, deepsic.info(blob).height)
True

Importing this package imports nothing heavy: names are looked up when first used, so that
`deepsic info` and `deepsic labels` answer without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepsic.errors import UsageError

if TYPE_CHECKING:
    from deepsic.bitstream import Info, Label, info, verify
    from deepsic.client import Client
    from deepsic.codec import Codec
    from deepsic.errors import DeepsicError
    from deepsic.image_io.pillow_plugin import register_pillow
    from deepsic.limits import Limits
    from deepsic.models.semantic.labeler import load_labeler
    from deepsic.refiner import Look, Refiner, load_refiner

__all__ = [
    "Client",
    "Codec",
    "DeepsicError",
    "Info",
    "Label",
    "Limits",
    "Look",
    "Refiner",
    "__version__",
    "info",
    "load_labeler",
    "load_refiner",
    "register_pillow",
    "verify",
]

__version__ = "0.1.0"

_HOME = {
    "Client": "deepsic.client",
    "Codec": "deepsic.codec",
    "DeepsicError": "deepsic.errors",
    "Info": "deepsic.bitstream",
    "Label": "deepsic.bitstream",
    "Limits": "deepsic.limits",
    "Look": "deepsic.refiner",
    "Refiner": "deepsic.refiner",
    "info": "deepsic.bitstream",
    "load_labeler": "deepsic.models.semantic.labeler",
    "load_refiner": "deepsic.refiner",
    "register_pillow": "deepsic.image_io.pillow_plugin",
    "verify": "deepsic.bitstream",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("", "deepsic"):
            raise
        extra = "torch" if error.name == "torch" else "codec"
        raise UsageError(
            f"deepsic.{name} needs {error.name}; pip install 'deepsic[{extra}]'"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
