"""Errors by name become exit codes and one line on stderr."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from deepsic.errors import EXIT_INTERRUPTED, DeepsicError, PartialFailureError
from pipelines import console

__all__ = ["exit_codes", "fail_if"]

P = ParamSpec("P")
R = TypeVar("R")


def exit_codes(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: `DeepsicError` ends it with its exit code, Ctrl-C with 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except DeepsicError as error:
            # Ray adds its own class and traceback to what a worker raises.
            cause = getattr(error, "cause", None) or error
            console.error(str(cause))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            console.error("interrupted; run the same command again to go on")
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return run


def fail_if(count: int, what: str) -> None:
    """Raise `PartialFailureError` for `count` items, unless it is 0."""
    if count:
        raise PartialFailureError(f"{count} {what}")
