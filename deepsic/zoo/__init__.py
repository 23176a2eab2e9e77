"""The model files that ship: found by name or by the identity that a `.sic` file holds.

Standard library only, so that `deepsic info` and `deepsic models` answer without torch.
A model is a file `NAME.safetensors` in this folder; its identity is the start of its SHA-256.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from deepsic.errors import UnknownModelError

__all__ = ["FOLDER", "identity_of", "name_of", "names", "path_of"]

FOLDER = Path(__file__).parent
_SUFFIX = ".safetensors"


def names() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{_SUFFIX}"))


def path_of(name: str) -> Path:
    """Return the file of the shipped model `name`; raises `UnknownModelError`."""
    if name not in names():
        raise UnknownModelError(
            f"no model {name!r} ships; there are: {', '.join(names()) or 'none'}"
        )
    return FOLDER / f"{name}{_SUFFIX}"


@cache
def identity_of(path: Path) -> bytes:
    """Return the first 8 bytes of the SHA-256 of the file at `path`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()[:8]


def name_of(identity: bytes) -> str | None:
    """Return the shipped model that has this identity, or None."""
    for name in names():
        if identity_of(path_of(name)) == identity:
            return name
    return None
