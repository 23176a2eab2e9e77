"""Where the first worker says how far it is, for the terminal of whoever started the job."""

from __future__ import annotations

__all__ = ["Progress"]


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
