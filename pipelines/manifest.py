"""The manifest of prepared images: what preprocessing writes and training reads."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from deepsic.errors import InputError
from pipelines.storage import ObjectMissingError, open_storage

__all__ = ["CURRENT", "FORMAT", "MANIFEST", "Manifest", "Shard", "find_version"]

MANIFEST = "manifest.json"
CURRENT = "current.json"
FORMAT = "deepsic-prepared-2"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One Parquet file."""

    key: str
    pictures: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A version of prepared images."""

    version: str
    source_hash: str
    """Of all file names, sizes and tags."""
    settings: dict[str, Any]
    """Policy and sources."""
    classes: list[str]
    counts: dict[str, int]
    """files, images, quarantined; and quarantined by reason."""
    class_counts: dict[str, int] = field(default_factory=dict)
    shards: list[Shard] = field(default_factory=list)

    @property
    def hash(self) -> str:
        """Sixteen hex digits of all of it."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def about(self) -> dict[str, Any]:
        """For a model's provenance: what it learnt from, without paths of this machine."""
        sources = [s | {"url": _short(s["url"])} for s in self.settings.get("sources", [])]
        return self.settings | {"sources": sources, "manifest": self.hash, "counts": self.counts}

    def to_json(self) -> str:
        """As written to `manifest.json`."""
        return json.dumps({"format": FORMAT} | asdict(self), indent=1, sort_keys=True)

    @classmethod
    def read(cls, folder: str) -> Manifest:
        """Read a version's manifest. Raises: `InputError` when there is none, or another format."""
        try:
            values = json.loads(open_storage(folder).get(MANIFEST).data)
            if values.pop("format", None) != FORMAT:
                raise InputError(
                    f"{folder}: not a {FORMAT} manifest: run pipelines/preprocess.py again"
                )
            shards = [Shard(**shard) for shard in values.pop("shards")]
            return cls(shards=shards, **values)
        except ObjectMissingError:
            raise InputError(
                f"no prepared images in {folder}: run pipelines/preprocess.py, or its command "
                "again if it was interrupted"
            ) from None
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{folder}/{MANIFEST} can't be read ({error})") from None


def find_version(out: str) -> str:
    """The folder of the version last made in `out`, or `out` itself if it is one.

    Raises: `InputError` when nothing was prepared there.
    """
    storage = open_storage(out)
    if storage.exists(MANIFEST):
        return out
    try:
        current = json.loads(storage.get(CURRENT).data)["version"]
    except (ObjectMissingError, ValueError, KeyError):
        raise InputError(
            f"no prepared images in {out}: run python pipelines/preprocess.py first"
        ) from None
    return f"{out.rstrip('/')}/{current}"


def _short(url: str) -> str:
    """The last two parts of a source's place."""
    return "/".join(url.rstrip("/").split("/")[-2:])
