"""What is stored beside an output: its type, who made it of what, and more by option."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from deepsic.bitstream import Label
from pipelines.archive.work.images import SourceFacts
from pipelines.storage import ObjectAbout

__all__ = ["CONTENT_TYPE", "Beside", "owner_of"]

CONTENT_TYPE = "image/x-sic"
#: S3 takes ten tags of an object, and 2 kB of metadata.
MAX_LABELS = 5


def owner_of(job_id: str, source_key: str) -> str:
    """Who wrote an output: the job and the source. Objects of another owner are never replaced."""
    return f"{job_id}/{hashlib.sha256(source_key.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Options of what is stored beside each output."""

    preserve: bool = False
    """The source's modification time."""
    label_metadata: bool = False
    """Labels as metadata of the object: `label-1: 0.93 English springer`."""
    label_tags: bool = False
    """Labels as tags of the object, by which S3's own rules can choose."""

    def about(self, job_id: str, facts: SourceFacts, labels: Sequence[Label]) -> ObjectAbout:
        """For one output."""
        best = list(enumerate(labels[:MAX_LABELS], 1))
        metadata = tuple(
            (f"label-{n}", quote(f"{label.probability:.2f} {label.name}", safe=" ,()'"))
            for n, label in (best if self.label_metadata else ())
        )
        tags = tuple(
            (label.wnid or f"label-{n}", _tag(label))
            for n, label in (best if self.label_tags else ())
        )
        return ObjectAbout(
            content_type=CONTENT_TYPE,
            owner=owner_of(job_id, facts.item.info.key),
            modified=(facts.item.info.modified or None) if self.preserve else None,
            metadata=metadata,
            tags=tags,
        )


def _tag(label: Label) -> str:
    """A tag's value: letters, digits, spaces and + - = . _ : / @ alone."""
    kept = "".join(c if c.isalnum() or c in " +-=._:/@" else "_" for c in label.name)
    return f"{label.probability:.2f} {kept}"[:256]
