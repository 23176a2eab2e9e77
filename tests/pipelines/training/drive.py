"""`preprocess.py` and `train.py` as a user starts them, and what is seen of a run from outside."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

from tests.support.small_model import photograph

ROOT = Path(__file__).parents[3]
INTERVAL = 30
"""Steps between checkpoints of the runs here."""
STEPS = 150
SETTINGS = [
    "--stages.0.steps", "110", "--stages.1.steps", str(STEPS - 110), "--crops.0.batch", "2",
    "--epoch-steps", str(INTERVAL), "--export", "none",
]  # fmt: skip
ENVIRONMENT = {
    "DEEPSIC_NUM_CPUS": "1", "DEEPSIC_OBJECT_STORE_MB": "200", "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
}  # fmt: skip


def images(folder: Path, count: int = 10) -> Path:
    """A folder with made-up photographs."""
    folder.mkdir()
    for number in range(count):
        Image.fromarray(np.asarray(photograph(128, 160, number))).save(folder / f"{number}.png")
    return folder


@contextlib.contextmanager
def started(stage: str, *arguments: str, cwd: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A stage as a process of its own, its output in `log`; it and its children end with us."""
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | ENVIRONMENT
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "pipelines" / f"{stage}.py"), *arguments],
            cwd=cwd, env=environment, stdout=out, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        seen = [psutil.Process(process.pid)]
        try:
            yield process
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                seen += seen[0].children(recursive=True)
            for child in seen:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            process.wait()


def finished(stage: str, *arguments: str, cwd: Path, log: Path, seconds: float = 400) -> str:
    """Run a stage to its end; what it said."""
    with started(stage, *arguments, cwd=cwd, log=log) as process:
        code = process.wait(seconds)
    assert code == 0, log.read_text()[-3000:]
    return log.read_text()


def until(true: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 300) -> None:
    """Wait; a process that ends first, or time, is a failure."""
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def saved_step(storage: Path) -> int:
    """Step of the newest checkpoint below a folder, 0 without one."""
    found = sorted(storage.rglob("state.pt"), key=lambda path: path.stat().st_mtime)
    for path in reversed(found):
        with contextlib.suppress(OSError, RuntimeError, EOFError):  # one may be in the making
            return int(torch.load(path, weights_only=True)["step"])
    return 0


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Ray's training workers among a process's descendants."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "TrainWorker" in " ".join(child.cmdline()):
                found.append(child)
    return found


def last(log: str, name: str) -> float:
    """A metric in the table that a run ends with."""
    found = re.findall(rf"{re.escape(name)}\s+\S?\s*([\d.]+)", log)
    assert found, log[-2000:]
    return float(found[-1])
