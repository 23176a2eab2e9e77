"""Strangers' files by every road: library, command, Pillow plugin, service and archive.

The files are the project's cases (`make_cases.py`, beside the data sets); each has one expectation
here, and all roads hold it.
"""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import deepsic
from deepsic.bitstream import VERSION
from deepsic.cli import commands
from deepsic.codec import Codec
from deepsic.errors import DeepsicError, InputError, UnsupportedImageError
from deepsic.image_io import pillow_plugin
from deepsic.limits import Limits
from pipelines.archive.ledger import OK, Ledger
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.archive.settings import JobSettings
from pipelines.archive.work.chunk import ArchiveJob, compress_chunk
from pipelines.archive.work.codec import ModelSource, loaded_codec
from pipelines.serving.work.backends import LocalBackend
from pipelines.serving.work.worker import Worker
from pipelines.storage import open_storage
from tests.support.small_model import codec, model_path

from .serving.conftest import SMALL, Service

__all__ = ["codec", "model_path"]
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning"
)  # Pillow's, and ours about damaged EXIF
RAMP = np.tile(np.linspace(0, 255, 64), (32, 1))


@pytest.fixture(scope="session")
def cases(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of cases, made here."""
    maker = data_dir.parent / "cases" / "make_cases.py"
    if not maker.is_file():
        pytest.skip(f"no {maker}")
    pytest.importorskip("tifffile", reason="a case is made with it")
    folder = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, maker, folder], check=True, capture_output=True, timeout=120)
    return folder


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a user expects of a case."""

    refused: type[DeepsicError] | None = None
    """By this name, on every road; else the image comes back."""
    check: Callable[[Image.Image], None] = lambda image: None
    """What is true of the image that comes back."""


def is_ramp(image: Image.Image) -> None:
    """White at the right, black at the left."""
    assert np.abs(np.asarray(image.convert("L"), float) - RAMP).mean() < 6


def left_half_is_clear(image: Image.Image) -> None:
    alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert (alpha[:, :8].max(), alpha[:, 8:].min()) == (0, 255)


def has_metadata(image: Image.Image) -> None:
    assert image.getexif()[0x10E] == "description"
    assert len(image.info["icc_profile"]) > 100


def of_size(*size: int) -> Callable[[Image.Image], None]:
    def check(image: Image.Image) -> None:
        assert image.size == size

    return check


REFUSED, UNSUPPORTED = Expected(refused=InputError), Expected(refused=UnsupportedImageError)
DAMAGED_EXIF = Expected(check=of_size(96, 64))
EXPECTED = {
    "twelve_bit.tif": Expected(check=is_ramp),
    "int32_8bit_values.tif": UNSUPPORTED,
    "gray16_colour_key.png": Expected(check=left_half_is_clear),
    "exif_cut_header.jpg": DAMAGED_EXIF,
    "exif_garbage.jpg": DAMAGED_EXIF,
    "exif_offset_beyond.jpg": DAMAGED_EXIF,
    "cut_in_second_frame.gif": REFUSED,
    "damaged.avif": REFUSED,
    "thumbnail_first.tif": UNSUPPORTED,
    "side16.png": Expected(check=of_size(16, 16)),
    "photo.heic": UNSUPPORTED,
    "ico_of_one_png.ico": Expected(check=of_size(160, 160)),
    "with_metadata.jpg": Expected(check=has_metadata),
}
NO_IMAGE = "SICK.sic"


def held(name: str, road: Callable[[Path], Image.Image], cases: Path) -> None:
    """A case by one road, against what is expected of it."""
    expected = EXPECTED[name]
    if expected.refused is None:
        expected.check(road(cases / name))
        return
    with pytest.raises(DeepsicError) as caught:
        road(cases / name)
    assert isinstance(caught.value, expected.refused)


def test_every_case_is_expected(cases: Path) -> None:
    assert {path.name for path in cases.iterdir()} == {*EXPECTED, NO_IMAGE, "CASES.md"}


@pytest.mark.parametrize("name", EXPECTED)
def test_library(name: str, cases: Path, codec: Codec) -> None:
    held(name, lambda path: codec.decode(codec.encode(path, quality=90)), cases)


def test_what_is_no_file_of_ours(cases: Path, codec: Codec) -> None:
    with pytest.raises(deepsic.errors.CorruptFileError):
        codec.decode(cases / NO_IMAGE)
    deepsic.register_pillow()
    with pytest.raises(UnidentifiedImageError):
        Image.open(cases / NO_IMAGE)
    for verb in ("info", "labels", "verify", "decode"):
        assert commands.run([verb, str(cases / NO_IMAGE)]) == 4


@pytest.mark.parametrize(
    "suffix",
    ["tif", *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in ("png", "avif", "jpg"))],
)
@pytest.mark.parametrize("name", EXPECTED)
def test_command(
    name: str, suffix: str, cases: Path, model_path: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def road(path: Path) -> Image.Image:
        made, back = tmp_path / "x.sic", tmp_path / f"x.{suffix}"
        options = ["--model", str(model_path)]
        code = commands.run(["encode", str(path), "-o", str(made), "--quality", "90", *options])
        caught = capsys.readouterr().err
        assert "Traceback" not in caught
        if code:
            assert code == InputError.exit_code
            assert path.name in caught
            assert not made.exists()
            raise UnsupportedImageError(caught)
        code = commands.run(["decode", str(made), "-o", str(back), *options])
        if suffix == "jpg" and deepsic.info(made).mode in ("LA", "RGBA"):
            assert code == 2
            commands.run(["decode", str(made), "-o", str(back.with_suffix(".png")), *options])
            back = back.with_suffix(".png")
        else:
            assert code == 0
        with Image.open(back) as image:
            image.load()
        return image

    held(name, road, cases)


def test_command_on_the_whole_folder(
    cases: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert commands.run(["encode", str(cases), "-o", str(out), "--model", str(model_path)]) == 1
    fine = {name for name, expected in EXPECTED.items() if expected.refused is None}
    assert {path.stem for path in out.iterdir()} == {Path(name).stem for name in fine}
    caught = capsys.readouterr().err
    for name in set(EXPECTED) - fine:
        assert f"{name}: " in caught
    assert "1 .sic already" in caught
    assert "1 not an image" in caught


@pytest.fixture
def plugin(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_plugin, "_load", lambda model: codec)
    monkeypatch.setattr(pillow_plugin, "name_of", lambda identity: "small")
    deepsic.register_pillow()


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("name", EXPECTED)
def test_plugin(name: str, cases: Path, tmp_path: Path) -> None:
    def road(path: Path) -> Image.Image:
        made = tmp_path / "x.sic"
        try:
            image = Image.open(path)
        except UnidentifiedImageError as error:  # by Pillow itself
            raise UnsupportedImageError(str(error)) from error
        try:
            image.load()
        except Exception as error:  # of Pillow's own decoder
            raise InputError(str(error)) from error
        with image:
            image.save(made, quality=90)
        before = Image.open(made)
        if name == "with_metadata.jpg":
            has_metadata(before)
        before.load()
        return before

    held(name, road, cases)


@pytest.fixture(scope="module")
def service(codec: Codec) -> Service:
    settings = replace(SMALL, classifier=None, models=(codec.name,))
    worker = Worker(settings, lambda name, settings: codec)
    return Service(settings, LocalBackend(worker))


@pytest.mark.parametrize("name", EXPECTED)
def test_service(name: str, cases: Path, service: Service) -> None:
    def road(path: Path) -> Image.Image:
        made = service.post("/v1/encode?quality=90&labels=false", path.read_bytes())
        if made.status_code != 200:
            assert made.headers["content-type"].startswith("application/problem+json")
            assert made.status_code == 415
            kinds = {kind.title: kind for kind in (InputError, UnsupportedImageError)}
            raise kinds[made.json()["title"]](made.json()["detail"])
        back = service.post("/v1/decode", made.content, headers={"Accept": "image/png"})
        assert back.status_code == 200
        return Image.open(io.BytesIO(back.content))

    if name == "ico_of_one_png.ico":  # a kind that a service doesn't let strangers send
        with pytest.raises(InputError, match="JPEG"):
            road(cases / name)
        return
    held(name, road, cases)


@pytest.fixture(scope="module")
def archive(
    cases: Path, model_path: Path, codec: Codec, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ArchiveJob, dict[str, Any]]:
    """An archive of all cases, and its ledger's rows by name."""
    source = ModelSource(model=str(model_path), device="cpu")
    job = ArchiveJob(
        source=open_storage(str(cases)),
        destination=open_storage(str(tmp_path_factory.mktemp("archive"))),
        settings=JobSettings(
            model="small", model_id=codec.identity.hex(), format_version=VERSION, quality=90
        ),
        codec=source,
        limits=Limits(),
    )
    chunk = Chunk(tuple(Item(info) for info in job.source.list()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compress_chunk(job, chunk)
    rows = Ledger(job.destination).rows(chunk.part(job.settings.job_id))
    loaded_codec.cache_clear()
    assert rows is not None
    return job, {row.source_key: row for row in rows}


@pytest.mark.parametrize("name", EXPECTED)
def test_archive(
    name: str, cases: Path, codec: Codec, archive: tuple[ArchiveJob, dict[str, Any]], tmp_path: Path
) -> None:
    from pipelines.archive.commands.restore import RestoreOptions, _Plan, _restore

    job, rows = archive

    def road(path: Path) -> Image.Image:
        row = rows[path.name]
        if row.status != OK:
            kinds = {"unsupported": UnsupportedImageError, "failed": InputError}
            assert row.reason
            raise kinds[row.status](row.reason)
        plan = _Plan(
            archive=job.destination, out=open_storage(str(tmp_path)), codec=job.codec,
            model_id=codec.identity.hex(), options=RestoreOptions(),
        )  # fmt: skip
        names = ("source_key", "output_key", "output_sha256", "source_modified")
        assert _restore(plan, {key: getattr(row, key) for key in names}) == (True, "")
        with Image.open(tmp_path / f"{path.name}.png") as image:
            image.load()
        return image

    held(name, road, cases)


def test_archive_counts_what_is_no_image(archive: tuple[ArchiveJob, dict[str, Any]]) -> None:
    _, rows = archive
    assert {rows[name].status for name in (NO_IMAGE, "CASES.md")} == {"skipped"}


@pytest.mark.slow
def test_a_thin_claim(data_dir: Path) -> None:
    """The issue's own script: each claim is refused, in no time."""
    script = data_dir.parent / "cases" / "thin_claim.py"
    if not script.is_file():
        pytest.skip(f"no {script}")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    assert all("CorruptFileError, 0." in line for line in lines)
