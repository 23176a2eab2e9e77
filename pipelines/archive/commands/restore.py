"""Decode an archive, or a part of it, back to images."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image

from deepsic.errors import (
    DeepsicError,
    MetadataWarning,
    StorageError,
    UsageError,
    VerificationError,
)
from deepsic.image_io.save import image_bytes
from pipelines.archive.cluster import Resources, spread
from pipelines.archive.commands.verify import SHOWN, entries
from pipelines.archive.keys import output_key
from pipelines.archive.ledger import Ledger
from pipelines.archive.query import FLOOR, LabelQuery
from pipelines.archive.work.codec import CodecSource, checked_codec
from pipelines.archive.work.images import kind_of
from pipelines.stage import console
from pipelines.storage import (
    ObjectAbout,
    ObjectMissingError,
    Storage,
    put_verified,
    selected,
    sha256,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RestoreOptions", "Restored", "restore_archive"]

PNG = ".png"
COLUMNS = ("output_key", "output_sha256", "source_modified", "labels")


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """What is restored, and as what."""

    force: bool = False
    """Write images again that are there."""
    include: tuple[str, ...] = ()
    """Patterns of source keys, such as `2019/*.jpg`; empty: all."""
    label: str | None = None
    """Only images that show this; a label, a WordNet parent, or a wnid."""
    min_prob: float = FLOOR
    as_source: bool = False
    """The format that the source's name tells, where that can be written; else PNG."""


@dataclass(kw_only=True)
class Restored:
    """What `restore_archive` did."""

    written: int = 0
    present: int = 0
    """Images that an earlier run had written."""
    failed: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(source key, what is wrong) of the first few."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    archive: Storage
    out: Storage
    codec: CodecSource
    model_id: str
    options: RestoreOptions


def restore_archive(
    ledger: Ledger,
    out: Storage,
    codec: CodecSource,
    model_id: str,
    resources: Resources,
    options: RestoreOptions | None = None,
) -> Restored:
    """Decode finished objects to `<source key>.png` in `out`, or to the source's own format.

    Images that are there already stay, unless `force`: run again, it resumes. Ray runs already.
    Raises: `UsageError` where the options leave nothing to restore.
    """
    options = options or RestoreOptions()
    out.create()
    plan = _Plan(archive=ledger.storage, out=out, codec=codec, model_id=model_id, options=options)
    found = Restored()
    pieces = entries(ledger, COLUMNS, lambda table: _chosen(table, options))
    with console.progress("restore") as counter:
        for piece, results in spread(_piece, plan, lambda wait: next(pieces, None), resources):
            results = results or [(None, "a worker died over this and its neighbours")] * len(piece)
            for entry, (written, problem) in zip(piece, results, strict=True):
                found.written += written is True
                found.present += written is False
                found.failed += bool(problem)
                if problem and len(found.problems) < SHOWN:
                    found.problems.append((entry["source_key"], problem))
                counter.advance(1, failed=bool(problem))
    out.clear_temporary()
    if not found.written + found.present + found.failed:
        raise UsageError(
            f"{ledger.storage.url} has no image that is asked for; nothing was written"
        )
    return found


def _chosen(table: pa.Table, options: RestoreOptions) -> pa.Table:
    """The rows that the options ask for."""
    if options.include and table.num_rows:
        wanted = [selected(key, options.include) for key in table["source_key"].to_pylist()]
        table = table.filter(wanted)
    if options.label is not None and table.num_rows:
        query = LabelQuery.parse(options.label)
        labels = table["labels"].combine_chunks()
        table = table.take(query.hits(labels, options.min_prob)["row"])
    return table


def _piece(plan: _Plan, piece: list[dict[str, Any]]) -> list[tuple[bool | None, str]]:
    return [_restore(plan, entry) for entry in piece]


def _restore(plan: _Plan, entry: dict[str, Any]) -> tuple[bool | None, str]:
    """(True written, False there before, None failed; what is wrong)."""
    names = _targets(entry["source_key"], plan)
    try:
        if not plan.options.force and any(plan.out.exists(key) for key, _ in names):
            return False, ""
        blob = plan.archive.get(entry["output_key"]).data
        if sha256(blob) != entry["output_sha256"]:
            raise VerificationError("its SHA-256 is not the ledger's")
        image = checked_codec(plan.codec, plan.model_id).decode(blob)
        key, data = _encoded(image, names)
        changed = entry["source_modified"]
        about = ObjectAbout(
            content_type=Image.MIME.get(Image.EXTENSION[os.path.splitext(key)[1].lower()], ""),
            modified=changed.timestamp() if changed else None,
        )
        put_verified(plan.out, key, data, about=about)
    except StorageError as error:
        if isinstance(error, ObjectMissingError):
            return None, "its .sic file is missing"
        raise
    except DeepsicError as error:
        return None, kind_of(error)[1]
    return True, ""


def _targets(source_key: str, plan: _Plan) -> list[tuple[str, str]]:
    """(key, suffix) by which an image may be restored, the first that can be written wins."""
    limit = plan.out.max_key_bytes
    found = [(output_key(source_key, PNG, max_key_bytes=limit), PNG)]
    suffix = os.path.splitext(source_key)[1]
    Image.init()
    if plan.options.as_source and Image.EXTENSION.get(suffix.lower()) in Image.SAVE:
        found.insert(0, (output_key(source_key, "", max_key_bytes=limit), suffix))
    return found


def _encoded(image: Image.Image, names: list[tuple[str, str]]) -> tuple[str, bytes]:
    """The first name whose format takes this image with EXIF, ICC and XMP, and the file."""
    for key, suffix in names[:-1]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", MetadataWarning)
                return key, image_bytes(image, suffix)
        except (UsageError, MetadataWarning):  # JPEG and alpha, BMP and EXIF: PNG takes everything
            continue
    key, suffix = names[-1]
    return key, image_bytes(image, suffix)
