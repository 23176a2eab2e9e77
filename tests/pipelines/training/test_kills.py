"""SIGKILL of a training worker, and of the driver: at most one checkpoint interval is lost."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from pipelines.training.progress import resumed_at
from tests.pipelines.training.drive import (
    INTERVAL,
    SETTINGS,
    STEPS,
    finished,
    images,
    last,
    saved_step,
    started,
    until,
    workers_of,
)

pytestmark = pytest.mark.slow
KILLED_AT = 2 * INTERVAL


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared images."""
    folder = tmp_path_factory.mktemp("train")
    source = images(folder / "photos")
    finished(
        "preprocess", str(source), "--out", "prepared", cwd=folder, log=folder / "preprocess.log"
    )
    return folder


@pytest.fixture(scope="module")
def undisturbed(work: Path) -> tuple[float, float]:
    """Loss figures of a run that nobody kills: val/bpp and val/psnr."""
    log = finished("train", "small", *arguments("calm"), cwd=work, log=work / "calm.log")
    assert resumed_at(log) == []
    return last(log, "val/bpp"), last(log, "val/psnr")


def arguments(storage: str) -> list[str]:
    return ["--data", "prepared", "--storage", storage, *SETTINGS]


def check_end(
    log: str, undisturbed: tuple[float, float], capsys: pytest.CaptureFixture[str]
) -> None:
    """Resumed from the last checkpoint, came to the end, and learned as much."""
    (start,) = resumed_at(log)
    bpp, psnr = last(log, "val/bpp"), last(log, "val/psnr")
    with capsys.disabled():
        print(f"\nwent on from {start}; bpp {bpp:.4f}, psnr {psnr:.3f}; calm {undisturbed}")
    assert last(log, "step") == STEPS
    # The kill came as the checkpoint of KILLED_AT appeared: Ray may not have taken it over yet.
    assert start >= KILLED_AT - INTERVAL
    assert bpp == pytest.approx(undisturbed[0], rel=0.005)
    assert psnr == pytest.approx(undisturbed[1], abs=0.02)


def test_a_killed_worker_is_replaced(
    work: Path, undisturbed: tuple[float, float], capsys: pytest.CaptureFixture[str]
) -> None:
    path = work / "worker.log"
    with started("train", "small", *arguments("worker"), cwd=work, log=path) as process:
        until(lambda: saved_step(work / "worker") >= KILLED_AT, process)
        (worker,) = workers_of(process)
        worker.send_signal(signal.SIGKILL)
        assert process.wait(300) == 0, path.read_text()[-3000:]
    check_end(path.read_text(), undisturbed, capsys)


def test_a_killed_driver_is_started_again(
    work: Path, undisturbed: tuple[float, float], capsys: pytest.CaptureFixture[str]
) -> None:
    with started(
        "train", "small", *arguments("driver"), cwd=work, log=work / "driver.log"
    ) as process:
        until(lambda: saved_step(work / "driver") >= KILLED_AT, process)
        trainers = workers_of(process)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        # Ray's workers share the driver's fate, so that nothing trains on in the dark.
        _, alive = psutil.wait_procs(trainers, timeout=60)
        assert trainers
        assert not alive
    again = finished("train", "small", *arguments("driver"), cwd=work, log=work / "again.log")
    check_end(again, undisturbed, capsys)
