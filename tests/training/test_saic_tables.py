"""The SAIC paper's tables on four small images: measured from real files, taken up, shown."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.saic import measure as measuring
from benchmarks.saic import run, tables, variants
from benchmarks.saic.summary import load
from deepsic.errors import InputError
from deepsic.losses import TDIC
from deepsic.training.start import model_file_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two smooth images."""
    random = np.random.default_rng(0)
    for wnid in ("n01440764", "n02102040"):
        (tmp_path / "set" / wnid).mkdir(parents=True)
        for name in ("a", "b"):
            coarse = Image.fromarray(random.integers(0, 255, (9, 9, 3), np.uint8))
            smooth = coarse.resize((96, 96), Image.Resampling.BICUBIC)
            smooth.save(tmp_path / "set" / wnid / f"{name}.png")
    return tmp_path / "set"


def test_measured_taken_up_and_shown(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"rates": [0.5], "classifiers": ["squeezenet"], "only": "*", "limit": 4}
    out = tmp_path / "out"
    measuring.measure(folder, out, ["jpeg", "webp"], **settings)  # type: ignore[arg-type]
    first = (out / "jpeg@0.5.npz").stat().st_mtime_ns
    measuring.measure(folder, out, ["jpeg", "webp"], **settings)  # type: ignore[arg-type]
    assert (out / "jpeg@0.5.npz").stat().st_mtime_ns == first
    runs = load(out)
    assert [run.arm for run in runs] == ["original", "jpeg", "webp"]
    assert np.allclose(runs[1].arrays["bpp"], 0.5, rtol=0.03)
    assert set(runs[0].original["labels"]) == {0, 217}
    assert runs[0].agrees("squeezenet").mean() == 100
    capsys.readouterr()
    tables._features(runs)
    assert "webp" in capsys.readouterr().out


def test_variants_differ_in_the_distortion_alone() -> None:
    made = [
        variants.variant(name, mix, start="sic", steps=9, seed=2)
        for name, mix in variants.VARIANTS.items()
    ]
    alike = {
        replace(one, name="", objective=replace(one.objective, distortion=TDIC)).to_json()
        for one in made
    }
    assert len(alike) == 1
    assert len({one.identity for one in made}) == 3


def test_variants_train_from_their_default_start(tmp_path: Path) -> None:
    """A start of another net would lose the weights that this one doesn't have."""
    from deepsic.training.trainer import Trainer

    default = inspect.signature(run.train).parameters["start"].default
    made = variants.variant("tdic", TDIC, start=default, steps=1, seed=0)
    assert Trainer(made).net.config == made.net
    file = model_file_of(default)
    assert file is not None
    assert file.config["revision"] == made.net.revision
    assert file.config.get("wide", False) == made.net.wide


def test_nothing_measured_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing measured"):
        tables.show(tmp_path)
