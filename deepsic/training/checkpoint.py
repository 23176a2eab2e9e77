"""Checkpoints that are whole or not there, and restart files that travel.

A checkpoint holds all that a run needs to go on as if it had not stopped. A restart file holds the
net and its running average in bfloat16, without the optimiser's moments: a tenth of the bytes, for
going on elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepsic import atomic
from deepsic.errors import InputError

__all__ = ["read_checkpoint", "restart_of", "write_checkpoint"]


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Save what `torch.load(weights_only=True)` reads; `path` never holds half of it.

    Raises: as `atomic.writing`.
    """
    with atomic.writing(path) as file:
        torch.save(dict(state), file)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `write_checkpoint` wrote, on the CPU.

    Raises:
        InputError: it can't be read, or is no checkpoint.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds on damaged files
        raise InputError(f"{path} is no training checkpoint: {error}") from error
    if not isinstance(state, dict) or not {"recipe", "net", "average", "step"} <= state.keys():
        raise InputError(f"{path} is no training checkpoint of this version")
    return state


def restart_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """A restart file's content: the state without moments, floats in bfloat16."""
    small = {k: v for k, v in state.items() if k not in ("optimiser", "net", "average")}
    return small | {
        "optimiser": {},
        "net": _halved(state["net"]),
        "average": _halved(state["average"]),
    }


def _halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in tensors.items()
    }
