"""Folders of images, a job over them, an S3 server, and one Ray for the session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepsic.bitstream import VERSION
from pipelines.archive import cluster
from pipelines.archive.cluster import Resources
from pipelines.archive.commands import restore as restore_module
from pipelines.archive.commands import verify as verify_module
from pipelines.archive.settings import JobSettings
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.storage import open_storage
from tests.support.s3_servers import CREDENTIALS

from .fakes import IDENTITY, WebpSource


def save_image(path: Path, seed: int, size: tuple[int, int] = (40, 32)) -> None:
    """A small smooth colour image that differs with its seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images in three folders."""
    folder = tmp_path / "photos"
    for number in range(12):
        save_image(folder / f"f{number % 3}" / f"p{number:02d}.png", number)
    return folder


@pytest.fixture
def make_job() -> Callable[..., ArchiveJob]:
    """Make a job from addresses; named arguments override its settings and its fields."""

    def make(
        source: object, destination: object, *, quality: int = 50, **fields: Any
    ) -> ArchiveJob:
        settings = JobSettings(
            model="fake", model_id=IDENTITY.hex(), format_version=VERSION, quality=quality
        )
        return ArchiveJob(
            source=open_storage(str(source)),
            destination=open_storage(str(destination)),
            settings=settings,
            codec=WebpSource(),
            **fields,
        )

    return make


@pytest.fixture(scope="package")
def ray_here() -> Iterator[Resources]:
    """A small Ray, whose workers have the S3 servers' keys; addresses tell them the endpoint."""
    from pipelines.stage.runtime import RuntimeOptions, ray_runtime

    paths = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    options = RuntimeOptions(
        address="local",
        num_cpus=2,
        object_store_mb=200,
        worker_env=CREDENTIALS | {"PYTHONPATH": paths},
    )
    with ray_runtime(options):
        yield Resources()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Resources:
    """Chunks and pieces are worked on in this process, one after the other, without Ray."""

    def spread(
        function: Any, shared: Any, take: Callable[[bool], Any], resources: Any
    ) -> Iterator[tuple[Any, Any]]:
        while (work := take(True)) is not None:
            yield work, function(shared, work)

    for module in (cluster, verify_module, restore_module):
        monkeypatch.setattr(module, "spread", spread)
    return Resources()
