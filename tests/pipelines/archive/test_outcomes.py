"""What becomes of a source: bad ones, none, a single object; and when a destination is claimed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from deepsic.errors import UsageError
from pipelines.archive.cluster import Resources
from pipelines.archive.commands.prune import prune_archive
from pipelines.archive.commands.report import report_archive
from pipelines.archive.commands.restore import RestoreOptions, restore_archive
from pipelines.archive.commands.verify import verify_archive
from pipelines.archive.job import RunOptions, run_job
from pipelines.archive.ledger import FAILED, OK, SKIPPED, UNSUPPORTED, Ledger
from pipelines.archive.listing.selection import Selection, open_source
from pipelines.archive.settings import JOB_KEY
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.storage import open_storage

from .conftest import save_image
from .fakes import IDENTITY, WebpSource, _Webp

MakeJob = Callable[..., ArchiveJob]


def rows_of(job: ArchiveJob) -> dict[str, dict[str, object]]:
    tables = Ledger(job.destination).tables(("reason", "output_key"))
    return {row["source_key"]: row for table in tables for row in table.to_pylist()}


def restore(job: ArchiveJob, out: Path, here: Resources, **options: object) -> set[str]:
    """Keys that are in `out` afterwards."""
    chosen = RestoreOptions(**options)  # type: ignore[arg-type]
    ledger = Ledger(job.destination)
    restore_archive(ledger, open_storage(str(out)), WebpSource(), IDENTITY.hex(), here, chosen)
    return {info.key for info in open_storage(str(out)).list()}


def test_a_source_that_turns_bad_leaves_the_good_copy(
    photos: Path, tmp_path: Path, make_job: MakeJob, here: Resources
) -> None:
    job = make_job(photos, tmp_path / "a")
    run_job(job, here)
    good = (tmp_path / "a/f0/p00.png.sic").read_bytes()
    (photos / "f0/p00.png").write_bytes(b"noise" * 99)
    (photos / "f0/p03.png").unlink()
    for _ in range(2):  # the run that meets it, and those after it
        summary = run_job(job, here)
        assert (summary.stale, summary.failed) == (1, 1)
    assert (tmp_path / "a/f0/p00.png.sic").read_bytes() == good
    found = report_archive(Ledger(job.destination))
    assert (found.status, found.stale) == ({OK: 12}, 1)
    assert verify_archive(Ledger(job.destination), here).damaged == 0
    assert {"f0/p00.png.png", "f0/p03.png.png"} < restore(job, tmp_path / "out", here)
    save_image(photos / "f0/p00.png", 99)
    assert (run_job(job, here).done.ok, run_job(job, here).stale) == (1, 0)
    assert (tmp_path / "a/f0/p00.png.sic").read_bytes() != good


@pytest.mark.parametrize("kind", ["empty folder", "patterns"])
def test_nothing_found_is_an_error_and_claims_nothing(
    kind: str, photos: Path, tmp_path: Path, make_job: MakeJob, here: Resources
) -> None:
    (tmp_path / "empty").mkdir()
    source = tmp_path / "empty" if kind == "empty folder" else photos
    selection = Selection(include=("*.tiff",)) if kind == "patterns" else Selection()
    options = RunOptions(selection=selection)
    with pytest.raises(UsageError, match=r"nothing at .*--allow-empty"):
        run_job(make_job(source, tmp_path / "a"), here, options)
    assert not (tmp_path / "a" / JOB_KEY).exists()
    allowed = RunOptions(selection=selection, allow_empty=True)
    assert run_job(make_job(source, tmp_path / "a"), here, allowed).listed == 0
    assert run_job(make_job(photos, tmp_path / "a"), here).done.ok == 12


def test_a_prefix_that_is_not_there_claims_nothing(
    photos: Path, bucket: str, make_job: MakeJob, here: Resources
) -> None:
    source, selection, origin = open_source(f"{bucket}/misspelt")
    assert selection.only is None
    job = make_job(source.url, f"{bucket}/a", origin=origin)
    with pytest.raises(UsageError, match="there is nothing at s3://"):
        run_job(job, here)
    assert run_job(make_job(photos, f"{bucket}/a"), here).done.ok == 12


def test_a_job_of_which_nothing_came_claims_nothing(
    photos: Path, tmp_path: Path, make_job: MakeJob, here: Resources
) -> None:
    """A folder of texts, then the right one; other settings all of whose images fail, then good."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("hello")
    assert run_job(make_job(tmp_path / "texts", tmp_path / "a"), here).done.skipped == 1
    assert run_job(make_job(photos, tmp_path / "a", quality=99), here).done.failed == 12
    assert not (tmp_path / "a" / JOB_KEY).exists()
    job = make_job(photos, tmp_path / "a")
    assert run_job(job, here).done.ok == 12
    own = Ledger(job.destination, job.settings.job_id)
    assert report_archive(own).status == {OK: 12, SKIPPED: 1}


@pytest.mark.parametrize("far", [False, True])
def test_one_object_is_an_archive_of_one(
    far: bool, photos: Path, tmp_path: Path, bucket: str, make_job: MakeJob, here: Resources
) -> None:
    url = str(photos / "f0/p00.png")
    if far:
        url = f"{bucket}/in/p00.png"
        open_storage(bucket).put("in/p00.png", (photos / "f0/p00.png").read_bytes())
        open_storage(bucket).put("in/p00.pngs", b"another")
    source, selection, origin = open_source(url)
    assert origin == url
    job = make_job(source.url, tmp_path / "a", origin=origin)
    assert run_job(job, here, RunOptions(selection=selection)).done.ok == 1
    assert list(rows_of(job)) == ["p00.png"]
    assert run_job(job, here, RunOptions(selection=selection)).already.ok == 1


def test_three_kinds_of_objects_without_an_output(
    photos: Path, tmp_path: Path, make_job: MakeJob, here: Resources
) -> None:
    heic = b"\0\0\0\x18ftypheic" + bytes(99)
    texts = {"%PDF-1.7 ...": "a PDF", "\x1aE\xdf\xa3...": "a video", "ID3...": "a sound"}
    for number, text in enumerate(texts):
        (photos / f"no{number}.pdf").write_bytes(text.encode("latin-1"))
    (photos / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(99))
    (photos / "phone.heic").write_bytes(heic)
    (photos / "phone.jpg").write_bytes(heic)
    raw = io.BytesIO()
    Image.new("RGB", (8, 8)).save(raw, "TIFF")  # raw files open as TIFF, and give a thumbnail
    (photos / "raw.NEF").write_bytes(raw.getvalue())
    (photos / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    job = make_job(photos, tmp_path / "a")
    for _ in range(2):
        summary = run_job(job, here)
        assert (summary.failed, summary.unsupported) == (1, 4)
    status = {key: (row["status"], row["reason"]) for key, row in rows_of(job).items()}
    for number, kind in enumerate(texts.values()):
        assert status[f"no{number}.pdf"] == (SKIPPED, f"not an image but {kind}")
    assert status["film.mp4"] == (SKIPPED, "not an image but a video")
    for name, kind in (("phone.heic", "HEI"), ("phone.jpg", "HEI"), ("raw.NEF", "raw")):
        assert status[name][0] == UNSUPPORTED
        assert kind in str(status[name][1])
    assert status["drawing.svg"][0] == UNSUPPORTED
    assert status["broken.jpg"][0] == FAILED
    found = report_archive(Ledger(job.destination))
    assert found.status == {OK: 12, SKIPPED: 4, UNSUPPORTED: 4, FAILED: 1}
    assert found.reasons[SKIPPED, "not an image but a video"] == 2


def test_restore_a_part_in_the_original_format_with_its_time(
    photos: Path, tmp_path: Path, make_job: MakeJob, here: Resources
) -> None:
    Image.open(photos / "f0/p00.png").save(photos / "f0/x.jpg")
    job = make_job(photos, tmp_path / "a")
    run_job(job, here)
    made = restore(job, tmp_path / "one", here, include=("f0/*",), as_source=True)
    assert made == {f"f0/p{n:02d}.png" for n in (0, 3, 6, 9)} | {"f0/x.jpg"}
    with Image.open(tmp_path / "one/f0/x.jpg") as image:
        assert image.format == "JPEG"
    for name in ("f0/x.jpg", "f0/p00.png"):
        ours, theirs = (tmp_path / "one" / name).stat(), (photos / name).stat()
        assert ours.st_mtime == pytest.approx(theirs.st_mtime, abs=1e-5)
    tables = Ledger(job.destination).tables(("labels",))
    labels = {r["source_key"]: r["labels"][0]["name"] for t in tables for r in t.to_pylist()}
    wanted = labels["f1/p01.png"]
    made = restore(job, tmp_path / "two", here, label=wanted)
    assert made == {f"{key}.png" for key, name in labels.items() if name == wanted}
    with pytest.raises(UsageError, match="no image that is asked for"):
        restore(job, tmp_path / "three", here, include=("nothing*",))


def test_restore_keeps_xmp_exif_and_profile(
    photos: Path, tmp_path: Path, make_job: MakeJob, here: Resources,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    packet, profile = b"<x:xmpmeta>mine</x:xmpmeta>", b"a profile"

    def decode(codec: _Webp, blob: bytes) -> Image.Image:
        image = Image.new("RGB", (8, 8))
        exif = Image.Exif()
        exif[0x010E] = "a cat"
        image.info.update(xmp=packet, icc_profile=profile, exif=exif.tobytes())
        return image

    Image.new("RGB", (8, 8)).save(photos / "flat.bmp")
    job = make_job(photos, tmp_path / "a")
    run_job(job, here)
    monkeypatch.setattr(_Webp, "decode", decode)
    # No BMP has room for metadata, so that one is a PNG.
    made = restore(job, tmp_path / "own", here, as_source=True)
    assert {"f0/p00.png", "flat.bmp.png"} < made
    restore(job, tmp_path / "out", here)
    with Image.open(tmp_path / "out/f0/p00.png.png") as image:
        assert image.info["XML:com.adobe.xmp"] == packet.decode()
        assert image.info["icc_profile"] == profile
        assert image.getexif()[0x010E] == "a cat"


def test_outputs_without_a_source_are_listed_and_only_then_deleted(
    photos: Path, tmp_path: Path, make_job: MakeJob, here: Resources
) -> None:
    job = make_job(photos, tmp_path / "a")
    run_job(job, here)
    kept = (photos / "f0/p00.png").read_bytes()
    for name in ("f0/p00.png", "f2/p11.png"):
        (photos / name).unlink()
    ledger = Ledger(job.destination, job.settings.job_id)
    found = prune_archive(ledger, job.source)
    assert (found.outputs, found.first) == (2, ["f0/p00.png", "f2/p11.png"])
    assert len(list((tmp_path / "a").rglob("*.sic"))) == 12
    assert prune_archive(ledger, job.source, delete=True).outputs == 2
    assert len(list((tmp_path / "a").rglob("*.sic"))) == 10
    assert prune_archive(ledger, job.source).outputs == 0
    assert verify_archive(ledger, here).checked == 10
    (photos / "f0/p00.png").write_bytes(kept)  # it comes back: a new object
    assert run_job(job, here).done.ok == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="nothing is listed"):
        prune_archive(ledger, open_storage(str(tmp_path / "empty")), delete=True)
