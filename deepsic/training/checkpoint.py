"""Checkpoints that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["write_checkpoint"]


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Save what `torch.load(weights_only=True)` reads; `path` never holds half of it.

    Raises:
        OSError: the disk is full or can't be written to.
    """
    part = path.with_suffix(".part")
    torch.save(dict(state), part)
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
