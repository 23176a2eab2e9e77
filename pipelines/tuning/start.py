"""The model that every trial starts from, and the model file that the search ends with."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from deepsic import weights
from deepsic.models.sic.net import SicNet
from deepsic.training import start
from pipelines.models import model_file
from pipelines.tuning.job import TuneJob
from pipelines.tuning.outcome import Trial
from pipelines.tuning.pictures import PictureSet
from pipelines.tuning.trial import MODEL_FILE

__all__ = ["export_best", "load_start"]

BEST = "best.safetensors"
#: Pictures whose statistics give the model file its first probabilities.
_MEASURED = 16


def load_start(name: str) -> tuple[SicNet, str]:
    """A trainable net by name, model file or training checkpoint, here or on s3://; its identity.

    Raises:
        InputError: a checkpoint that can't be read.
        UnknownModelError: no model of that name.
    """
    if name.endswith(".pt"):
        checkpoint = model_file(name)
        net = start.from_checkpoint(checkpoint)
        return net, hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:16]
    path = model_file(name)
    return start.load_start(str(path)), weights.identity_of(path).hex()


def export_best(
    job: TuneJob,
    net: SicNet,
    trials: Sequence[Trial],
    pictures: PictureSet,
    folder: Path,
    filesystem: Any = None,
) -> Path | None:
    """Write the net of the trial with the largest gain as a model file.

    Args:
        net: of the start; takes the trial's weights.
        filesystem: pyarrow's, where checkpoints are; None: local paths.

    Returns: its path, or None if no trial left a checkpoint.
    """
    from deepsic.models.sic.packing import pack

    for trial in trials:
        if trial.checkpoint is None:
            continue
        path_there = f"{trial.checkpoint}/{MODEL_FILE}"
        with filesystem.open_input_file(path_there) if filesystem else open(path_there, "rb") as f:
            data = io.BytesIO(f.read())
        state: dict[str, Any] = torch.load(data, map_location="cpu", weights_only=True)
        net.load_state_dict(state["average"])
        net.context.set_quantised(True)
        measured = [p.transpose(1, 2, 0).copy() for p in pictures.train[:_MEASURED]]
        provenance = {"recipe": "tune_saic", "job": asdict(job), "trial": asdict(trial)}
        path = folder / BEST
        weights.write(path, pack(net, measured, provenance=provenance))
        return path
    return None
