"""The progress bar of `deepsic` and of the stages. rich is imported once there is one to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["new_bar"]


def new_bar(stream: TextIO, *, transient: bool = False) -> Progress:
    """A bar with its description, what is done, the time left, and the task's field `notes`.

    transient: it goes away at its end.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[notes]}"),
        console=Console(file=stream), transient=transient,
    )  # fmt: skip
