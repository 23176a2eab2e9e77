"""The photographs that scikit-image ships: what runs where no folder is given."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from deepsic.errors import InputError

__all__ = ["PHOTOGRAPHS", "photographs"]

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
"""The last one isn't in every release of scikit-image."""


def photographs() -> list[Path]:
    """The files, without importing scikit-image, which takes a second.

    Raises:
        InputError: scikit-image isn't installed.
    """
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "the embedded photographs need scikit-image: pip install 'deepsic[demo]', or give a "
            "folder of your own"
        )
    folder = Path(next(iter(spec.submodule_search_locations)), "data")
    return [folder / name for name in PHOTOGRAPHS if (folder / name).is_file()]
