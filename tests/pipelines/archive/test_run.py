"""Whole jobs on a small Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from deepsic.errors import PartialFailureError, UsageError
from pipelines.archive.cluster import Resources
from pipelines.archive.commands.find import find
from pipelines.archive.commands.report import report_archive
from pipelines.archive.commands.restore import restore_archive
from pipelines.archive.commands.verify import verify_archive
from pipelines.archive.job import RunOptions, run_job
from pipelines.archive.ledger import FAILED, OK, SKIPPED, Ledger
from pipelines.archive.work.check import Check, Verify
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.storage import open_storage, sha256

from .conftest import save_image
from .fakes import IDENTITY, KILL, STALL, WebpSource

#: Ray's own: old settings that it reads itself, sockets that it leaves to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MakeJob = Callable[..., ArchiveJob]


def rows_of(job: ArchiveJob, *columns: str) -> dict[str, dict[str, object]]:
    tables = Ledger(job.destination).tables(("status", "reason", "kind", *columns))
    return {row["source_key"]: row for table in tables for row in table.to_pylist()}


def outputs(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*.sic") if path.is_file()]
    return {str(path.relative_to(folder)): sha256(path.read_bytes()) for path in files}


def test_a_job_and_all_that_follows(
    photos: Path, tmp_path: Path, make_job: MakeJob, ray_here: Resources
) -> None:
    job = make_job(photos, tmp_path / "out", check=Check(verify=Verify.DECODE))
    before = {path: path.stat().st_mtime_ns for path in photos.rglob("*.png")}
    summary = run_job(job, ray_here)
    assert (summary.done.ok, summary.failed) == (12, 0)
    rows = rows_of(job, "output_key", "output_sha256", "psnr", "bpp", "labels")
    assert len(rows) == 12
    made = outputs(tmp_path / "out")
    for key, row in rows.items():
        assert row["status"] == OK
        assert made[f"{key}.sic"] == row["output_sha256"]
        assert row["psnr"] > 20
    assert before == {path: path.stat().st_mtime_ns for path in photos.rglob("*.png")}

    again = run_job(job, ray_here)
    assert (again.done.objects, again.already.ok) == (0, 12)
    assert outputs(tmp_path / "out") == made

    found = verify_archive(Ledger(job.destination), ray_here)
    assert (found.checked, found.problems, found.extra, found.shared) == (12, [], 0, 0)

    out = tmp_path / "decoded"
    restored = restore_archive(
        Ledger(job.destination), open_storage(str(out)), WebpSource(), IDENTITY.hex(), ray_here
    )
    assert (restored.written, restored.problems) == (12, [])
    assert len(list(out.rglob("*.png"))) == 12
    report = report_archive(Ledger(job.destination))
    assert report.status == {OK: 12}
    assert report.bytes_out == sum(p.stat().st_size for p in (tmp_path / "out").rglob("*.sic"))
    label = str(rows["f0/p00.png"]["labels"][0]["name"])  # type: ignore[index]
    assert "f0/p00.png" in {m.source_key for m in find(Ledger(job.destination), label).matches}


def test_damage_is_found_marked_and_made_again(
    photos: Path, tmp_path: Path, make_job: MakeJob, ray_here: Resources
) -> None:
    job = make_job(photos, tmp_path / "out")
    run_job(job, ray_here)
    whole = outputs(tmp_path / "out")
    (tmp_path / "out/f0/p00.png.sic").unlink()
    (tmp_path / "out/f1/p01.png.sic").write_bytes(b"SIC")
    (tmp_path / "out/stranger.sic").write_bytes(b"SIC")
    found = verify_archive(Ledger(job.destination), ray_here, mark=True)
    assert sorted(key for key, _ in found.problems) == ["f0/p00.png.sic", "f1/p01.png.sic"]
    assert (found.extra, found.damaged, found.marked) == (1, 2, 2)
    summary = run_job(job, ray_here)
    assert (summary.done.ok, summary.already.ok) == (2, 10)
    (tmp_path / "out/stranger.sic").unlink()
    assert outputs(tmp_path / "out") == whole


def test_new_changed_and_failed_objects(
    photos: Path, tmp_path: Path, make_job: MakeJob, ray_here: Resources
) -> None:
    (photos / "broken.jpg").write_bytes(b"not a JPEG at all")
    job = make_job(photos, tmp_path / "out")
    assert run_job(job, ray_here).done.failed == 1
    save_image(photos / "f0/p00.png", 777)
    save_image(photos / "zz/new.png", 778)
    summary = run_job(job, ray_here)
    assert (summary.done.ok, summary.already.ok, summary.already.failed) == (2, 11, 1)
    save_image(tmp_path / "mended.png", 779)
    assert run_job(job, ray_here).done.objects == 0  # what failed stays failed, unasked
    assert run_job(job, ray_here, RunOptions(retry_failed=True)).done.failed == 1
    Image.open(tmp_path / "mended.png").save(photos / "broken.jpg")
    summary = run_job(job, ray_here)
    assert (summary.done.ok, summary.failed) == (1, 0)
    assert len(rows_of(job)) == 14


def test_other_settings_or_source_never_mix(
    photos: Path, tmp_path: Path, make_job: MakeJob, ray_here: Resources
) -> None:
    run_job(make_job(photos, tmp_path / "out"), ray_here)
    with pytest.raises(UsageError, match="quality 50 -> 60"):
        run_job(make_job(photos, tmp_path / "out", quality=60), ray_here)
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="archive of"):
        run_job(make_job(tmp_path / "other", tmp_path / "out"), ray_here)
    with pytest.raises(UsageError, match="contain one another"):
        run_job(make_job(photos, photos / "out"), ray_here)


def test_too_many_failures_stop_the_job(
    photos: Path, tmp_path: Path, make_job: MakeJob, ray_here: Resources
) -> None:
    job = make_job(photos, tmp_path / "out", quality=99)
    with pytest.raises(PartialFailureError, match="max-failures 3"):
        run_job(job, ray_here, RunOptions(max_failures=3))


@pytest.mark.slow  # ten workers die and start again
def test_images_that_kill_or_stall_workers(
    photos: Path, tmp_path: Path, make_job: MakeJob, ray_here: Resources
) -> None:
    Image.new("RGB", (8, 8), STALL).save(photos / "f1/stalls.png")
    Image.new("RGB", (8, 8), KILL).save(photos / "f2/kills.png")
    (photos / "notes.txt").write_text("not an image")
    job = make_job(photos, tmp_path / "out", seconds_per_image=1.0)
    summary = run_job(job, ray_here)
    assert (summary.done.ok, summary.done.skipped, summary.done.failed) == (12, 1, 2)
    rows = rows_of(job)
    assert rows["f1/stalls.png"]["kind"] == "time"
    assert rows["f2/kills.png"]["kind"] == "crash"
    assert rows["notes.txt"]["status"] == SKIPPED
    assert rows["f2/kills.png"]["status"] == FAILED


def test_from_and_to_s3(
    photos: Path, bucket: str, s3_endpoint: str, make_job: MakeJob, ray_here: Resources
) -> None:
    source = open_storage(f"{bucket}/in")
    for path in photos.rglob("*.png"):
        source.put(str(path.relative_to(photos)), path.read_bytes())
    there = f"?endpoint-url={s3_endpoint}"
    job = make_job(f"{bucket}/in{there}", f"{bucket}/out{there}")
    assert run_job(job, ray_here).done.ok == 12
    assert run_job(job, ray_here).done.objects == 0
    assert verify_archive(Ledger(job.destination), ray_here).problems == []
