"""The parts of the search that need no Ray cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepsic.errors import InputError, UsageError
from deepsic.models.sic.net import SicConfig, SicNet
from pipelines.tuning.job import TuneJob, load_space
from pipelines.tuning.outcome import Trial, draw_pareto, draw_tau, pareto, write_json
from pipelines.tuning.pictures import SIDE, embedded, from_folder
from pipelines.tuning.trial import _batch, load_net, save_net

JOB = TuneJob(start="a", pictures="b", space="small")


def trial(rate: float, agreement: float, tau: float = 10.0) -> Trial:
    return Trial(
        id=f"{rate}",
        bpp=0.25,
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


def test_any_setting_makes_another_search() -> None:
    assert JOB.name == TuneJob(start="a", pictures="b", space="small").name
    changed = [
        replace(JOB, **change)  # type: ignore[arg-type]
        for change in (
            {"seed": 1},
            {"steps": 401},
            {"start": "c"},
            {"pictures": "c"},
            {"layer": "x"},
        )
    ]
    assert len({JOB.name, *(job.name for job in changed)}) == 6


@pytest.mark.parametrize("change", [{"trials": 0}, {"rungs": 500}, {"search": "guess"}])
def test_jobs_that_make_no_sense(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(JOB, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["small", "saic", "tau_sweep"])
def test_spaces_that_ship(name: str) -> None:
    space = load_space(name)
    assert {"bpp", "lam", "tau"} <= set(space)
    if name != "tau_sweep":
        draws = [space["tau"].sample() for _ in range(200)]
        assert 1 <= min(draws) < 300 < max(draws) <= 10_000


def test_spaces_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def space():\n    return {'bpp': 1, 'lam': 2, 'tau': 3}\n")
    assert load_space(str(path)) == {"bpp": 1, "lam": 2, "tau": 3}
    path.write_text("def space():\n    return {'bpp': 1}\n")
    with pytest.raises(UsageError, match="tau"):
        load_space(str(path))
    with pytest.raises(UsageError, match="small"):
        load_space("large")


def test_embedded_pictures_are_the_same_every_time() -> None:
    pytest.importorskip("skimage")
    one = embedded()
    assert one.train.shape[1:] == one.val.shape[1:] == (3, SIDE, SIDE)
    assert one.identity == embedded().identity
    assert len(one.train) > len(one.val) > 2


def test_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for at in range(10):
        pixels = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{at}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    made = from_folder(tmp_path, limit_train=100, limit_val=1, exclude=["3.*"])
    assert made.val.shape == (1, 3, SIDE, SIDE)
    assert len(made.train) in (7, 8)  # the broken one trains or judges, and is left out
    assert made.identity != from_folder(tmp_path, limit_train=100, limit_val=1).identity
    with pytest.raises(InputError, match="too few"):
        from_folder(tmp_path, limit_train=9, limit_val=9, exclude=["*"])
    with pytest.raises(InputError, match="no folder"):
        from_folder(tmp_path / "none", limit_train=9, limit_val=9)


def test_every_trial_sees_the_same_pictures_and_workers_different_ones() -> None:
    train = torch.arange(10)[:, None]
    job = replace(JOB, batch=2)
    assert torch.equal(_batch(train, job, 3, 0, 2), _batch(train, job, 3, 0, 2))
    one_epoch = [_batch(train, job, step, rank, 1) for step in range(5) for rank in (0,)]
    assert sorted(torch.cat(one_epoch)[:, 0].tolist()) == list(range(10))
    assert not set(_batch(train, job, 0, 0, 2)[:, 0].tolist()) & set(
        _batch(train, job, 0, 1, 2)[:, 0].tolist()
    )


def test_nets_survive_the_trip() -> None:
    net = SicNet(SicConfig(width8=16, width16=16, depth=1))
    back = load_net(save_net(net))
    assert back.config == net.config
    for a, b in zip(net.state_dict().values(), back.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_pareto_front_and_pictures(tmp_path: Path) -> None:
    trials = [trial(0.5, 0.8, 1), trial(0.25, 0.6, 100), trial(0.4, 0.55, 9000), trial(0.2, 0.3)]
    assert [t.rate for t in pareto(trials)] == [0.2, 0.25, 0.5]
    draw_pareto(trials, tmp_path / "p.png")
    draw_tau(trials, tmp_path / "t.png")
    write_json(trials, tmp_path / "t.json")
    for name in ("p.png", "t.png"):
        with Image.open(tmp_path / name) as drawn:
            assert drawn.size == (900, 600)
    assert json.loads((tmp_path / "t.json").read_text())[0]["si"] is None
