"""The command line, as far as it needs neither Ray nor a model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepsic.models.semantic.labeler import load_labeler
from pipelines import compress_archive
from pipelines.archive import plan
from pipelines.archive.cluster import Resources
from pipelines.archive.ledger.rules import SQL
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.archive.settings import claim
from pipelines.archive.work.chunk import ArchiveJob, compress_chunk
from pipelines.archive.work.codec import ModelSource, loaded_codec

from .fakes import WebpSource


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        compress_archive.main([str(argument) for argument in arguments])
    return int(str(end.value.code or 0))


@pytest.fixture
def archive(photos: Path, tmp_path: Path, make_job: Callable[..., ArchiveJob]) -> Path:
    """A finished archive with one failure."""
    (photos / "broken.jpg").write_bytes(b"")
    job = make_job(photos, tmp_path / "archive")
    job.destination.create()
    claim(job.destination, job.source.url, job.settings)
    compress_chunk(job, Chunk(tuple(Item(info) for info in job.source.list())))
    return tmp_path / "archive"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("compress", "verify", "restore", "find", "report"))
    assert "    python pipelines/compress_archive.py find    s3://bucket/archive dog" in text


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["photos"], 2, "give a destination"),
        (["photos", "out", "--quality", "5", "--bpp", "1"], 2, "exactly one"),
        (["photos", "out", "--quality", "101"], 2, "1<=x<=100"),
        (["photos", "out", "--refine-for", "resnet9"], 2, "no classifier 'resnet9'"),
        (["photos", "out", "--refine-steps", "1"], 2, "--refine-steps needs --refine-for"),
        (["photos", "photos/out"], 2, "contain one another"),
        (["not there", "out"], 8, "doesn't exist"),
        (["empty", "out"], 2, "there is nothing at"),
        (["photos", "photos/f0/p00.png"], 2, "contain one another"),
        (["photos", "file"], 8, "can't be made"),
        (["photos", "file/below"], 8, "can't be made"),
        (["report", "photos"], 2, "holds no archive"),
        (["verify", "not there"], 8, "doesn't exist"),
        (["photos", "gs://bucket"], 2, "s3://bucket/prefix"),
        (["photos", "s3://bucket/a?colour=red"], 2, "no option 'colour'; there are"),
        (["photos", "out", "--limit", "0"], 2, "0 is not in the range x>=1"),
        (["photos", "out", "--cpus-per-task", "0"], 2, "--cpus-per-task 0 must be above 0"),
        (["photos", "out", "--inventory", "manifest.json"], 2, "s3:// address"),
        (["restore", "photos", "out", "--as", "jpeg"], 2, "not one of 'png', 'source'"),
    ],
)
def test_wrong_calls_say_what_to_do(
    arguments: list[str],
    status: int,
    said: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("empty").mkdir()
    Path("file").touch()
    assert run(*arguments) == status
    assert said in capsys.readouterr().err


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, here: Resources) -> None:
    """Commands work in this process, with the stand-in codec."""

    @contextlib.contextmanager
    def cluster(device: str, cpus: float = 1) -> Iterator[Resources]:
        yield here

    loaded_codec.cache_clear()
    monkeypatch.setattr(plan, "_cluster", cluster)
    for name in ("identity", "load"):
        stand_in = getattr(WebpSource(), name)
        monkeypatch.setattr(ModelSource, name, lambda _, made=stand_in: made())


@pytest.mark.usefixtures("in_process")
def test_unsupported_images_end_a_run_with_1_where_that_was_asked_for(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (photos / "notes.pdf").write_bytes(b"%PDF-1.7")
    out, metrics = tmp_path / "out", tmp_path / "archive.prom"
    assert run(photos, out, "--metrics-file", metrics) == 0
    numbers = metrics.read_text("utf-8")
    for status, count in (("ok", 12), ("skipped", 1), ("unsupported", 1), ("failed", 0)):
        assert f'deepsic_archive_objects{{status="{status}"}} {count}.0' in numbers
    assert "deepsic_archive_left_objects 0.0" in numbers
    assert "deepsic_archive_listed 1.0" in numbers
    capsys.readouterr()
    assert run(photos, out, "--fail-on", "unsupported") == 1
    assert "1 image of formats that this release can't read" in capsys.readouterr().err
    (photos / "broken.jpg").write_bytes(b"")
    assert run(photos, out) == 1
    assert "1 object failed" in capsys.readouterr().err


@pytest.mark.usefixtures("in_process")
def test_damage_ends_verify_with_7_until_the_job_has_mended_it(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(photos, out) == 0
    good = (out / "f0/p00.png.sic").read_bytes()
    (out / "f0/p00.png.sic").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert run("verify", out) == 7
    assert "1 outputs are damaged; --mark lets" in capsys.readouterr().err
    assert run("verify", out, "--mark") == 7
    assert "run the job again" in capsys.readouterr().err
    assert run(photos, out) == 0
    assert (out / "f0/p00.png.sic").read_bytes() == good
    assert run("verify", out) == 0


@pytest.mark.usefixtures("in_process")
def test_labels_that_nobody_can_give_claim_nothing(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelSource, "load", lambda _: load_labeler("no-such-net"))
        assert run(photos, out, "--labeler", "no-such-net") == 2
    assert [path for path in out.rglob("*") if path.is_file()] == []
    assert run(photos, out) == 0


def test_report(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", archive, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == {"ok": 12, "failed": 1}
    assert found["stale"] == 0
    assert found["failed"] == [["broken.jpg", "input", "empty: 0 bytes"]]
    assert 0 < found["bpp"] < 24
    assert run("report", archive) == 0
    said = capsys.readouterr()
    assert "failed: input" in said.out
    assert "broken.jpg" in said.err


def test_find(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("find", archive, "physical entity", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["output_key"] for line in lines} == {
        str(path.relative_to(archive)) for path in archive.rglob("*.sic")
    }
    assert run("find", archive, "physical entity", "--min-prob", "0.9") == 0
    assert capsys.readouterr().out == ""
    assert run("find", archive, "no such thing") == 2


def test_find_says_how_many_and_what_was_meant(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("find", archive, "physical entity", "--limit", 2) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert "physical entity: 12 images, 2 listed" in said.err
    assert run("find", archive, "dalmation") == 2
    assert "did you mean dalmatian" in capsys.readouterr().err


def test_the_ledger_for_other_tools(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    duckdb = pytest.importorskip("duckdb")
    assert run("ledger", archive) == 0
    query = capsys.readouterr().out
    counts = f"SELECT status, count(*) FROM ({query}) GROUP BY 1 ORDER BY 1"
    assert duckdb.sql(counts).fetchall() == [("failed", 1), ("ok", 12)]
    rows = tmp_path / "rows.parquet"
    assert run("ledger", archive, "--out", rows) == 0
    assert duckdb.sql(f"SELECT count(*) FROM '{rows}'").fetchall() == [(13,)]
    assert run("ledger", archive, "--out", rows / "rows.parquet") == 8  # below a file
    assert run("compact", archive) == 0
    assert run("report", archive) == 0


def test_the_guide_shows_the_same_query(archive: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "ARCHIVE.md").read_text("utf-8")
    shown = guide.partition("```sql\n")[2].partition("```")[0]
    assert shown.split() == SQL.format(ledger="archive/.deepsic/ledger/").split()


def test_prune_lists_before_it_deletes(
    archive: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "f0/p00.png").unlink()
    assert run("prune", archive) == 0
    assert "would delete the output of f0/p00.png" in capsys.readouterr().err
    assert (archive / "f0/p00.png.sic").exists()
    assert run("prune", archive, "--source", photos / "f1") == 2
    assert "is the archive of" in capsys.readouterr().err
    assert run("prune", archive, "--delete-extraneous") == 0
    assert not (archive / "f0/p00.png.sic").exists()
