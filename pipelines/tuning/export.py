"""The best trial of each target rate as a model file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepsic.errors import InputError
from deepsic.training.run import CHECKPOINT
from pipelines.training.export import export
from pipelines.training.sources import Images
from pipelines.tuning.outcome import Trial

__all__ = ["export_best"]


def export_best(
    best: Sequence[Trial], images: Images, folder: Path, filesystem: Any = None
) -> list[Path]:
    """Write `best-<bpp>.safetensors` for each trial, each with its card.

    Args:
        best: one trial for each target rate.
        images: of the search; those held out give the files' first probabilities.
        filesystem: pyarrow's, where checkpoints are; None: local paths.

    Returns: the model files.

    Raises:
        InputError: a trial's checkpoint is gone.
    """
    made = []
    for trial in best:
        out = folder / f"best-{trial.bpp:g}.safetensors"
        with tempfile.TemporaryDirectory() as place:
            checkpoint = Path(place) / CHECKPOINT
            checkpoint.write_bytes(_read(trial, filesystem))
            metrics = {"bpp": trial.rate, "psnr": trial.psnr, "agreement": trial.agreement}
            export(checkpoint, out, images=images, metrics=metrics | {"gain": trial.gain})
        made.append(out)
    return made


def _read(trial: Trial, filesystem: Any) -> bytes:
    path = f"{trial.checkpoint}/{CHECKPOINT}"
    try:
        with filesystem.open_input_file(path) if filesystem else open(path, "rb") as file:
            data: bytes = file.read()
            return data
    except FileNotFoundError:
        raise InputError(
            f"the checkpoint of trial {trial.id} ({path}) is gone; delete the search's folder to "
            "search again"
        ) from None
