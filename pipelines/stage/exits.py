"""Errors by name become exit codes and one line on stderr; SIGTERM ends like Ctrl-C."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from deepsic.errors import EXIT_INTERRUPTED, DeepsicError, PartialFailureError
from pipelines.stage import console

__all__ = ["exit_codes", "fail_if"]

P = ParamSpec("P")
R = TypeVar("R")


def exit_codes(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: `DeepsicError` ends it with its exit code, Ctrl-C and SIGTERM with 130.

    Errors of Ray end it with 1.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        _interrupt_on_sigterm()
        try:
            return command(*args, **kwargs)
        except DeepsicError as error:
            # Ray adds its own class and traceback to what a worker raises.
            cause = getattr(error, "cause", None) or error
            console.error(str(cause))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            console.error("interrupted; the same command resumes")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "ray":
                raise
            # Processes or nodes were lost more often than a stage survives, or memory ran out.
            said = next((line for line in str(error).splitlines() if line.strip()), "")
            console.error(
                f"Ray gave up ({type(error).__name__}): {said.strip()[:300]}; "
                "the same command resumes"
            )
            raise typer.Exit(DeepsicError.exit_code) from None

    return run


def _interrupt_on_sigterm() -> None:
    """What schedulers send gets the same orderly end; who handles it already goes on doing so."""
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def fail_if(count: int, message: str) -> None:
    """Raise `PartialFailureError` if some items failed: `count` isn't 0."""
    if count:
        raise PartialFailureError(message)
