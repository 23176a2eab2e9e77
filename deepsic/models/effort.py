"""How much work encoding puts into an image, from 1 to 9. Files of all decode alike.

1 to 3   the wavelet alone: the analysis network is left out
4, 5     with the analysis network; 5 is the default
6 to 9   and then 1, 3, 6 or 16 rounds of feedback: what the decoded picture lacks goes back to
         the latents (`deepsic.refiner.feedback`); needs torch
"""

from __future__ import annotations

from deepsic.errors import UsageError

__all__ = ["DEFAULT_EFFORT", "EFFORTS", "checked_effort", "is_quick", "rounds_of"]

EFFORTS = range(1, 10)
DEFAULT_EFFORT = 5
_QUICK = 3
"""The last level without the analysis network."""
_ROUNDS = {6: 1, 7: 3, 8: 6, 9: 16}


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


def rounds_of(effort: int) -> int:
    """Rounds of feedback, 0 up to the default."""
    return _ROUNDS.get(effort, 0)
