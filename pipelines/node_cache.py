"""What a node keeps of places that are slow or far: prepared pixels, models from s3://.

Everything here is named by a hash of its content or of what it was made from, so that it is never
stale, and can be made again: the folder may be emptied whenever no job runs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from deepsic.errors import StorageError
from pipelines.storage import StorageFullError

__all__ = ["locked", "node_cache", "space_errors"]


def node_cache() -> Path:
    """`DEEPSIC_CACHE`, else `deepsic` in the user's cache folder."""
    given = os.environ.get("DEEPSIC_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "deepsic"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a path for this process; others of this node wait. A killed process lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def space_errors(folder: Path) -> Iterator[None]:
    """Say where the disk is full, and what to do.

    Raises: `StorageFullError`.
    """
    try:
        yield
    except (OSError, StorageError) as error:
        cause = error.__cause__ if isinstance(error, StorageError) else error
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not isinstance(cause, OSError) or cause.errno not in full:
            raise
        raise StorageFullError(
            f"no space for {folder} ({cause.strerror}): empty it while no job runs, or name "
            "another folder in DEEPSIC_CACHE"
        ) from error
