"""The model files that ship: found by name or by the identity that a `.sic` file holds.

Light, so that `deepsic info` and `deepsic models` answer without torch. A model is a file
`NAME.safetensors` in this folder; `deepsic.weights` reads it.
"""

from __future__ import annotations

from pathlib import Path

from deepsic import weights
from deepsic.errors import UnknownModelError

__all__ = ["identity_of", "name_of", "names", "path_of"]

identity_of = weights.identity_of


def names() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return sorted(weights.shipped())


def path_of(name: str) -> Path:
    """Return the file of the shipped model `name`; raises `UnknownModelError`."""
    found = weights.shipped()
    if name not in found:
        raise UnknownModelError(f"no model {name!r} ships; there are: {', '.join(found) or 'none'}")
    return found[name]


def name_of(identity: bytes) -> str | None:
    """Return the shipped model that has this identity, or None."""
    path = weights.find(identity)
    return None if path is None else path.stem
