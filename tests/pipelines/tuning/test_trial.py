"""A trial in this process: evaluated at every rung, resumed as if nothing had happened."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.train import Checkpoint

from deepsic import weights
from deepsic.codec import Codec
from deepsic.errors import UsageError
from deepsic.training.run import CHECKPOINT
from pipelines.tuning.export import export_best
from pipelines.tuning.job import TuneJob
from pipelines.tuning.outcome import Trial
from pipelines.tuning.start import StartFile, images_of, measure_start
from pipelines.tuning.trial import _train
from tests.support.small_model import model_path as model_path
from tests.support.small_model import photograph

POINT = {"bpp": 4.0, "lam": 0.05, "tau": 100.0}


class Api:
    """What `ray.tune` gives a trial; the process is lost after `survives` reports."""

    Checkpoint = Checkpoint

    def __init__(self, folder: Path, survives: int = 99) -> None:
        self.folder, self.survives = folder, survives
        self.reports: list[dict[str, Any]] = []

    def report(self, metrics: dict[str, Any], checkpoint: Checkpoint) -> None:
        with checkpoint.as_directory() as made:
            shutil.copytree(made, self.folder, dirs_exist_ok=True)
        self.reports.append(metrics)
        if len(self.reports) == self.survives:
            raise RuntimeError("lost")

    def get_checkpoint(self) -> Checkpoint | None:
        return Checkpoint(self.folder) if self.folder.exists() else None


@pytest.fixture(scope="module")
def job(model_path: Path) -> TuneJob:
    return TuneJob(
        start=str(model_path), start_hash="a", data=("embedded",), data_hash="b", space="small",
        space_hash="c", steps=4, rungs=2, batch=1, side=64, validation_images=3,
        classifier="squeezenet",
    )  # fmt: skip


def test_rungs_resuming_and_the_model_file(job: TuneJob, tmp_path: Path) -> None:
    file = StartFile.of(job.start)
    starts = measure_start(job, file, (4.0,))
    assert starts[4.0].found.bpp <= 4.0
    cpu = torch.device("cpu")
    whole = Api(tmp_path / "whole")
    _train(job, file, starts[4.0], POINT, api=whole, device=cpu)
    assert [report["step"] for report in whole.reports] == [2, 4]
    for report in whole.reports:
        assert report["gain"] == report["agreement"] - starts[4.0].found.agreement
        assert report["bpp"] <= 4.0
    broken = Api(tmp_path / "broken", survives=1)
    with pytest.raises(RuntimeError, match="lost"):
        _train(job, file, starts[4.0], POINT, api=broken, device=cpu)
    _train(job, file, starts[4.0], POINT, api=broken, device=cpu)
    for mine, theirs in zip(broken.reports, whole.reports, strict=True):
        assert mine == pytest.approx(theirs, nan_ok=True)

    row = {"rate": 4.0, "agreement": 0.5, "gain": 0.0, "psnr": 20.0, "si": 0.0, "steps": 4}
    best = Trial(id="x", **POINT, **row, checkpoint=str(whole.folder))  # type: ignore[arg-type]
    (file,) = export_best([best], images_of(job), tmp_path)
    assert file.name == "best-4.safetensors"
    assert file.with_suffix(".md").is_file()
    assert weights.read(file).preset == "sic"
    codec = Codec.load(file, device="cpu")
    assert codec.decode(codec.encode(photograph(64, 96), quality=50)).size == (96, 64)
    assert (whole.folder / CHECKPOINT).is_file()


def test_a_rate_out_of_reach_is_named(job: TuneJob) -> None:
    with pytest.raises(UsageError, match="lowest quality costs"):
        measure_start(job, StartFile.of(job.start), (1e-4,))
