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
    """Wrap a command: `DeepsicError` ends it with its exit code, Ctrl-C with 130, Ray's with 1."""

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
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "ray":
                raise
            # Processes or nodes were lost more often than a stage survives, or memory ran out.
            said = next((line for line in str(error).splitlines() if line.strip()), "")
            console.error(
                f"Ray gave up ({type(error).__name__}): {said.strip()[:300]}; "
                "run the same command again to go on"
            )
            raise typer.Exit(DeepsicError.exit_code) from None

    return run


def fail_if(count: int, what: str) -> None:
    """Raise `PartialFailureError` for `count` items, unless it is 0."""
    if count:
        raise PartialFailureError(f"{count} {what}")
