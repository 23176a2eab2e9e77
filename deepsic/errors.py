"""Everything that can go wrong, as one tree.

    DeepsicError                      exit  HTTP
    ├── UsageError                       2   400   the call makes no sense
    ├── InputError                       3   415   the image or file can't be read
    │   └── UnsupportedImageError        3   415   readable, but of a kind we refuse by name
    ├── CorruptFileError                 4   422   a .sic file is damaged or truncated
    ├── UnknownVersionError              5   422   format version newer than this library
    ├── UnknownModelError                5   422   the model that a file names isn't here
    ├── LimitError                       6   413   a limit in `limits.py` was passed
    ├── VerificationError                7   500   what came back isn't what went in
    ├── StorageError                     8   503   disk or object store failed after retries
    └── PartialFailureError              1   500   some items failed, the rest is done

Every class carries `exit_code` (for the command line and the pipelines) and `http_status`
(for the server). Messages name the thing, what is wrong with it, and what to do next; they
hold no secrets, so they may be shown to a remote user when `public` is true.
"""

from __future__ import annotations

__all__ = [
    "CorruptFileError",
    "DeepsicError",
    "InputError",
    "LimitError",
    "MetadataWarning",
    "PartialFailureError",
    "StorageError",
    "UnknownModelError",
    "UnknownVersionError",
    "UnsupportedImageError",
    "UsageError",
    "VerificationError",
    "counted",
]

EXIT_OK = 0
EXIT_INTERRUPTED = 130


class DeepsicError(Exception):
    """Base of all errors that this project raises on purpose."""

    exit_code: int = 1
    http_status: int = 500
    title: str = "DeepSIC failed"
    #: Whether the message may be shown to a remote user as it is (no local paths in it).
    public: bool = True


class UsageError(DeepsicError, ValueError):
    """Arguments that contradict each other or are out of range."""

    exit_code = 2
    http_status = 400
    title = "Bad request"


class InputError(DeepsicError):
    """An input that can't be read: missing, unreadable, or not an image."""

    exit_code = 3
    http_status = 415
    title = "Unreadable input"


class UnsupportedImageError(InputError):
    """An image that we can read but refuse, such as an animation."""

    title = "Unsupported image"


class CorruptFileError(DeepsicError):
    """A `.sic` file that is damaged, truncated, or not a `.sic` file at all."""

    exit_code = 4
    http_status = 422
    title = "Corrupt file"


class UnknownVersionError(DeepsicError):
    """A `.sic` file of a format version that this library doesn't know."""

    exit_code = 5
    http_status = 422
    title = "Unknown format version"


class UnknownModelError(DeepsicError):
    """A model that isn't installed here, by name or by the identity in a file."""

    exit_code = 5
    http_status = 422
    title = "Unknown model"


class LimitError(DeepsicError):
    """An input that would cost more than `deepsic.limits` allows."""

    exit_code = 6
    http_status = 413
    title = "Limit exceeded"


class VerificationError(DeepsicError):
    """Decoding what was just encoded didn't give back what it should."""

    exit_code = 7
    http_status = 500
    title = "Verification failed"


class StorageError(DeepsicError):
    """A disk or an object store refused to read or write, after retries."""

    exit_code = 8
    http_status = 503
    title = "Storage failed"
    public = False


class PartialFailureError(DeepsicError):
    """Some items of a batch failed; the others are done and safe."""

    exit_code = 1
    http_status = 500
    title = "Some items failed"


class MetadataWarning(UserWarning):
    """EXIF, ICC profile or XMP that had to be left out, because damaged or not for this format."""


def counted(count: int, noun: str) -> str:
    """A number and what it counts, for messages.

    >>> counted(1, "image"), counted(0, "image"), counted(1200, "image")
    ('1 image', '0 images', '1,200 images')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
