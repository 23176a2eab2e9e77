"""Encoders that fit an image's latents to the networks, or the people, that will look at it.

kept      what of an image is kept for networks
look      one backward pass: some three times a plain encode's time
descent   gradient descent, step by step: some hundred times
feedback  for people: what the decoded picture lacks goes back; the efforts from 6 on

Files and decoders are the same as without.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepsic.refiner.descent import STEPS, Refiner
from deepsic.refiner.kept import REFINED, check_steps
from deepsic.refiner.look import Look

__all__ = ["REFINED", "Look", "Refiner", "load_refiner"]


def load_refiner(
    model: str | Path, networks: Sequence[str], *, steps: int | None = None, device: str = "auto"
) -> Refiner | Look:
    """What refines in so many steps; 1: a look; None: as many as `Refiner` takes.

    Arguments and errors otherwise as `Refiner.load`.
    """
    steps = STEPS if steps is None else steps
    check_steps(steps)
    if steps == 1:
        return Look.load(model, networks, device=device)
    return Refiner.load(model, networks, steps=steps, device=device)
