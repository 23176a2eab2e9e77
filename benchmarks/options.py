"""A benchmark's command line: parsed, ended and kept as the stages' are.

    def main(folder: options.Images, out: options.Out = None) -> None: ...

    if __name__ == "__main__":
        options.run(main)

Help is the module's docstring; errors by name become exit codes; 1 says that a check failed.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import clean_up_when_terminated, describe_run
from deepsic import atomic
from deepsic.errors import InputError, UsageError
from deepsic.image_io.suffixes import is_image
from pipelines.stage.exits import exit_codes
from pipelines.stage.options import new_app

__all__ = ["Images", "Model", "Out", "chosen", "images_in", "keep", "run"]

Images = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")]
Model = Annotated[str, typer.Option(help="A shipped model's name, or a model file.")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="JSON", help="Write the figures there, too.")
]


def run(main: Callable[..., None]) -> None:
    """Run a benchmark's only command; SIGTERM ends the blocks that are open, as Ctrl-C does."""
    clean_up_when_terminated()
    app = new_app(inspect.getdoc(inspect.getmodule(main)))
    app.command(help=app.info.help)(exit_codes(main))
    app()


def chosen(given: Iterable[str] | None, among: Iterable[str]) -> list[str]:
    """What a repeatable option names, in that order; all where it isn't given.

    Raises:
        UsageError: a name that isn't one of them.
    """
    known = list(among)
    names = list(given or known)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"no {unknown[0]!r} here; choose from {', '.join(known)}")
    return names


def images_in(folder: Path) -> list[Path]:
    """All image files below a folder, by name. Raises `InputError` where there are none."""
    if found := sorted(path for path in folder.rglob("*") if is_image(path)):
        return found
    raise InputError(f"no images in {folder}; give a folder that holds some")


def keep(out: Path | None, found: Mapping[str, Any]) -> None:
    """Write figures with command, commit, machine and date, if a file was asked for."""
    if out is not None:
        atomic.write(out, (json.dumps(describe_run() | dict(found), indent=2) + "\n").encode())
