"""Decode an archive back to pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from deepsic.errors import DeepsicError, StorageError, VerificationError
from pipelines import console
from pipelines.archive.cluster import Resources, spread
from pipelines.archive.commands.verify import entries
from pipelines.archive.keys import output_key
from pipelines.archive.ledger import Ledger
from pipelines.archive.work.codec import CodecSource, checked_codec
from pipelines.archive.work.images import kind_of
from pipelines.storage import ObjectMissingError, Storage, put_verified, sha256

__all__ = ["Restored", "restore_archive"]


@dataclass(kw_only=True)
class Restored:
    """What `restore_archive` did."""

    written: int = 0
    present: int = 0
    """Pictures that an earlier run had written."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(source key, what is wrong)."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    archive: Storage
    out: Storage
    codec: CodecSource
    model_id: str
    force: bool


def restore_archive(
    archive: Storage,
    out: Storage,
    codec: CodecSource,
    model_id: str,
    resources: Resources,
    *,
    force: bool = False,
) -> Restored:
    """Decode every finished object of `archive` to `<source key>.png` in `out`.

    Pictures that are there already stay, unless `force`: run again, it goes on. Ray runs already.
    """
    out.create()
    plan = _Plan(archive=archive, out=out, codec=codec, model_id=model_id, force=force)
    found = Restored()
    pieces = entries(Ledger(archive), ("output_key", "output_sha256"))
    with console.progress("restore") as counter:
        for piece, results in spread(_piece, plan, lambda: next(pieces, None), resources):
            results = results or [(None, "a worker died over this and its neighbours")] * len(piece)
            for entry, (written, problem) in zip(piece, results, strict=True):
                found.written += written is True
                found.present += written is False
                if problem:
                    found.problems.append((entry["source_key"], problem))
                counter.advance(1, failed=bool(problem))
    out.clear_temporary()
    return found


def _piece(plan: _Plan, piece: list[dict[str, Any]]) -> list[tuple[bool | None, str]]:
    return [_restore(plan, entry) for entry in piece]


def _restore(plan: _Plan, entry: dict[str, Any]) -> tuple[bool | None, str]:
    """(True written, False there before, None failed; what is wrong)."""
    target = output_key(entry["source_key"], ".png", max_key_bytes=plan.out.max_key_bytes)
    try:
        if not plan.force and plan.out.exists(target):
            return False, ""
        blob = plan.archive.get(entry["output_key"]).data
        if sha256(blob) != entry["output_sha256"]:
            raise VerificationError("its SHA-256 is not the ledger's")
        image = checked_codec(plan.codec, plan.model_id).decode(blob)
        put_verified(plan.out, target, _png(image))
    except StorageError as error:
        if isinstance(error, ObjectMissingError):
            return None, "its .sic file is missing"
        raise
    except DeepsicError as error:
        return None, kind_of(error)[1]
    return True, ""


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    keep = {name: image.info[name] for name in ("exif", "icc_profile") if name in image.info}
    image.save(buffer, "PNG", **keep)
    return buffer.getvalue()
