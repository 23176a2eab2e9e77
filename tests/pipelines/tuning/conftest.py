"""What tests of the search share: a node's cache of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start's file isn't left in the user's cache."""
    monkeypatch.setenv("DEEPSIC_CACHE", str(tmp_path / "cache"))
