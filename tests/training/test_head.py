"""The head's training, on made-up lessons and on a made-up codec's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic.codec import Codec
from deepsic.errors import UsageError
from deepsic.models.semantic.head import HeadConfig, SemanticHead
from deepsic.models.semantic.head_input import HEAD_INPUT
from deepsic.training.head import HeadTraining, HeadTrainingConfig, top1
from deepsic.training.lessons import Lessons, lessons
from deepsic.training.objective import semantic
from tests.codec.conftest import model_path as model_path
from tests.codec.conftest import photograph

SMALL = HeadConfig(classes=2, width=8, stem=4, blocks=((3, 1, 4), (5, 2, 8)), expand=2, hidden=8)


def made_up(count: int = 16, *, teacher: bool = True) -> Lessons:
    """Two classes, told apart by the texture of their bands."""
    rng = np.random.default_rng(0)
    label = np.arange(count) % 2
    bands = rng.integers(-3, 4, (count, HEAD_INPUT, 8, 8))
    bands = (bands + np.where(label, 20, -20)[:, None, None, None]).astype(np.int8)
    return Lessons(
        pre=bands,
        post=bands,
        position=rng.random(count).astype(np.float32),
        hint=rng.random((count, 4, 8, 8)).astype(np.float16),
        logits=np.stack([-4.0 * label, 4.0 * label], 1).astype(np.float32)[:, : 2 * teacher],
        label=label.astype(np.int64),
    )


def config(**changes: object) -> HeadTrainingConfig:
    values: dict[str, object] = {
        "head": SMALL, "hint_steps": 3, "steps": 40, "batch": 8, "warmup": 1,
        "learning_rate": 1e-2, "ema": 0.8,
    }  # fmt: skip
    return HeadTrainingConfig(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("teacher", [True, False])
def test_learns(teacher: bool) -> None:
    torch.manual_seed(0)
    data = made_up(teacher=teacher)
    settings = config() if teacher else config(hint_steps=0)
    training = HeadTraining(settings, SemanticHead(SMALL), data, taught=False)
    losses = list(training.run())
    assert losses[-1] < 0.3 * losses[settings.hint_steps]
    assert top1(training.average, data, post=True) == 1.0
    assert top1(training.average, data, post=False) == 1.0


def test_goes_on_from_a_checkpoint_as_if_nothing_had_been(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = made_up()
    training = HeadTraining(config(steps=9), SemanticHead(SMALL), data, taught=False)
    for _ in training.run():
        if training.step == 6:
            training.save(tmp_path / "head.pt")
    again = HeadTraining(config(steps=9), SemanticHead(SMALL), data, taught=False)
    again.load(tmp_path / "head.pt")
    assert len(list(again.run())) == 6
    for a, b in zip(training.head.parameters(), again.head.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    other = HeadTraining(config(seed=1), SemanticHead(SMALL), data, taught=False)
    with pytest.raises(UsageError, match="other settings"):
        other.load(tmp_path / "head.pt")


def test_lessons_are_the_codecs_own(model_path: Path, tmp_path: Path) -> None:
    engine = Codec.load(model_path, device="cpu").engine
    pictures = [(photograph(240, 250, k), k - 1) for k in range(3)]
    made = lessons(engine, None, pictures, qualities=(40, 60), augment=True, seed=5)  # type: ignore[arg-type]
    assert made.pre.shape == made.post.shape == (3, HEAD_INPUT, 28, 28)
    assert made.label.tolist() == [-1, 0, 1]
    assert not np.array_equal(made.pre, made.post)
    assert np.abs(made.pre.astype(int) - made.post).mean() < 3
    made.save(tmp_path / "l.npz")
    back = Lessons.joined([Lessons.load(tmp_path / "l.npz")] * 2)
    assert np.array_equal(back.post[3:], made.post)


def test_without_labels_only_the_teacher_counts() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    unknown = torch.tensor([-1, -1])
    assert float(semantic(logits, unknown, logits)) == pytest.approx(0.0, abs=1e-6)
    assert float(semantic(logits, unknown, -logits)) > 0.5
    assert float(semantic(logits, unknown)) == 0.0
    assert float(semantic(logits, torch.tensor([1, 1]))) > 1.0


@pytest.mark.parametrize("change", [{"distil": 1.5}, {"steps": 0}, {"post": -1.0}])
def test_settings_that_make_no_sense(change: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        config(**change)
