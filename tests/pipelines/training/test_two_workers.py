"""Recipes on two Ray workers: a worker is killed, then the driver, and the run ends as undisturbed.

Each with its own objective, nets and stages, on few steps of small crops.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.training.progress import resumed_at
from tests.pipelines.training.drive import finished, images, saved_step, started, until
from tests.pipelines.training.drive import workers_of as trainers_of

pytestmark = pytest.mark.slow
INTERVAL = 10


@dataclass(frozen=True, kw_only=True)
class Case:
    """A recipe made small."""

    recipe: str
    stages: tuple[int, ...]
    """Steps of each."""
    crops: tuple[str, ...]
    """What holds its crop sizes: `--crops.0`, `--stages.0.crops.0`."""
    side: int = 64
    start: str = ""
    """File that the run starts from, which an earlier case made."""
    more: tuple[str, ...] = ()

    def options(self) -> list[str]:
        """Of the command."""
        found = ["--data", "prepared", "--workers", "2", "--epoch-steps", str(INTERVAL)]
        found += ["--checkpoint-seconds", "1000", "--validation-images", "2"]
        for number, steps in enumerate(self.stages):
            found += [f"--stages.{number}.steps", str(steps), f"--stages.{number}.warmup", "2"]
        for name in self.crops:
            found += [f"{name}.side", str(self.side), f"{name}.batch", "1"]
        return [*found, *self.more, *(["--start", self.start] if self.start else [])]


ONE, TWO = ("--crops.0",), ("--crops.0", "--crops.1")
#: The others are of packages that not every machine has.
LITE = ("--objective.networks", "efficientnet-lite0", "efficientnet-lite0@_blocks.4")
CASES = (
    Case(recipe="saic-tdic", stages=(400,), crops=ONE),
    Case(recipe="saic-apic", stages=(150,), crops=ONE, start="tdic.safetensors"),
    Case(recipe="saic-saic", stages=(150,), crops=ONE, start="tdic.safetensors"),
    Case(recipe="head", stages=(100,), crops=TWO, side=128),
    Case(recipe="sic-machine", stages=(150, 50), crops=TWO, more=LITE),
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared images, and a first stage's model for the second paper's others."""
    folder = tmp_path_factory.mktemp("two")
    source = images(folder / "photos", 24)
    finished("preprocess", str(source), "--out", "prepared", cwd=folder, log=folder / "prepare.log")
    calm(CASES[0], folder, export="tdic.safetensors")
    return folder


def calm(case: Case, work: Path, *, export: str = "none") -> dict[str, float]:
    """Figures of a run that nobody kills."""
    log = work / f"{case.recipe}-calm.log"
    if not log.exists():
        options = [*case.options(), "--storage", "calm", "--export", export, *tracked(case, "calm")]
        finished("train", case.recipe, *options, cwd=work, log=log, seconds=900)
    assert resumed_at(log.read_text()) == []
    return figures(log.read_text())


def tracked(case: Case, name: str) -> list[str]:
    return ["--tracking-uri", f"sqlite:///{case.recipe}-{name}.db"]


def figures(log: str) -> dict[str, float]:
    """Of validation, in the table that a run ends with."""
    return {name: float(value) for name, value in re.findall(r"(val/\S+)\s+\S?\s*(-?[\d.]+)", log)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.recipe)
def test_killed_worker_and_driver_cost_nothing(
    case: Case, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = calm(case, work)
    storage, steps = work / "killed" / case.recipe, sum(case.stages)
    options = [*case.options(), "--storage", str(storage), "--export", "none"]
    options += tracked(case, "killed")
    first, again = work / f"{case.recipe}-killed.log", work / f"{case.recipe}-again.log"
    with started("train", case.recipe, *options, cwd=work, log=first) as process:
        until(lambda: saved_step(storage) >= INTERVAL, process)
        before = trainers_of(process)
        before[-1].send_signal(signal.SIGKILL)
        until(lambda: len(set(trainers_of(process)) - set(before)) == 2, process)
        behind = max(saved_step(storage), steps // 3) // INTERVAL * INTERVAL + INTERVAL
        until(lambda: saved_step(storage) >= behind, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    log = finished("train", case.recipe, *options, cwd=work, log=again, seconds=900)
    (at,) = resumed_at(log)
    found = figures(log)
    with capsys.disabled():
        print(f"\n{case.recipe}: again from {resumed_at(first.read_text())} and {at}: {found}")
        print(f"undisturbed: {undisturbed}")
    assert behind - INTERVAL <= at < steps
    assert set(found) == set(undisturbed)
    assert found
    for name, value in undisturbed.items():
        bound = {"rel": 0.005} if "bpp" in name else {"abs": 0.02}
        assert found[name] == pytest.approx(value, **bound), name
    one_run(work / f"{case.recipe}-killed.db", steps)


def one_run(store: Path, steps: int) -> None:
    """MLflow has one run, finished, with every step at most once."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.info.status == "FINISHED"
    for name in run.data.metrics:
        if name.startswith(("train/", "val/")):
            seen = [metric.step for metric in client.get_metric_history(run.info.run_id, name)]
            assert sorted(set(seen)) == seen, name
            assert seen[-1] <= steps
