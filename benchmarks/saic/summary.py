"""What `measure` kept, made into the numbers of the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.saic.arms import family
from deepsic.errors import InputError
from deepsic.evaluation.metrics.accuracy import Prediction, accuracy
from deepsic.evaluation.metrics.semantic_information import (
    SemanticInformation,
    semantic_information,
)

__all__ = ["ArmNumbers", "Interval", "load", "mean_interval"]

_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ({self.low:.2f} to {self.high:.2f})"


def _per_cent(answers: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(answers, 100.0, 0.0)


@dataclass(frozen=True)
class ArmNumbers:
    """One arm, seed and rate over all images; `rate` is None for the originals."""

    arm: str
    seed: int
    rate: float | None
    arrays: dict[str, NDArray[Any]]
    original: dict[str, NDArray[Any]]

    @property
    def classifiers(self) -> list[str]:
        """Networks that looked."""
        return [name for name in self.original if name != "labels"]

    def hits(self, classifier: str) -> NDArray[np.float64]:
        """100 where the class is the label's, else 0, for each image."""
        return _per_cent(self.arrays[classifier].argmax(1) == self.original["labels"])

    def agrees(self, classifier: str) -> NDArray[np.float64]:
        """100 where the class is the one that the original gets, else 0."""
        answers = self.original[classifier].argmax(1)
        return _per_cent(self.arrays[classifier].argmax(1) == answers)

    def f1(self, classifier: str) -> float:
        """Macro F1 over the classes that occur."""
        guesses = [Prediction((int(c),)) for c in self.arrays[classifier].argmax(1)]
        return accuracy(guesses, [int(c) for c in self.original["labels"]]).macro_f1

    def si(self, classifier: str) -> SemanticInformation:
        """Semantic mutual information with the originals' outputs."""
        y, y_hat = (torch.from_numpy(a[classifier]) for a in (self.original, self.arrays))
        return semantic_information(y, y_hat)

    @cached_property
    def distortion(self) -> tuple[float, float, float]:
        """Mean MSE on [0, 1], PSNR in dB, SSIM."""
        mse, psnr, ssim = np.nanmean(self.arrays["distortion"], 0)
        return float(mse), float(psnr), float(ssim)


def load(out: Path) -> list[ArmNumbers]:
    """Everything in a folder of measurements, the originals first.

    Raises:
        InputError: nothing was measured there.
    """
    if not (out / "original.npz").is_file():
        raise InputError(f"nothing measured in {out}; run `benchmarks/saic/run.py measure` first")
    original = dict(np.load(out / "original.npz"))
    found = [ArmNumbers("original", 0, None, original, original)]
    for path in sorted(out.glob("*@*.npz")):
        name, _, rate = path.stem.rpartition("@")
        arm, seed = family(name)
        found.append(ArmNumbers(arm, seed, float(rate), dict(np.load(path)), original))
    return found


def mean_interval(
    runs: Sequence[ArmNumbers],
    values: Callable[[ArmNumbers], NDArray[np.float64]],
    minus: Sequence[ArmNumbers] = (),
) -> Interval:
    """Mean over images and seeds of `values`, less that of `minus` on the same images.

    The interval comes from a bootstrap over the images of the means over seeds: for a
    difference it is paired.
    """
    rows = np.mean([values(run) for run in runs], 0)
    if minus:
        rows = rows - np.mean([values(run) for run in minus], 0)
    rng = np.random.default_rng(0)
    draws = rows[rng.integers(0, len(rows), (_RESAMPLES, len(rows)))].mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(rows.mean()), float(low), float(high))
