"""The semantic head and its training, on made-up lessons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic.errors import UsageError
from deepsic.models import bands
from deepsic.models.head import HEAD_INPUT, HeadConfig, SemanticHead, head_input
from deepsic.training.head import HeadTraining, HeadTrainingConfig, top1
from deepsic.training.lessons import Lessons
from deepsic.training.objective import semantic

_SMALL = HeadConfig(classes=2, width=8, stem=4, blocks=((3, 1, 4), (5, 2, 8)), expand=2, hidden=8)


def _lessons(count: int = 16) -> Lessons:
    rng = np.random.default_rng(0)
    label = np.arange(count) % 2
    patches = rng.integers(-3, 4, (count, HEAD_INPUT, 4, 4))
    patches = (patches + np.where(label, 40, -40)[:, None, None, None]).astype(np.int8)
    logits = np.stack([-4.0 * label, 4.0 * label], 1).astype(np.float32)
    return Lessons(
        pre=patches,
        post=patches,
        position=rng.random(count).astype(np.float32),
        hint=rng.random((count, 4, 4, 4)).astype(np.float16),
        logits=logits,
        label=label.astype(np.int64),
        bits=np.ones(count, np.float32),
    )


def test_patches_hold_every_coefficient() -> None:
    patches = head_input(torch.randn(2, bands.Y8, 4, 6), torch.randn(2, bands.Y16, 2, 3))
    assert patches.shape == (2, HEAD_INPUT, 2, 3)
    assert SemanticHead()(patches, torch.tensor([0.0, 1.0])).shape == (2, 10)


def test_learns_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = HeadTrainingConfig(
        head=_SMALL, hint_steps=3, steps=40, batch=8, warmup=1, learning_rate=1e-2, ema=0.8
    )
    data = _lessons()
    training = HeadTraining(config, SemanticHead(_SMALL), data)
    for step in training.run():
        if step == 20:
            training.save(tmp_path / "head.pt")
    assert top1(training.average, data, post=True) == 1.0
    again = HeadTraining(config, SemanticHead(_SMALL), data)
    again.load(tmp_path / "head.pt")
    for _ in again.run():
        pass
    for a, b in zip(training.head.parameters(), again.head.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    other = HeadTraining(HeadTrainingConfig(head=_SMALL, seed=1), SemanticHead(_SMALL), data)
    with pytest.raises(UsageError, match="other settings"):
        other.load(tmp_path / "head.pt")


def test_without_labels_only_the_teacher_counts() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    unknown = torch.tensor([-1, -1])
    assert float(semantic(logits, unknown, logits)) == pytest.approx(0.0, abs=1e-6)
    assert float(semantic(logits, unknown)) == 0.0
    assert float(semantic(logits, torch.tensor([1, 1]))) > 1.0
