"""The search whole, as a command: killed and interrupted, it resumes; MLflow holds every trial."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from deepsic import weights
from tests.codec.conftest import model_path as model_path

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow
SPACE = """
from ray import tune

def space():
    return {"bpp": tune.choice([4.0]), "lam": tune.loguniform(0.01, 0.1), "tau": tune.choice([5.0])}
"""
SIZES = (
    "--trials", "2", "--steps", "4", "--rungs", "2", "--batch", "1", "--side", "64",
    "--validation-images", "3", "--classifier", "squeezenet", "--data", "embedded",
)  # fmt: skip


def command(folder: Path, start: Path, *more: str) -> list[str]:
    (folder / "space.py").write_text(SPACE)
    stage = str(ROOT / "pipelines" / "tune_saic.py")
    store = f"sqlite:///{folder}/mlflow.db"
    given = ["--start", str(start), "--space", "space.py", "--tracking-uri", store]
    return [sys.executable, stage, *SIZES, *given, *more]


def environment() -> dict[str, str]:
    small = {"DEEPSIC_NUM_CPUS": "1", "DEEPSIC_OBJECT_STORE_MB": "150", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **small}


def results(folder: Path) -> list[Path]:
    return [p for p in folder.glob("runs/tune/*/*/result.json") if p.stat().st_size]


def stopped_after_a_rung(command: Sequence[str], folder: Path, number: int) -> tuple[int, str]:
    """Run a command and send it a signal once a trial has reported; its exit code and stderr."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), start_new_session=True, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    before = len(results(folder))
    deadline = time.monotonic() + 900
    while len(results(folder)) <= before and process.poll() is None:
        assert time.monotonic() < deadline, "no trial reported"
        time.sleep(0.5)
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def test_killed_and_interrupted_it_resumes(tmp_path: Path, model_path: Path) -> None:
    pytest.importorskip("skimage")
    given = command(tmp_path, model_path)
    code, _ = stopped_after_a_rung(given, tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL
    code, said = stopped_after_a_rung(given, tmp_path, signal.SIGINT)
    assert code == 130, said
    assert "resuming" in said
    assert '"finished"' not in said
    again = subprocess.run(
        given, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    printed = [json.loads(line) for line in again.stderr.splitlines() if line.startswith("{")]
    assert printed[-1]["done"] == printed[-1]["total"] == 2, "trials that were kept count as done"
    assert printed[-1]["finished"]
    (out,) = (path for path in (tmp_path / "runs" / "tune").iterdir() if path.is_dir())
    trials = json.loads((out / "trials.json").read_text())
    assert len(trials) == 2
    assert sum(trial["best"] for trial in trials) == 1
    for name in ("pareto.png", "tau.png", "job.json"):
        assert (out / name).stat().st_size > 100
    assert weights.read(out / "best-4.safetensors").preset == "sic"
    check_mlflow(f"sqlite:///{tmp_path}/mlflow.db")


def check_mlflow(uri: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tune-saic")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.status for run in parents] == ["FINISHED"], "one search, one run"
    nested = [run for run in runs if run not in parents]
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {parents[0].info.run_id}
    assert {run.info.status for run in nested} <= {"FINISHED", "KILLED"}
    finished = [run for run in nested if run.info.status == "FINISHED"]
    assert len(finished) == 2
    for run in finished:
        assert {"bpp", "lam", "tau"} <= set(run.data.params)
        assert {"gain", "agreement", "psnr"} <= set(run.data.metrics)
        steps = [m.step for m in client.get_metric_history(run.info.run_id, "gain")]
        assert steps == sorted(set(steps)), "no rung twice"


def test_a_gpu_that_is_not_there_is_named_at_once(tmp_path: Path, model_path: Path) -> None:
    asked = subprocess.run(
        command(tmp_path, model_path, "--device", "cuda", "--workers", "2"),
        cwd=tmp_path, env=environment() | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert asked.returncode == 2, asked.stderr
    assert "2 workers take 2 GPUs and this machine has 0" in asked.stderr


def test_two_workers_a_trial_on_a_grid(tmp_path: Path, model_path: Path) -> None:
    given = command(tmp_path, model_path, "--workers", "2", "--search", "grid")
    (tmp_path / "space.py").write_text(
        SPACE.replace("tune.choice([4.0])", "4.0")
        .replace("tune.loguniform(0.01, 0.1)", "0.05")
        .replace("tune.choice([5.0])", "tune.grid_search([1.0, 100.0])")
    )
    done = subprocess.run(
        given, cwd=tmp_path, env=environment() | {"DEEPSIC_NUM_CPUS": "3"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (out,) = (path for path in (tmp_path / "runs" / "tune").iterdir() if path.is_dir())
    trials = json.loads((out / "trials.json").read_text())
    assert sorted(trial["tau"] for trial in trials) == [1.0, 100.0]
    assert (out / "best-4.safetensors").is_file()
    rows = [list(map(json.loads, path.read_text().splitlines())) for path in results(tmp_path)]
    assert [[row["step"] for row in rung] for rung in rows] == [[2, 4], [2, 4]], "all points alike"
