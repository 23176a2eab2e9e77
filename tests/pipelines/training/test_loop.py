"""A worker's loop without a cluster: checkpoints, metrics, and going on where it stopped."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.train

from deepsic.models.semantic.head import HeadConfig
from deepsic.models.sic.net import SicConfig
from deepsic.training.config import TrainConfig
from pipelines.training.job import TrainJob
from pipelines.training.loop import CHECKPOINT, train_loop
from tests.pipelines.training.made import class_folders, prepared


class Cluster:
    """What Ray Train gives a worker, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[dict[str, Any]] = []
        self.fails_at: int | None = None

    def report(self, metrics: dict[str, Any], checkpoint: Any = None) -> None:
        if metrics["step"] == self.fails_at:
            raise RuntimeError("lost")
        self.reports.append(metrics)
        with checkpoint.as_directory() as made:
            shutil.copy(Path(made) / CHECKPOINT, self.folder / CHECKPOINT)

    def last(self) -> Any:
        found = (self.folder / CHECKPOINT).exists()
        return ray.train.Checkpoint.from_directory(self.folder) if found else None


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cluster:
    (tmp_path / "saved").mkdir()
    made = Cluster(tmp_path / "saved")
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(ray.train, "get_checkpoint", made.last)
    monkeypatch.setattr(ray.train, "report", made.report)
    return made


def test_checkpoints_metrics_and_resuming(cluster: Cluster, tmp_path: Path) -> None:
    data = prepared(class_folders(tmp_path / "photos", each=4, side=64), tmp_path / "data")
    job = TrainJob(
        config=TrainConfig(
            model=SicConfig(width8=16, width16=16, depth=1, context=16), steps=30, batch=2,
            crop=32, warmup=1, bf16=False, semantic=1.0,
            head=HeadConfig(width=8, stem=8, blocks=((3, 2, 8),), expand=2, hidden=16),
        ),
        data=data, manifest_hash="x", epoch_steps=10, val_pictures=1, val_labelled=2,
    )  # fmt: skip
    cluster.fails_at = 20
    with pytest.raises(RuntimeError, match="lost"):
        train_loop({"job": job, "about": {}})
    cluster.fails_at = None
    train_loop({"job": job, "about": {}})
    assert [report["step"] for report in cluster.reports] == [10, 20, 30]
    last = cluster.reports[-1]
    assert {"val/bpp", "val/psnr", "val/top1", "val/top1_pre", "data_wait_s"} <= set(last)
    assert "steps_per_s" not in last  # warm-up was all of it
