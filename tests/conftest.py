"""What tests share: where the photographs are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DATA = Path(os.environ.get("DEEPSIC_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the data sets; the test is skipped where there is none."""
    if not _DATA.is_dir():
        pytest.skip(f"no data sets at {_DATA}: set DEEPSIC_DATA to their folder")
    return _DATA
