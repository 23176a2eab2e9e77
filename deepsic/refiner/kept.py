"""What of an image is kept for the networks that will look at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepsic.errors import LimitError, UsageError
from deepsic.losses import DistortionMix
from deepsic.threads import several

if TYPE_CHECKING:
    from deepsic.tasks import Observer

__all__ = ["MAX_PIXELS", "REFINED", "check_size", "check_steps", "kept", "networks_of"]

REFINED = DistortionMix(pixel=0.05, agreement=60.0, feature=0.2)
"""What is kept of an image. Maps count for more than in `sic-machine`'s training (agreement 250,
feature 0.01): answers are easy to bend for one network, maps are what networks share, and what
networks gain that were not named."""
DETECTED = DistortionMix(pixel=0.05, relative=250.0)
"""The same for a detector, whose answers are boxes: its maps alone."""
MAX_PIXELS = 13_000_000
"""The gradients of a whole image are in memory at once: in a descent about 0.8 kB a pixel."""


def networks_of(texts: Sequence[str], device: str) -> list[Any]:
    """Classifiers and detectors on a device, each as NAME or NAME=WEIGHTS.

    Raises:
        UsageError: one isn't known, its package isn't installed, or it shows no maps; or one name
            in place of a list.
    """
    return [_network_of(text).to(device) for text in several(texts, "networks")]


def _network_of(text: str) -> Any:
    from deepsic.tasks import DETECTORS, Observer, load_classifier, load_detector

    name, _, path = text.partition("=")
    if name not in DETECTORS:
        return load_classifier(name, path or None)
    detector = load_detector(name, path or None)
    if not isinstance(detector, Observer):
        raise UsageError(f"{name} shows no maps to refine for; fastestdet does")
    return detector


def check_steps(steps: int) -> None:
    """Raise `UsageError` unless `steps` is a whole number from 1 on."""
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise UsageError(f"steps={steps!r}: refinement takes a whole number of steps, at least one")


def kept(network: Observer, mix: DistortionMix) -> DistortionMix:
    """What of an image is kept for a network: for a detector its maps, else `mix`."""
    from deepsic.tasks import Detector

    return DETECTED if isinstance(network, Detector) else mix


def check_size(rgb: NDArray[np.uint8]) -> None:
    """Raise `LimitError` for an image (H, W, 3) that is too large to be refined."""
    height, width = rgb.shape[:2]
    if height * width > MAX_PIXELS:
        raise LimitError(
            f"an image of {width}x{height} can't be refined: it holds {height * width:,} pixels, "
            f"and refinement takes {MAX_PIXELS:,} at most; encode it without, or make it smaller"
        )
