"""`deepsic` and `python -m deepsic`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code."""
    from deepsic.cli.commands import run

    sys.exit(run())


if __name__ == "__main__":
    main()
