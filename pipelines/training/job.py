"""What a training job is, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from deepsic.errors import UsageError
from deepsic.training.four_stage import FourStageTrainConfig
from deepsic.training.presets import AnyConfig

__all__ = ["TrainJob"]


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """One run; what changes the result is in its name."""

    config: AnyConfig
    data: str
    """Folder of a version that `preprocess.py` made."""
    manifest_hash: str
    storage: str = "runs/train"
    """Where checkpoints go: a folder, or s3://bucket/prefix."""
    workers: int = 1
    gpu: bool = False
    init: str | None = None
    """Checkpoint or model file whose weights are the start."""
    init_hash: str = ""
    """Of that file, so that another one of its name makes another run."""
    epoch_steps: int = 500
    """Steps between validations; each ends with a checkpoint."""
    checkpoint_seconds: float = 300.0
    """Longest time between two checkpoints."""
    hold_out: int = 16
    """Every n-th file validates and is never trained on."""
    val_pictures: int = 8
    """How many of those are coded at every validation."""
    val_labelled: int = 64
    """How many of those the semantic head is asked about."""
    memory_mb: int = 2000
    """Decoded pictures that a worker holds; larger sets are read shard by shard, in rounds."""
    max_failures: int = 3
    """Worker losses that the job survives."""
    tracking_uri: str = "off"

    def __post_init__(self) -> None:
        for name in ("workers", "epoch_steps", "val_pictures", "val_labelled", "memory_mb"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be positive")
        if self.hold_out < 2:
            raise UsageError("hold_out must be at least 2: something has to be trained on")

    @property
    def identity(self) -> str:
        """Eight hex digits that change with whatever changes the result."""
        parts = [self.config.identity, self.manifest_hash, self.init_hash, self.hold_out]
        text = json.dumps([*parts, self.workers])
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """Of the run: another configuration never goes on from this one's checkpoints."""
        config = self.config
        preset = config.model.preset if isinstance(config, FourStageTrainConfig) else "sic"
        return f"{preset}-{self.identity}"

    def params(self) -> dict[str, object]:
        """For MLflow: settings, with the configuration's own beside them."""
        values: dict[str, Any] = asdict(self)
        config = values.pop("config")
        model = config.pop("model")
        resolved: dict[str, object] = {**values, **config}
        return resolved | {f"model.{name}": value for name, value in model.items()}
