"""Source bytes to a picture, and a word for everything that can be wrong with them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from PIL import Image

from deepsic.errors import (
    DeepsicError,
    InputError,
    LimitError,
    StorageError,
    UnsupportedImageError,
    VerificationError,
)
from deepsic.image_io.load import load_image, to_pil
from deepsic.limits import Limits
from pipelines.archive.chunks import Item
from pipelines.archive.work.timing import TimeLimitError
from pipelines.storage import ObjectMissingError

__all__ = [
    "Refusal",
    "SourceFacts",
    "SourceImage",
    "WorkerLostError",
    "kind_of",
    "open_image",
    "refuse_unread",
]

MAX_REASON = 500


class Refusal(Exception):
    """An object that is no picture: skipped, not failed."""


class WorkerLostError(Exception):
    """Worker processes died over one object again and again."""


@dataclass(frozen=True)
class SourceFacts:
    """What is known of a source object once it was read."""

    item: Item
    etag: str
    """Of the bytes read, which may be newer than the listing."""
    size: int
    """Bytes read."""
    sha256: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Width x height."""
        return self.width * self.height


@dataclass(frozen=True)
class SourceImage:
    """A source object, decoded. Only the encoder holds these: their pixels weigh."""

    facts: SourceFacts
    image: Image.Image


def refuse_unread(item: Item, limits: Limits) -> None:
    """Raise for what the listing alone tells.

    Raises: `Refusal` for folder markers and `.sic` files, `InputError`, `LimitError`.
    """
    info = item.info
    if info.problem:
        raise InputError(info.problem)
    if info.key.endswith("/"):
        raise Refusal("a folder marker")
    if info.key.lower().endswith(".sic"):
        raise Refusal("a .sic file already")
    if info.size == 0:
        raise InputError("empty: 0 bytes")
    limits.check_bytes(info.size)


def open_image(key: str, data: bytes, limits: Limits) -> Image.Image:
    """Decode a picture, upright and 8-bit.

    Raises: `InputError`, `LimitError`; `Refusal` when neither bytes nor name say "picture".
    """
    try:
        return to_pil(load_image(data, limits))
    except InputError as error:
        if isinstance(error, UnsupportedImageError) or _named_as_picture(key):
            raise
        if "not a picture" in str(error):
            raise Refusal("not a picture") from error
        raise


def _named_as_picture(key: str) -> bool:
    suffix = os.path.splitext(key)[1].lower()
    return suffix in Image.registered_extensions()


def kind_of(error: BaseException) -> tuple[str, str]:
    """(kind, reason) of a failure for the ledger."""
    kinds: list[tuple[type[BaseException], str]] = [
        (ObjectMissingError, "source"),
        (StorageError, "storage"),
        (UnsupportedImageError, "unsupported"),
        (InputError, "input"),
        (LimitError, "limit"),
        (VerificationError, "verification"),
        (TimeLimitError, "time"),
        (MemoryError, "limit"),
        (WorkerLostError, "crash"),
    ]
    reason = str(error) or type(error).__name__
    for cls, kind in kinds:
        if isinstance(error, cls):
            return kind, reason[:MAX_REASON]
    named = reason if isinstance(error, DeepsicError) else f"{type(error).__name__}: {reason}"
    return "internal", named[:MAX_REASON]
