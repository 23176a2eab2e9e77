"""The model that every trial starts from, and the one that the search ends with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from deepsic.errors import InputError
from deepsic.models.sic import SicNet
from deepsic.training.config import TrainConfig
from pipelines.tuning.outcome import Trial
from pipelines.tuning.trial import MODEL_FILE

__all__ = ["export_best", "load_start"]

BEST = "best.pt"


def load_start(name: str) -> tuple[SicNet, str]:
    """A trained net by name, model file or training checkpoint, with its identity.

    Raises:
        InputError: a checkpoint that can't be read.
        UnknownModelError: no model of that name.
    """
    if name.endswith(".pt"):
        return _from_checkpoint(Path(name))
    return _from_model(name)


def _from_checkpoint(path: Path) -> tuple[SicNet, str]:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        config = TrainConfig.from_json(saved["config"]).model
        net = SicNet(config)
        net.load_state_dict(saved["average"])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} is no training checkpoint: {error}") from error
    return net.eval(), hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _from_model(name: str) -> tuple[SicNet, str]:
    from deepsic.codec import Codec

    codec = Codec.load(name)
    return codec.net, codec.identity.hex()


def export_best(trials: Sequence[Trial], folder: Path) -> Path | None:
    """Write the net of the trial with the largest gain; None if it left no checkpoint."""
    for trial in trials:
        if trial.checkpoint is None:
            continue
        state: dict[str, Any] = torch.load(
            Path(trial.checkpoint) / MODEL_FILE, map_location="cpu", weights_only=True
        )
        path = folder / BEST
        torch.save({"average": state["average"], "trial": trial.id}, path)
        return path
    return None
