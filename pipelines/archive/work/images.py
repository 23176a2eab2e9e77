"""Source bytes to an image, and a word for everything that can be wrong with them."""

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
from pipelines.archive.ledger import FAILED, SKIPPED, UNSUPPORTED
from pipelines.archive.listing.chunks import Item
from pipelines.archive.work.formats import camera_raw, foreign_image, no_image
from pipelines.archive.work.timing import OutOfTimeError
from pipelines.storage import ObjectArchivedError, ObjectExistsError, ObjectMissingError
from pipelines.storage.s3_errors import ARCHIVED

__all__ = [
    "Refusal",
    "SourceFacts",
    "SourceImage",
    "WorkerLostError",
    "kind_of",
    "open_image",
    "outcome_of",
    "refuse_unread",
]

MAX_REASON = 500
#: Storage classes whose objects can't be read as they are. (Intelligent tiering doesn't say.)
COLD = ("GLACIER", "DEEP_ARCHIVE")


class Refusal(Exception):
    """An object that is no image: skipped, not failed."""


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

    Raises: `Refusal` for folder markers and `.sic` files, `InputError`, `LimitError`,
        `ObjectArchivedError` for what lies in cold storage.
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
    if info.storage_class in COLD:
        raise ObjectArchivedError(ARCHIVED)
    limits.check_bytes(info.size)


def open_image(key: str, data: bytes, limits: Limits) -> Image.Image:
    """Decode an image, upright and 8-bit.

    Raises: `InputError`, `LimitError`; `UnsupportedImageError` for an image of a kind that this
        release can't read; `Refusal` when the bytes, or bytes and name, say that it is none.
    """
    if camera_raw(key):
        raise UnsupportedImageError("camera raw: not a format that this release reads")
    try:
        return to_pil(load_image(data, limits))
    except UnsupportedImageError:
        raise
    except InputError as error:
        if "not an image" in str(error) and (kind := foreign_image(data)) is not None:
            raise UnsupportedImageError(f"{kind}: not a format that this release reads") from error
        if (other := no_image(data)) is not None:
            raise Refusal(f"not an image but {other}") from error
        if not _named_as_image(key) and "not an image" in str(error):
            raise Refusal("not an image") from error
        raise


def _named_as_image(key: str) -> bool:
    suffix = os.path.splitext(key)[1].lower()
    return Image.registered_extensions().get(suffix) not in (None, "PDF", "MPEG")


def outcome_of(error: BaseException) -> tuple[str, str, str]:
    """(status, kind, reason) for the ledger of an object that has no output."""
    if isinstance(error, Refusal):
        return SKIPPED, "", str(error)
    if isinstance(error, UnsupportedImageError):
        return UNSUPPORTED, "", str(error)[:MAX_REASON]
    return FAILED, *kind_of(error)


def kind_of(error: BaseException) -> tuple[str, str]:
    """(kind, reason) of a failure for the ledger."""
    kinds: list[tuple[type[BaseException], str]] = [
        (ObjectMissingError, "source"),
        (ObjectArchivedError, "archived"),
        (ObjectExistsError, "conflict"),
        (StorageError, "storage"),
        (InputError, "input"),
        (LimitError, "limit"),
        (VerificationError, "verification"),
        (OutOfTimeError, "time"),
        (MemoryError, "limit"),
        (WorkerLostError, "crash"),
    ]
    reason = str(error) or type(error).__name__
    for cls, kind in kinds:
        if isinstance(error, cls):
            return kind, reason[:MAX_REASON]
    named = reason if isinstance(error, DeepsicError) else f"{type(error).__name__}: {reason}"
    return "internal", named[:MAX_REASON]
