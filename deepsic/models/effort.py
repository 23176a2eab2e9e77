"""How much work encoding puts into an image, from 1 to 9. Files of all decode alike.

1 to 3   the wavelet alone: the analysis network is left out
4, 5     with the analysis network; 5 is the default
6 to 9   and then gradient descent on `bpp + lambda D` with this image's latents as the unknowns
         (Campos et al. 2019): needs torch
"""

from __future__ import annotations

from collections.abc import Sequence

from deepsic.errors import UsageError

__all__ = ["DEFAULT_EFFORT", "EFFORTS", "checked_effort", "default_tune", "is_quick", "steps_of"]

EFFORTS = range(1, 10)
DEFAULT_EFFORT = 5
_QUICK = 3
"""The last level without the analysis network."""
_STEPS = {6: 2, 7: 6, 8: 20, 9: 60}


def checked_effort(effort: int) -> int:
    """An effort from 1 to 9. Raises `UsageError`."""
    if effort not in EFFORTS:
        raise UsageError(
            f"effort={effort}: give 1, the least, to 9; {DEFAULT_EFFORT} is the default"
        )
    return effort


def is_quick(effort: int) -> bool:
    """Whether the analysis network is left out."""
    return effort <= _QUICK


def default_tune(tunings: Sequence[str], effort: int = DEFAULT_EFFORT) -> str:
    """What files are tuned for unless told: "ssim" where a model is, which people see as better.

    Descent, at the higher efforts, lowers the squared error: "psnr" there.
    """
    return tunings[0] if steps_of(effort) else tunings[-1]


def steps_of(effort: int) -> int:
    """Steps of descent on an image's latents, 0 up to the default."""
    return _STEPS.get(effort, 0)
