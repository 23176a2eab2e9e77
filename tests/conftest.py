"""What tests share: kernels of today's sources, and where the photographs are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).parents[1] / "deepsic"
_DATA = Path(os.environ.get("DEEPSIC_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_configure() -> None:
    """Forget kernels that were compiled before any of their sources changed: numba looks at a
    kernel's own file alone, and not at those of what is inlined."""
    sources = [path for path in _PACKAGE.rglob("*.py") if "numba" in path.read_text()]
    newest = max(path.stat().st_mtime for path in sources)
    for index in _PACKAGE.rglob("__pycache__/*.nbi"):
        if index.stat().st_mtime < newest:
            index.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the data sets; the test is skipped where there is none."""
    if not _DATA.is_dir():
        pytest.skip(f"no data sets at {_DATA}: set DEEPSIC_DATA to their folder")
    return _DATA
