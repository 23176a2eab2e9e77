"""What decides the bytes that a job makes, and the identity that follows from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from deepsic.errors import UsageError
from deepsic.labels import TOP
from deepsic.models.effort import DEFAULT_EFFORT
from deepsic.models.quality import TUNINGS
from pipelines.storage import ObjectExistsError, ObjectMissingError, Storage

__all__ = ["JOB_KEY", "JobSettings", "check_claim", "check_target", "claim", "read_job"]

JOB_KEY = ".deepsic/job.json"
#: Raised when the layout of a destination changes, so that old and new never mix.
LAYOUT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """Everything that changes the bytes of an output. Exactly one of the targets is set."""

    model: str
    """Name of the model, as asked for."""
    model_id: str
    """First 8 bytes of the SHA-256 of the model file, hex."""
    format_version: int
    """Version of the `.sic` format."""
    quality: int | None = None
    """Target: quality, 1-100."""
    bpp: float | None = None
    """Target: bits per pixel of the whole file."""
    max_bytes: int | None = None
    """Target: size of each file, bytes."""
    tune: str = TUNINGS[0]
    """What files are encoded for: "psnr" or "ssim"."""
    effort: int = DEFAULT_EFFORT
    """How much work encoding puts into an image, 1 to 9."""
    labeler: str | None = None
    """Classifier whose labels are stored in the file; None: what the model gives by itself."""
    top: int = TOP
    """Labels kept for each image."""
    refine_for: tuple[str, ...] = ()
    """Classifiers that every file is fitted to."""
    refine_steps: int | None = None
    """Gradient steps of it; None: as many as `Refiner` takes."""

    def __post_init__(self) -> None:
        check_target(self.quality, self.bpp, self.max_bytes)
        object.__setattr__(self, "refine_for", tuple(self.refine_for))  # a list in JSON

    @property
    def target(self) -> dict[str, Any]:
        """The target as the codec's `encode` takes it."""
        if self.quality is not None:
            return {"quality": self.quality}
        return {"bpp": self.bpp} if self.bpp is not None else {"max_bytes": self.max_bytes}

    @property
    def job_id(self) -> str:
        """16 hex digits: a hash of model, settings, format and layout version."""
        content = _described(self) | {"layout": LAYOUT_VERSION}
        del content["model"]  # the same file under another name makes the same bytes
        # Archives from before these were settings keep their identity.
        content = {k: v for k, v in content.items() if k not in BEFORE or v != BEFORE[k]}
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


BEFORE: dict[str, Any] = {
    "refine_for": [],
    "refine_steps": None,
    "tune": TUNINGS[0],
    "effort": DEFAULT_EFFORT,
}
"""Settings that early archives don't name, and what they were made with."""


def check_target(quality: int | None, bpp: float | None, max_bytes: int | None) -> None:
    """Raise `UsageError` unless exactly one is given, and is possible."""
    if sum(value is not None for value in (quality, bpp, max_bytes)) != 1:
        raise UsageError("give exactly one of --quality, --bpp and --max-bytes")
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"--quality {quality} must be within 1-100")
    if bpp is not None and not 0 < bpp <= 24:
        raise UsageError(f"--bpp {bpp} must be above 0 and at most 24")
    if max_bytes is not None and max_bytes < 1:
        raise UsageError(f"--max-bytes {max_bytes} must be positive")


def check_claim(destination: Storage, source_url: str, settings: JobSettings) -> bool:
    """See that `destination` is free or this job's; True when it is this job's.

    Raises: `UsageError` when it belongs to a job with other settings or another source.
    """
    found = read_job(destination)
    if found is None:
        return False
    ours = _described(settings)
    theirs = BEFORE | found.get("settings", {})
    if found.get("job") != settings.job_id:
        names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        changes = ", ".join(f"{name} {theirs.get(name)} -> {ours.get(name)}" for name in names)
        raise UsageError(
            f"{destination.url} holds a job with other settings ({changes or 'another layout'}); "
            "give them again as they were, or choose another destination"
        )
    if found.get("source") != source_url:
        raise UsageError(
            f"{destination.url} holds the archive of {found.get('source')}, not of {source_url}; "
            "choose another destination"
        )
    return True


def claim(destination: Storage, source_url: str, settings: JobSettings) -> None:
    """Make `destination` this job's: called before the first output is written, by who writes it.

    Raises: as `check_claim`.
    """
    if check_claim(destination, source_url, settings):
        return
    content = {"job": settings.job_id, "source": source_url, "settings": _described(settings)}
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    try:
        destination.put(JOB_KEY, text.encode(), exclusive=True)
    except ObjectExistsError:  # another worker was faster: the same job, or an error
        check_claim(destination, source_url, settings)


def _described(settings: JobSettings) -> dict[str, Any]:
    return asdict(settings) | {"refine_for": list(settings.refine_for)}


def read_job(destination: Storage) -> dict[str, Any] | None:
    """The job description at a destination; None when no job was ever run there."""
    try:
        data = destination.get(JOB_KEY).data
    except ObjectMissingError:
        return None
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UsageError(f"{destination.url}/{JOB_KEY} is damaged; restore it or start anew")
    return content
