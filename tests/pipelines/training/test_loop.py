"""A worker's loop without a cluster: checkpoints, metrics, and resuming where it stopped."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.train

from deepsic.models.semantic.head_config import HeadConfig
from deepsic.training.objectives.joint import Joint
from deepsic.training.run import BEST, CHECKPOINT, Pace
from pipelines.stage import tracking
from pipelines.training.export import export
from pipelines.training.job import TrainJob
from pipelines.training.loop import train_loop
from pipelines.training.sources import identity_of, open_images
from tests.pipelines.training.made import class_folders, prepared
from tests.training.made import tiny

HEAD = HeadConfig(classes=10, blocks=((3, 2, 80),), hidden=16)


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
            for path in Path(made).iterdir():
                shutil.copy(path, self.folder / path.name)

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


def joint_job(tmp_path: Path, data: str, uri: str) -> TrainJob:
    recipe = tiny(objective=Joint(lambda2=0.5), head=HEAD, labels="imagenette").with_classes(
        "imagenette", 10
    )
    stages = tuple(
        replace(stage, frozen=tuple("codec." + name for name in stage.frozen))
        for stage in recipe.stages
    )
    return TrainJob(
        recipe=replace(recipe, stages=stages, hold_out=4), data=(data,),
        data_hash=identity_of([data]), pace=Pace(epoch_steps=2, log_steps=1), tracking_uri=uri,
    )  # fmt: skip


def test_checkpoints_metrics_and_resuming_in_one_mlflow_run(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSIC_CACHE", str(tmp_path / "cache"))
    data = prepared(class_folders(tmp_path / "photos", each=6, side=64), tmp_path / "data")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    job = joint_job(tmp_path, data, uri)
    cluster.fails_at = 4
    with pytest.raises(RuntimeError, match="lost"):
        train_loop({"job": job, "about": {}})
    cluster.fails_at = None
    train_loop({"job": job, "about": {}})
    assert [report["step"] for report in cluster.reports] == [2, 4, 6]
    last = cluster.reports[-1]
    assert {"val/bpp", "val/psnr", "val/top1", "val/top1_pre", "val/score"} <= set(last)
    assert (cluster.folder / BEST).is_file()
    client = tracking._client(uri)
    experiment = client.get_experiment_by_name("train").experiment_id
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "train/loss")]
    assert steps == [1, 2, 3, 4, 5, 6]  # 3 and 4 were done twice, and logged once
    assert run.inputs.dataset_inputs[0].dataset.digest == job.data_hash

    recipe = job.recipe
    images = open_images(job.data, labels=recipe.labels, hold_out=4, count=2)
    out = tmp_path / "model.safetensors"
    export(cluster.folder / CHECKPOINT, out, images=images, metrics={"val/bpp": 1.0})
    assert "small" in out.with_suffix(".md").read_text()
    monkeypatch.setattr(sys, "argv", ["another", "command"])
    again = tmp_path / "again.safetensors"
    export(cluster.folder / CHECKPOINT, again, images=images)
    assert again.read_bytes() == out.read_bytes()
    from deepsic import Codec

    codec = Codec.load(out)
    blob = codec.encode(tmp_path / "photos" / "n01440764" / "0.png", quality=40, labels=False)
    assert codec.decode(blob).size == (64, 64)
    assert len(codec.labels(blob, top=10)) == 10
