"""What a classifier still gets right on decoded images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deepsic.errors import UsageError

__all__ = ["Accuracy", "Prediction", "accuracy", "agreement"]


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image."""

    top: tuple[int, ...]
    """Class numbers, the most probable first; at least one, five for top-5."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Shares of right answers, in [0, 1]."""

    pictures: int
    """Number of images behind the shares."""
    top1: float
    top5: float | None
    """None where predictions hold fewer than five classes."""
    macro_f1: float
    """Mean F1 of the classes that occur among the labels."""


def accuracy(predictions: Sequence[Prediction], labels: Sequence[int]) -> Accuracy:
    """Score predictions against true class numbers, image by image.

    Raises: `UsageError` on different lengths or no image at all.
    """
    if len(predictions) != len(labels):
        raise UsageError(f"{len(predictions)} predictions, but {len(labels)} labels")
    if not labels:
        raise UsageError("accuracy of no image at all")
    first = [prediction.top[0] for prediction in predictions]
    has_five = min(len(prediction.top) for prediction in predictions) >= 5
    pairs = list(zip(predictions, labels, strict=True))
    return Accuracy(
        pictures=len(labels),
        top1=_share(guess == label for guess, label in zip(first, labels, strict=True)),
        top5=_share(label in guess.top[:5] for guess, label in pairs) if has_five else None,
        macro_f1=_macro_f1(first, labels),
    )


def agreement(predictions: Sequence[Prediction], original: Sequence[Prediction]) -> float:
    """Share of images whose first class is the same as before compression, in [0, 1]."""
    if len(predictions) != len(original):
        raise UsageError(f"{len(predictions)} predictions, but {len(original)} originals")
    if not original:
        raise UsageError("agreement over no image at all")
    return _share(a.top[0] == b.top[0] for a, b in zip(predictions, original, strict=True))


def _share(hits: Iterable[bool]) -> float:
    values = list(hits)
    return sum(values) / len(values)


def _macro_f1(guesses: Sequence[int], labels: Sequence[int]) -> float:
    # Over the classes that occur: a guess outside them costs its true class recall. A thousand-way
    # classifier on ten classes would otherwise be averaged with hundreds of classes never asked.
    import torch
    from torchmetrics.functional.classification import multiclass_f1_score

    classes = sorted(set(labels))
    number = {label: index for index, label in enumerate(classes)}
    other = len(classes)
    scores = multiclass_f1_score(
        torch.tensor([number.get(guess, other) for guess in guesses]),
        torch.tensor([number[label] for label in labels]),
        num_classes=other + 1,
        average="none",
    )
    return float(scores[:other].mean())
