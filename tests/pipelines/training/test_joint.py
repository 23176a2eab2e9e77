"""The joint objective over Ray: L_sem and val/top1 in MLflow, and a model that gives labels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.training.drive import finished, last
from tests.pipelines.training.made import CLASSES, class_folders, prepared

pytestmark = pytest.mark.slow


def test_a_head_learns_with_the_codec(tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos", each=8, side=192)
    data = prepared(photos, tmp_path / "prepared")
    said = finished(
        "train", "--data", data, "--semantic", "1.0", "--steps", "80", "--epoch-steps", "40",
        "--batch", "4", "--crop", "64", "--lr", "3e-3",
        cwd=tmp_path, log=tmp_path / "train.log",
    )  # fmt: skip
    assert last(said, "val/top1") > 0.9

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("train")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    losses = [m.value for m in client.get_metric_history(run.info.run_id, "loss/semantic")]
    assert losses[-1] < 0.5 * losses[0]
    assert {"val/top1", "val/top1_pre", "val/ms_ssim", "val/bpp"} <= set(run.data.metrics)
    assert {"manifest_hash", "semantic", "crop"} <= set(run.data.params)
    names = {a.path for a in client.list_artifacts(run.info.run_id, "step_0000080")}
    assert names >= {"step_0000080/rate_distortion.png", "step_0000080/sample_0.png"}

    model = str(tmp_path / "runs" / "model.safetensors")
    picture = str(photos / CLASSES[1] / "0.png")
    for words in (
        ["encode", picture, "-o", "a.sic", "--model", model, "--labeler", "head"],
        ["encode", picture, "-o", "b.sic", "--model", model],
        ["labels", "a.sic"],
        ["labels", "b.sic", "--model", model],
    ):
        made = subprocess.run(
            [sys.executable, "-m", "deepsic", *words],
            cwd=tmp_path, check=True, timeout=200, capture_output=True, text=True,
        )  # fmt: skip
        if words[0] == "labels":
            assert "parachute" in made.stdout.split(",")[0], made.stdout
