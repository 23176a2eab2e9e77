"""Where the first worker says how far it is, for the terminal of whoever started the job."""

from __future__ import annotations

import re

from pipelines.stage import console

__all__ = ["Progress", "resumed_at", "say_resuming"]


class Progress:
    """Last words of a worker; runs as a Ray actor."""

    def __init__(self) -> None:
        self._last = (0, 0.0, 0.0)
        self._starts: list[tuple[int, str]] = []

    def start(self, step: int, said: str) -> None:
        """Training begins, or resumes, at a step; `said` is what the start needed."""
        self._starts.append((step, said))

    def starts(self) -> list[tuple[int, str]]:
        """Where it began and resumed."""
        return self._starts

    def post(self, step: int, loss: float, bpp: float) -> None:
        """Remember them."""
        self._last = step, loss, bpp

    def read(self) -> tuple[int, float, float]:
        """Step, loss and rate."""
        return self._last


def say_resuming(step: int) -> None:
    """Tell whoever watches that a run goes on from a step."""
    console.say(f"resuming from step {step}")


def resumed_at(log: str) -> list[int]:
    """Steps that a run's log says it resumed from."""
    return [int(step) for step in re.findall(r"resuming from step (\d+)", log)]
