"""The parts of the search that need no Ray cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image
from ray.train import Checkpoint

from deepsic.errors import UsageError
from deepsic.tasks import load_classifier
from deepsic.tasks.hooks import layer_names
from deepsic.training.data.images import MemoryImages
from deepsic.training.evaluator import Evaluation
from pipelines.tuning.job import TuneJob
from pipelines.tuning.outcome import (
    Trial,
    best_of,
    collect,
    draw_pareto,
    draw_tau,
    pareto,
    write_json,
)
from pipelines.tuning.space import Space, load_space
from pipelines.tuning.start import Start, StartFile, read_start, recipe_of, squares, write_start

ROOT = Path(__file__).parents[3]
JOB = TuneJob(
    start="sic", start_hash="a", data=("embedded",), data_hash="b", space="small", space_hash="c"
)
FOUND = Evaluation(bpp=0.49, psnr=30.0, agreement=0.75, accuracy=None, si=None)


def trial(rate: float, agreement: float, tau: float = 10.0, bpp: float = 0.25) -> Trial:
    return Trial(
        id=f"{rate}",
        bpp=bpp,
        tau=tau,
        lam=0.1,
        rate=rate,
        agreement=agreement,
        gain=agreement - 0.5,
        psnr=30.0,
        si=float("nan"),
        steps=8,
        checkpoint=None,
    )


def test_what_decides_the_outcome_makes_another_search_and_places_do_not() -> None:
    changes: tuple[dict[str, object], ...] = (
        {"seed": 1}, {"steps": 404}, {"start_hash": "c"}, {"data_hash": "c"}, {"layer": "x"},
        {"space_hash": "x"}, {"workers": 2}, {"side": 192}, {"validation_images": 3},
    )  # fmt: skip
    changed = [replace(JOB, **change).name for change in changes]  # type: ignore[arg-type]
    assert len({JOB.name, *changed}) == 1 + len(changes)
    elsewhere = replace(JOB, start="/mnt/sic.safetensors", data=("/mnt/data",), device="cuda")
    assert elsewhere.name == JOB.name


@pytest.mark.parametrize(
    "change",
    [{"trials": 0}, {"rungs": 500}, {"rungs": 3}, {"search": "guess"}, {"device": "tpu"}],
)
def test_jobs_that_make_no_sense(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(JOB, **change)  # type: ignore[arg-type]


SPACES = sorted(path.stem for path in (ROOT / "tune_spaces").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", SPACES)
def test_spaces_that_ship(name: str) -> None:
    space = load_space(name)
    assert all(0 < rate < 1 for rate in space.rates)
    if space.grid:
        replace(JOB, search="grid").check(space)
        assert replace(JOB, search="grid", trials=3).runs(space) == space.grid
        with pytest.raises(UsageError, match="--search grid"):
            JOB.check(space)
    else:
        assert JOB.runs(space) == JOB.trials
        with pytest.raises(UsageError, match="no grid"):
            replace(JOB, search="grid").check(space)


def test_layers_that_a_space_names_are_there() -> None:
    names = layer_names(load_classifier("efficientnet-lite0").network)
    assert set(load_space("layers").values["layer"].categories) <= set(names)


def test_the_papers_temperatures() -> None:
    draws = [load_space("saic").values["tau"].sample() for _ in range(200)]
    assert 1 <= min(draws) < 300 < max(draws) <= 10_000


def test_spaces_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"

    def load(text: str) -> Space:
        path.write_text(text)
        return load_space(str(path))

    first = load("def space():\n    return {'bpp': 1, 'lam': 2, 'tau': 3, 'layer': 'x'}\n")
    assert first.rates == (1.0,)
    assert (
        first.identity != load("def space():\n    return {'bpp': 1, 'lam': 2, 'tau': 4}").identity
    )
    for text, said in (
        ("def space():\n    return {'bpp': 1}", "lacks lam, tau"),
        (
            "def space():\n    return {'bpp': 1, 'lam': 2, 'tau': 3, 'lambda': 1}",
            r"did you mean lam",
        ),
        ("MIX = 1\ndef space():\n    return {'bpp': 1, 'lam': 2, 'tau': 3}", "MIX"),
        ("def space():\n    return {'bpp': 99, 'lam': 2, 'tau': 3}", "between 0 and 24"),
        (
            "from ray import tune\n"
            "def space():\n    return {'bpp': tune.uniform(0, 1), 'lam': 2, 'tau': 3}",
            "equal rate",
        ),
        ("import no_such_module", "no_such_module"),
        ("x = 1", "function space"),
    ):
        with pytest.raises(UsageError, match=said):
            load(text)
    with pytest.raises(UsageError, match=r"did you mean tau_sweep\?.*choose from fine"):
        load_space("tau-sweep")


def test_a_trial_trains_what_its_point_says() -> None:
    file = StartFile.of("sic")
    start = Start(position=0.95, found=FOUND)
    recipe = recipe_of(JOB, file, start, {"bpp": 0.5, "lam": 0.2, "tau": 30.0})
    assert recipe.preset == "sic"
    assert recipe.start == ("sic",)
    assert recipe.objective.qualities == (pytest.approx(1 + 99 * 0.87), 100)
    assert recipe.objective.distortion.semantic == 0.2
    assert recipe.objective.distortion.tau == 30.0
    assert recipe.objective.distortion.pixel == JOB.pixel
    assert recipe.stages[0].integer
    assert recipe.stages[0].learning_rate == JOB.learning_rate
    own = {"bpp": 0.5, "lam": 0.2, "tau": 30.0, "pixel": 0.4, "layer": "x", "lr": 1e-3}
    other = recipe_of(JOB, file, start, own)
    assert (other.objective.distortion.pixel, other.objective.distortion.layer) == (0.4, "x")
    assert other.stages[0].learning_rate == 1e-3
    assert other.seed == recipe.seed, "all trials see the same crops and qualities"


def test_the_start_is_kept_as_it_was_measured(tmp_path: Path) -> None:
    starts = {0.125: Start(position=0.1, found=FOUND), 0.5: Start(position=0.3, found=FOUND)}
    write_start(starts, tmp_path / "start.json")
    assert read_start(tmp_path / "start.json") == starts


def test_squares_are_the_middle_of_each_image() -> None:
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, 64:128] = 200
    made = squares(MemoryImages([wide, np.ascontiguousarray(wide.transpose(1, 0, 2))]), 32)
    assert made.shape == (2, 3, 32, 32)
    assert int(made[..., 2:-2, 2:-2].min()) > 195, "but for the filter's ringing at the edges"


class Result:
    """What a ResultGrid holds for a trial."""

    def __init__(self, id: str, bpp: float, gains: list[float], nested: bool = False) -> None:
        self.config = {"bpp": bpp, "lam": 0.1, "tau": 5.0}
        rows = [
            {
                "trial_id": id, "step": 10 * (at + 1), "gain": gain, "agreement": gain + 0.5,
                "bpp": bpp - 0.01, "psnr": 30.0, "si": float("nan"),
            }
            for at, gain in enumerate(gains)
        ]  # fmt: skip
        if nested:
            rows = [row | {"checkpoint_path": f"there/{row['step']}"} for row in rows]
        self.metrics_dataframe = pandas.DataFrame(rows) if rows else None
        kept = [] if nested else [(Checkpoint(f"/{id}/{row['step']}"), row) for row in rows]
        self.best_checkpoints = kept


def test_trials_count_at_their_best_rung_and_the_best_of_each_rate_is_marked(
    tmp_path: Path,
) -> None:
    found = collect(
        [
            Result("a", 0.25, [0.1, 0.3, 0.2]),
            Result("b", 0.25, [0.1, 0.1], nested=True),
            Result("c", 0.5, [0.02]),
            Result("failed", 0.5, []),
        ]
    )
    assert [(t.id, t.gain, t.steps) for t in found] == [
        ("a", 0.3, 20),
        ("b", 0.1, 20),
        ("c", 0.02, 10),
    ]
    assert found[0].checkpoint is not None
    assert found[0].checkpoint.endswith("a/20")
    assert found[1].checkpoint == "there/20"
    assert [t.id for t in best_of(found)] == ["a", "c"]
    write_json(found, tmp_path / "t.json")
    rows = json.loads((tmp_path / "t.json").read_text())
    assert [row["best"] for row in rows] == [True, False, True]
    assert rows[0]["si"] is None


def test_pareto_front_and_figures(tmp_path: Path) -> None:
    trials = [trial(0.5, 0.8, 1), trial(0.25, 0.6, 100), trial(0.4, 0.55, 9000), trial(0.2, 0.3)]
    assert [t.rate for t in pareto(trials)] == [0.2, 0.25, 0.5]
    draw_pareto(trials, tmp_path / "p.png")
    draw_tau(trials, tmp_path / "t.png")
    for name in ("p.png", "t.png"):
        with Image.open(tmp_path / name) as drawn:
            assert drawn.size == (900, 600)
