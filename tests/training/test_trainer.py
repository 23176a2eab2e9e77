"""One trainer for every recipe: the same bytes for one seed, resuming, stages, averages, errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deepsic.errors import InputError, UsageError
from deepsic.training.checkpoint import read_checkpoint, restart_of, write_checkpoint
from deepsic.training.data.batches import Batch, Batches
from deepsic.training.objectives.terms import draw_positions
from deepsic.training.recipe import Optimiser, Recipe, Stage
from deepsic.training.run import BEST, CHECKPOINT, LocalWatcher, Pace, Run, resume
from deepsic.training.trainer import Trainer
from tests.training.made import images, tiny


def trained(
    recipe: Recipe[Any, Any], folder: Path, *, until: int | None = None
) -> tuple[Trainer, bool]:
    """Train into a folder, going on from its checkpoint."""
    trainer = Trainer(recipe)
    data, best = None, float("-inf")
    if (folder / CHECKPOINT).is_file():
        data, best = resume(trainer, folder / CHECKPOINT)
    else:
        trainer.begin([])
    run = Run(
        trainer=trainer, images=images(), held_out=images(2),
        watcher=LocalWatcher(folder, lambda step, values: None),
        pace=Pace(epoch_steps=4, log_steps=1, steps=until), data_state=data, best=best,
    )  # fmt: skip
    return trainer, run.run()


def weights_of(trainer: Trainer) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in trainer.average.module.state_dict().items()}


def test_one_seed_gives_the_same_weights_and_another_gives_others(tmp_path: Path) -> None:
    first, _ = trained(tiny(), tmp_path / "a")
    again, _ = trained(tiny(), tmp_path / "b")
    other, _ = trained(tiny(seed=1), tmp_path / "c")
    a, b, c = weights_of(first), weights_of(again), weights_of(other)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


@pytest.mark.parametrize("at", [1, 3, 5])
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path, at: int) -> None:
    calm, _ = trained(tiny(), tmp_path / "calm")
    _, finished = trained(tiny(), tmp_path / "cut", until=at)
    assert not finished
    assert read_checkpoint(tmp_path / "cut" / CHECKPOINT)["step"] == at
    cut, finished = trained(tiny(), tmp_path / "cut")
    assert finished
    a, b = weights_of(calm), weights_of(cut)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (tmp_path / "cut" / BEST).is_file()


def test_stages_freeze_and_round(tmp_path: Path) -> None:
    trainer, _ = trained(tiny(), tmp_path, until=3)
    assert not trainer.net.context.quantised
    before = {k: v.clone() for k, v in trainer.net.state_dict().items()}
    trainer, _ = trained(tiny(), tmp_path)
    assert trainer.net.context.quantised
    after = trainer.net.state_dict()
    for name, value in before.items():
        same = torch.equal(value, after[name])
        if name.startswith(("g_a.", "h_a.")):
            assert same, name
    assert not torch.equal(before["g_s.trunk.in8.weight"], after["g_s.trunk.in8.weight"])


def test_the_learning_rate_follows_each_stage() -> None:
    stages = (
        Stage(steps=10, learning_rate=1.0, warmup=4, floor=0.1),
        Stage(steps=8, learning_rate=0.5, decay="fifths"),
        Stage(steps=2, learning_rate=0.3, decay="none"),
    )
    trainer = Trainer(tiny(stages=stages))
    rates = [trainer.learning_rate(step) for step in range(20)]
    assert rates[0] == pytest.approx(0.25)
    assert rates[5] == pytest.approx(0.55)
    assert rates[9] < 0.15
    assert rates[10:18] == pytest.approx([0.5] * 4 + [0.1] * 2 + [0.02] * 2)
    assert rates[18:] == pytest.approx([0.3, 0.3])


def test_the_optimiser_steps_at_the_rate_of_its_step_and_group() -> None:
    recipe = tiny(optimiser=Optimiser(shares={"gains": 10.0}))
    trainer = Trainer(recipe)
    batches = Batches(images(), recipe.crops, seed=0)
    for step in range(3):
        rest, gains = (group["lr"] for group in trainer.optimiser.param_groups)
        assert rest == pytest.approx(trainer.learning_rate(step))
        assert gains == pytest.approx(10 * rest)
        trainer.advance(next(batches))


def test_two_workers_have_the_gradient_of_one_with_the_joined_batch() -> None:
    recipe = tiny()
    parts = [next(Batches(images(), recipe.crops, seed=0, rank=r, world=2)) for r in (0, 1)]
    joined = Batch(
        images=torch.stack([part.images for part in parts], 1).flatten(0, 1),
        labels=torch.stack([part.labels for part in parts], 1).flatten(),
    )

    def gradient(rank: int, world: int, batch: Batch) -> dict[str, Tensor]:
        trainer = Trainer(recipe, rank=rank, world=world)
        torch.autograd.backward(trainer.forward(batch).loss)
        return {n: p.grad for n, p in trainer.net.named_parameters() if p.grad is not None}

    one = gradient(0, 1, joined)
    two = [gradient(rank, 2, part) for rank, part in enumerate(parts)]
    for name, value in one.items():
        mean = (two[0][name] + two[1][name]) / 2
        torch.testing.assert_close(mean, value, rtol=1e-3, atol=1e-5)


def test_qualities_of_all_workers_fill_the_range() -> None:
    from deepsic.training.objectives.terms import Step

    drawn = [
        draw_positions(
            Step(
                x=torch.zeros(3, 3, 8, 8),
                labels=torch.zeros(3),
                number=5,
                seed=1,
                rank=rank,
                world=4,
            ),
            (20.8, 80.2),
        )
        for rank in range(4)
    ]
    places = torch.cat(drawn).sort().values
    cells = ((places - 0.2) / 0.6 * 12).floor().int().tolist()
    assert cells == list(range(12))


def test_a_gradient_that_is_not_finite_leaves_finite_weights() -> None:
    trainer = Trainer(tiny())
    batch = next(Batches(images(), trainer.recipe.crops, seed=0))
    with torch.no_grad():
        trainer.net.gain8.table[:, 0] = 200.0  # e^200 steps
    trainer.advance(batch)
    assert all(torch.isfinite(p).all() for p in trainer.net.parameters())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="freezes 'g_x"):
        Trainer(tiny(stages=(Stage(steps=1, learning_rate=1.0, frozen=("g_x",)),)))
    with pytest.raises(UsageError, match="gains"):
        Trainer(tiny(optimiser=Optimiser(shares={"gain": 2.0})))
    with pytest.raises(UsageError, match="leave --compiled out"):
        Trainer(tiny(), compiled=True)
    trained(tiny(), tmp_path, until=1)
    other = Trainer(tiny(seed=3))
    with pytest.raises(UsageError, match="another recipe"):
        other.load(tmp_path / CHECKPOINT)
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes((tmp_path / CHECKPOINT).read_bytes()[:5000])
    for bad in (damaged, tmp_path / "missing.pt"):
        with pytest.raises(InputError, match="no training checkpoint"):
            other.load(bad)


def test_a_restart_file_is_small_and_goes_on(tmp_path: Path) -> None:
    trained(tiny(), tmp_path, until=2)
    state = read_checkpoint(tmp_path / CHECKPOINT)
    write_checkpoint(tmp_path / "restart.pt", restart_of(state))
    sizes = [(tmp_path / name).stat().st_size for name in (CHECKPOINT, "restart.pt")]
    assert sizes[1] < 0.4 * sizes[0]
    again = Trainer(tiny())
    again.load(tmp_path / "restart.pt")
    assert again.step == 2
    for name, value in again.net.state_dict().items():
        torch.testing.assert_close(value, state["net"][name], rtol=1e-2, atol=1e-3)


def test_a_recipe_of_the_other_revision_takes_the_first_ones_weights() -> None:
    old = Trainer(tiny()).net
    new = Trainer(tiny(net=replace(tiny().net, revision=2))).net
    new.adopt(old)
    x, at = torch.rand(1, 3, 64, 64) * 255, torch.tensor([0.4])
    with torch.no_grad():
        a, b = old(x, at), new(x, at)
    # Latents and their rate are the same; the image lacks one branch.
    torch.testing.assert_close(a.bits, b.bits, rtol=1e-4, atol=1e-2)
