"""Training away from home: a data file, pieces of a run, a restart file; and on a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
TINY = [
    "--net.width8", "16", "--net.width16", "16", "--net.context", "16", "--crops.0.side", "32",
    "--stages.0.steps", "4", "--stages.1.steps", "4", "--epoch-steps", "4",
]  # fmt: skip


def train(*words: str, cwd: Path) -> str:
    """`train.py` as a user starts it; what it said."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / "train.py"), *words],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr


def test_a_run_in_pieces_from_a_data_file_and_a_restart_file(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the embedded photographs are scikit-image's")
    pytest.importorskip("typer")
    train(
        "pack",
        "crops.pack",
        "--data",
        "embedded",
        "--max-bytes",
        "1MB",
        "--side",
        "64",
        cwd=tmp_path,
    )
    assert (tmp_path / "crops.pack").stat().st_size <= 2**20
    here = ["small", "--data", "crops.pack", "--local", *TINY]
    said = train(*here, "--run-seconds", "0.001", "--storage", "first", cwd=tmp_path)
    assert "stopped; the same command resumes" in said
    assert "finished" not in said
    said = train(*here, "--run-steps", "5", "--storage", "first", cwd=tmp_path)
    assert "stopped; the same command resumes" in said
    (state,) = (tmp_path / "first").rglob("state.pt")
    assert torch.load(state, weights_only=True)["step"] == 5
    train("restart", str(state), "restart.pt", cwd=tmp_path)
    assert (tmp_path / "restart.pt").stat().st_size < 16 * 2**20
    said = train(
        *here, "--storage", "second", "--restart", "restart.pt", "--export", "m.safetensors",
        cwd=tmp_path,
    )  # fmt: skip
    assert "model" in said
    card = (tmp_path / "m.md").read_text()
    assert "8 of 8 steps" in card
    assert "files/bpp_q50" in card


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize(
    "name", ["small", "sic-machine", "saic-saic", "deepsic-pre", "head", "deepsic-head"]
)
def test_each_kind_of_recipe_steps_and_validates_on_a_gpu(name: str, tmp_path: Path) -> None:
    from dataclasses import replace

    from deepsic.recipes import recipe
    from deepsic.training.run import LocalWatcher, Pace, Run, starting_images
    from deepsic.training.trainer import Trainer
    from tests.training.made import images

    made = recipe(name)
    if name == "sic-machine":  # the other networks are of packages that not every machine has
        mix = replace(made.objective, networks=("efficientnet-lite0",))
        made = replace(made, objective=mix)
    stages = tuple(replace(stage, steps=2, crops=()) for stage in made.stages)
    made = replace(made, stages=stages, start=(), crops=(replace(made.crops[0], batch=2),))
    data = images(side=256)
    trainer = Trainer(made, device="cuda")
    trainer.begin(starting_images(data))
    assert Run(
        trainer=trainer, images=data, held_out=data, pace=Pace(epoch_steps=2),
        watcher=LocalWatcher(tmp_path, lambda step, values: None),
    ).run()  # fmt: skip
