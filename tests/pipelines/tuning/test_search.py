"""The search whole, as a command: killed half-way, it goes on; MLflow holds every trial."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepsic.zoo import names

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow


def command(folder: Path) -> list[str]:
    stage = str(ROOT / "pipelines" / "tune_saic.py")
    sizes = ["--trials", "2", "--steps", "2", "--rungs", "2", "--batch", "1", "--workers", "0"]
    store = f"sqlite:///{folder}/mlflow.db"
    return [sys.executable, stage, *sizes, "--tracking-uri", store]


def environment() -> dict[str, str]:
    small = {"DEEPSIC_NUM_CPUS": "1", "DEEPSIC_OBJECT_STORE_MB": "150", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **small, "RAY_raylet_start_wait_time_s": "120"}


def results(folder: Path) -> list[Path]:
    return [p for p in folder.glob("runs/tune/*/*/result.json") if p.stat().st_size]


def kill_group(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_half_way_it_goes_on(tmp_path: Path) -> None:
    if "sic" not in names():
        pytest.skip("no model ships to start from")
    pytest.importorskip("skimage")
    first = subprocess.Popen(
        command(tmp_path), cwd=tmp_path, env=environment(), start_new_session=True
    )
    deadline = time.monotonic() + 900
    try:
        while not results(tmp_path) and first.poll() is None and time.monotonic() < deadline:
            time.sleep(1)
    finally:
        kill_group(first)
    assert results(tmp_path), "no trial reported before the kill"
    again = subprocess.run(
        command(tmp_path),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "going on with" in again.stderr
    assert "left open" in again.stderr
    told = [json.loads(line) for line in again.stderr.splitlines() if line.startswith("{")]
    assert told[-1]["done"] == told[-1]["total"] == 2, "trials that were kept count as done"
    (out,) = (path for path in (tmp_path / "runs" / "tune").iterdir() if path.is_dir())
    trials = json.loads((out / "trials.json").read_text())
    assert len(trials) == 2
    for name in ("pareto.png", "tau.png", "job.json", "best.safetensors"):
        assert (out / name).stat().st_size > 100
    check_mlflow(f"sqlite:///{tmp_path}/mlflow.db")


def check_mlflow(uri: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tune-saic")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    finished = [
        run for run in runs if "trial_name" in run.data.tags and run.info.status == "FINISHED"
    ]
    assert len(finished) == 2
    for run in finished:
        assert {"bpp", "lam", "tau"} <= set(run.data.params)
        assert {"gain", "agreement", "psnr"} <= set(run.data.metrics)
        assert client.list_artifacts(run.info.run_id)
