"""What a training run is: everything that, when changed, makes it another run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from deepsic.errors import UsageError
from deepsic.models.semantic.head import HeadConfig
from deepsic.models.sic.net import SicConfig

_SEMANTIC = ("semantic", "head", "labels", "teacher")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One run of the joint objective `R + lambda_1 D + lambda_2 L_sem` (DeepSIC Eq. 4)."""

    model: SicConfig = field(default_factory=SicConfig)
    steps: int = 200_000
    """Optimiser steps of the whole schedule."""
    batch: int = 8
    """Crops a worker and step."""
    crop: int = 128
    """Side of a crop, pixels; a multiple of 32."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW; cosine decay to a hundredth."""
    warmup: int = 200
    """Steps of linear warm-up."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the running average of weights that is exported."""
    quantise_at: float = 0.85
    """Share of the schedule after which the probability nets run on the integer grid."""
    freeze_at: float = 0.85
    """Share of the schedule after which the encoder is frozen (last stage)."""
    seed: int = 0
    bf16: bool = True
    """Autocast to bfloat16; the linear path stays in float32."""
    semantic: float = 0.0
    """lambda_2, the weight of L_sem; 0 trains no head."""
    head: HeadConfig = field(default_factory=HeadConfig)
    """Sizes of the semantic head."""
    labels: str = "imagenette"
    """Label set of the head's classes."""
    teacher: str = ""
    """Classifier whose soft answers stand where a picture has no label; "" for none."""

    def __post_init__(self) -> None:
        if self.crop % 32:
            raise UsageError(f"crop={self.crop} must be a multiple of 32")
        if self.steps < 1 or self.batch < 1:
            raise UsageError("steps and batch must be positive")
        for name in ("quantise_at", "freeze_at"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is a share of the schedule: give 0 .. 1")
        if self.semantic < 0:
            raise UsageError(f"semantic={self.semantic} is a weight: give 0 or more")

    def to_json(self) -> str:
        """The resolved configuration, sorted, as saved beside every checkpoint."""
        values = asdict(self)
        if not self.semantic:  # what isn't used doesn't make another run
            for name in _SEMANTIC:
                del values[name]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """Inverse of `to_json`."""
        values = json.loads(text)
        values["model"] = SicConfig(**values["model"])
        if "head" in values:
            values["head"] = HeadConfig(**values["head"])
        return cls(**values)

    @property
    def identity(self) -> str:
        """Eight hex digits that change with any setting: part of the run's name."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]
