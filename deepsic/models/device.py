"""Where networks run."""

from __future__ import annotations

import torch

from deepsic.errors import UsageError

__all__ = ["device_named"]


def device_named(name: str) -> torch.device:
    """The device of a name, "auto" included. Raises `UsageError`."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r}: give cpu, cuda or auto")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch finds no CUDA device here: give cpu or auto")
    return device
