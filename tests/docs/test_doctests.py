"""The examples in docstrings do what they say, beside a `photo.jpg`."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import skimage.data
from _pytest.mark import ParameterSet
from PIL import Image

ROOT = Path(__file__).parents[2]


def modules() -> Iterator[ParameterSet]:
    """Names of all modules with examples; those that load a codec take seconds, so are slow."""
    for folder in ("deepsic", "pipelines"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text("utf-8")
            if ">>>" in text:
                parts = path.relative_to(ROOT).with_suffix("").parts
                marks = [pytest.mark.slow] if ">>> codec = " in text else []
                yield pytest.param(".".join(parts).removesuffix(".__init__"), marks=marks)


@pytest.mark.parametrize("name", list(modules()))
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(skimage.data.coffee()).resize((96, 64)).save("photo.jpg")
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_no_example_is_skipped() -> None:
    for folder in ("deepsic", "pipelines"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "doctest: +SKIP" not in path.read_text("utf-8"), path
