"""The command line, as far as it needs neither Ray nor a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import compress_archive
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.archive.settings import claim
from pipelines.archive.work.chunk import ArchiveJob, compress_chunk


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
        (["photos", "out", "--quality", "101"], 2, "1-100"),
        (["photos", "out", "--refine-for", "resnet9"], 2, "no classifier 'resnet9'"),
        (["photos", "photos/out"], 2, "contain one another"),
        (["not there", "out"], 8, "doesn't exist"),
        (["report", "photos"], 2, "holds no archive"),
        (["verify", "not there"], 8, "doesn't exist"),
        (["photos", "gs://bucket"], 2, "s3://bucket/prefix"),
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
    assert run(*arguments) == status
    assert said in capsys.readouterr().err


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
