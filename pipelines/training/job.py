"""What a training job is, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from deepsic.errors import UsageError
from deepsic.training.recipe import Recipe
from deepsic.training.run import Pace

__all__ = ["TrainJob"]


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """One run; what changes the result is in its name."""

    recipe: Recipe[Any, Any]
    """With the number of classes of its label set."""
    data: tuple[str, ...]
    """Prepared folders, data files, or the embedded photographs."""
    data_hash: str
    """Of what they hold."""
    start_hash: str = ""
    """Of the start's files, so that another file of the same name makes another run."""
    storage: str = "runs/train"
    """Where checkpoints go: a folder, or s3://bucket/prefix."""
    workers: int = 1
    device: str = "cpu"
    """"cpu", or "cuda" for one GPU a worker."""
    compiled: bool = False
    """Run steps through torch.compile."""
    loaders: int = 1
    """Threads of a worker that cut crops."""
    pace: Pace = field(default_factory=Pace)
    max_restarts: int = 3
    """Times that lost workers are started again."""
    tracking_uri: str = "none"

    def __post_init__(self) -> None:
        if min(self.workers, self.loaders) < 1 or self.max_restarts < 0:
            raise UsageError("workers and loaders must be positive, max_restarts not negative")
        if self.device not in ("cpu", "cuda"):
            raise UsageError(f"device={self.device!r} is neither cpu nor cuda")

    @property
    def identity(self) -> str:
        """Eight hex digits that change with whatever changes the result."""
        parts = [self.recipe.identity, self.data_hash, self.start_hash, self.workers]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """Of the run: another recipe never goes on from this one's checkpoints."""
        return f"{self.recipe.name}-{self.identity}"

    def params(self) -> dict[str, object]:
        """For MLflow: the recipe's fields and the job's, flat."""
        values = asdict(self)
        recipe = values.pop("recipe")
        return _flat("", values) | _flat("recipe.", recipe)


def _flat(prefix: str, values: dict[str, Any]) -> dict[str, object]:
    made: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            made |= _flat(f"{prefix}{name}.", value)
        else:
            made[prefix + name] = value
    return made
