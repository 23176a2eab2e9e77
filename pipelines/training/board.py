"""Where the first worker says how far it is, for the terminal of whoever started the job."""

from __future__ import annotations

__all__ = ["Board"]


class Board:
    """Last words of a worker; runs as a Ray actor."""

    def __init__(self) -> None:
        self._last = (0, 0.0, 0.0)
        self._starts: list[int] = []

    def start(self, step: int) -> None:
        """Remember that training begins, or goes on, at a step."""
        self._starts.append(step)

    def starts(self) -> list[int]:
        """Where it began and went on."""
        return self._starts

    def post(self, step: int, loss: float, bpp: float) -> None:
        """Remember them."""
        self._last = step, loss, bpp

    def read(self) -> tuple[int, float, float]:
        """Step, loss and rate."""
        return self._last
