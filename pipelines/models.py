"""Models as every stage takes them: a shipped name, a path, or a place on s3://.

A model from s3:// is fetched once a node and kept by its hash. The driver pins a place to the
bytes that it found there, `s3://bucket/m.safetensors#sha256=...`; workers on any node then get
these bytes or an error, whatever is put at that key meanwhile.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from deepsic import atomic, weights
from deepsic.errors import UnknownModelError
from pipelines.node_cache import node_cache, space_errors
from pipelines.storage import ObjectMissingError, open_storage, sha256

__all__ = ["kept", "model_file", "pinned"]

_PIN = "#sha256="


def pinned(place: str) -> str:
    """A place that means the same file to every worker: a remote one with its hash, a local path
    made absolute, since workers run in other folders. A shipped name stays as it is.

    Raises: as `model_file`.
    """
    if not _is_remote(place):
        return str(Path(place).resolve()) if Path(place).is_file() else place
    if _PIN in place:
        return place
    path = model_file(place)
    return f"{place}{_PIN}{path.parent.name}"


def model_file(place: str) -> Path:
    """The file of a model on this node, fetched if need be.

    Raises:
        UnknownModelError: no such name, file or object, or other bytes than the place is pinned to.
        StorageError: the store doesn't answer, or the cache has no space.
    """
    if not _is_remote(place):
        return weights.resolve(place)
    url, _, wanted = place.partition(_PIN)
    folder, _, name = url.rpartition("/")
    cache = node_cache() / "models"
    if wanted and _holds(cache / wanted / name, wanted):
        return cache / wanted / name
    try:
        data = open_storage(folder).get(name).data
    except ObjectMissingError:
        raise UnknownModelError(f"no model at {url}: check the key") from None
    found = sha256(data)
    if wanted and found != wanted:
        raise UnknownModelError(
            f"{url} holds another model ({found[:16]}) than when the job began ({wanted[:16]}): "
            "put it back, or start the job again"
        )
    return kept(name, data)


def kept(name: str, data: bytes) -> Path:
    """A file of these bytes in this node's cache: what a driver sends along needs no shared folder.

    Raises:
        StorageError: the cache has no space.
    """
    cache, wanted = node_cache() / "models", sha256(data)
    path = cache / wanted / name
    if not _holds(path, wanted):
        with space_errors(cache):
            atomic.write(path, data)
    return path


def _is_remote(place: str) -> bool:
    return place.startswith("s3://")


def _holds(path: Path, wanted: str) -> bool:
    """Whether a cached file is there and whole."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == wanted
    except FileNotFoundError:
        return False
