"""The stages as commands: `deepsic-train` runs what `python pipelines/train.py` runs in a checkout.

A wheel carries `pipelines/` and `tune_spaces/` below `deepsic/_stages`, so that it doesn't put a
package named `pipelines` into site-packages; a checkout has them beside `deepsic/`.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from deepsic.errors import UsageError

__all__ = ["STAGES", "main", "script_of"]

#: Command and the script that it runs.
STAGES = {
    "deepsic-preprocess": "preprocess.py",
    "deepsic-train": "train.py",
    "deepsic-tune": "tune_saic.py",
    "deepsic-evaluate": "evaluate.py",
    "deepsic-archive": "compress_archive.py",
    "deepsic-serve": "serve.py",
}


def script_of(command: str) -> Path:
    """Return the script of a command in `STAGES`, in the wheel or in the checkout.

    Raises:
        UsageError: the installation holds no stages.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package / "_stages", package.parent):
        script = root / "pipelines" / STAGES[command]
        if script.is_file():
            return script
    raise UsageError(f"{command} isn't part of this installation: install deepsic's wheel again")


def main() -> None:
    """Run the stage that this process is named after."""
    command = Path(sys.argv[0]).stem
    try:
        script = script_of(command)
        import typer  # noqa: F401  # what every stage needs first
    except UsageError as error:
        sys.exit(f"{command}: {error}")
    except ModuleNotFoundError:
        sys.exit(f"{command} needs more packages: pip install 'deepsic[pipelines]'")
    runpy.run_path(str(script), run_name="__main__")
