"""Verbs, targets, JSON and exit codes, with a codec that needs no network."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepsic.bitstream import Container, Header, Label, Semantics, info, pack, read_semantics
from deepsic.cli import commands

from .png_codec import PngCodec

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


@pytest.fixture(autouse=True)
def _codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_load_codec", lambda *_, **__: PngCodec())


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    return path


def run(*arguments: object) -> int:
    return commands.run([str(argument) for argument in arguments])


def test_there_and_back(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", picture, "--quality", 70) == 0
    made = picture.with_suffix(".sic")
    assert info(made).quality == 70
    assert f"{picture} -> {made}" in capsys.readouterr().out
    back = picture.with_name("back.png")
    assert run("decode", made, "-o", back, "--model", "png") == 0
    assert np.array_equal(np.asarray(Image.open(back)), RGB)
    assert not list(picture.parent.glob("*.part"))


def test_region(picture: Path, tmp_path: Path) -> None:
    run("encode", picture)
    out = tmp_path / "part.webp"
    assert run("decode", tmp_path / "a.sic", "--region", "2,1,7,5", "-o", out, "--model", "x") == 0
    with Image.open(out) as image:
        assert image.size == (5, 4)
    assert run("decode", tmp_path / "a.sic", "--region", "2,1,7", "-o", out) == 2


def test_nothing_is_replaced_without_force(picture: Path) -> None:
    made = picture.with_suffix(".sic")
    made.write_bytes(b"precious")
    assert run("encode", picture) == 2
    assert made.read_bytes() == b"precious"
    assert run("encode", picture, "-f") == 0
    assert info(made).width == 9


def test_folders_keep_their_structure(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = tmp_path / "in" / "deep"
    inner.mkdir(parents=True)
    for name in ("b.png", "c.JPG"):
        (inner / name).write_bytes(picture.read_bytes())
    (inner / "notes.txt").write_text("a list")
    assert run("encode", tmp_path / "in", picture, "-o", tmp_path / "out") == 0
    assert "left out: 1 not an image" in capsys.readouterr().err
    made = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.sic"))
    assert made == ["a.sic", "deep/b.sic", "deep/c.sic"]


def test_globs(picture: Path, tmp_path: Path) -> None:
    assert run("encode", tmp_path / "*.png", "-o", f"{tmp_path}/out/") == 0
    assert (tmp_path / "out" / "a.sic").exists()
    assert run("encode", tmp_path / "*.nothing") == 3


def test_sources_that_differ_in_their_suffix_keep_it(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture.read_bytes())
    out = tmp_path / "out"
    assert run("encode", picture, tmp_path / "a.jpg", "-o", out) == 0
    assert sorted(p.name for p in out.iterdir()) == ["a.jpg.sic", "a.png.sic"]
    assert run("encode", picture, "-o", f"{out}/", "--keep-suffix", "--skip-existing") == 0
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(picture.read_bytes())
    assert run("encode", picture, tmp_path / "in" / "a.png", "-o", tmp_path / "no") == 2
    assert not (tmp_path / "no").exists()


def test_some_fail_and_the_others_go_on(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    assert run("encode", bad, picture, "--json") == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["source"] == str(bad)
    assert rows[0]["error"]["kind"] == "InputError"
    assert rows[0]["error"]["exit_code"] == 3
    assert (rows[1]["width"], rows[1]["height"]) == (9, 6)
    assert not (tmp_path / "bad.sic").exists()


@pytest.mark.parametrize(
    ("verb", "content", "code"),
    [
        ("info", b"\x89PNG", 4),
        ("info", b"SIC\x90" + bytes(50), 5),
        ("labels", b"", 4),
        ("verify", b"SIC\x81" + bytes(50), 4),
        ("decode", b"junk", 4),
        ("encode", b"junk", 3),
    ],
)
def test_exit_codes_of_bad_input(
    verb: str, content: bytes, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    assert run(verb, path) == code
    printed = capsys.readouterr()
    assert printed.err.startswith("deepsic: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


def test_usage_errors(picture: Path, tmp_path: Path) -> None:
    assert run() == 2
    assert run("nonsense") == 2
    assert run("encode", picture, "--quality", 3, "--bpp", 1) == 2
    assert run("encode", picture, "--quality", 0) == 2
    assert run("info", tmp_path / "missing.sic") == 3
    assert run("labels", picture, "--top", 0) == 2
    assert run("labels", picture, "--depth", -1) == 2
    assert run("labels", picture, "--depth", "deep") == 2
    assert run("encode", picture, "--labeler", "no.such.module:f") == 2
    (tmp_path / "empty").mkdir()
    assert run("info", tmp_path / "empty") == 2
    assert run("--help") == 0


def test_a_disk_that_refuses(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert run("encode", picture, "-o", tmp_path / "file" / "below.sic") == 8


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's always-full device")
def test_a_full_disk(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if self.name.endswith(".part"):
            real(self, mode, *args, **kwargs).close()
            return real(Path("/dev/full"), "wb", buffering=0)
        return real(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    assert run("encode", picture) == 8
    assert [p.name for p in picture.parent.iterdir()] == ["a.png"]


def test_labels(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", picture, "--labeler", "tests.cli.png_codec:find_dogs") == 0
    made = tmp_path / "a.sic"
    stored = read_semantics(made.read_bytes())
    assert stored is not None
    assert stored.label_set == "imagenet1k"
    capsys.readouterr()
    assert run("labels", made) == 0
    assert (
        capsys.readouterr().out
        == f"{made}: hunting dog 80%, perhaps English springer 64%, Lhasa 16%\n"
    )
    assert run("labels", made, "--depth", 13, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["labels"] == [{"name": "dog", "wnid": "n02084071", "probability": 0.8}]
    assert run("labels", made, "--top", 1) == 0
    assert "Lhasa" not in capsys.readouterr().out


def test_objects_stay_apart_at_any_depth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    labels = Semantics.of([
        Label("English springer", "n02102040", 0.64, left), Label("Lhasa", "n02098413", 0.16, left),
        Label("Lhasa", "n02098413", 0.36, right), Label("tench", "n01440764", 0.04, right),
    ])  # fmt: skip
    header = Header(width=40, height=30, model_id=bytes(8))
    made = tmp_path / "a.sic"
    made.write_bytes(pack(Container(header=header, tiles=(b"x",), semantics=labels)))
    assert run("labels", made, "--depth", 13, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    seen = [(label["name"], label["box"][0], label["probability"]) for label in row["labels"]]
    assert seen[0] == ("dog", 0.0, pytest.approx(0.8, abs=0.01))
    assert seen[1] == ("dog", pytest.approx(0.5, abs=0.001), pytest.approx(0.36, abs=0.01))
    assert len(seen) == 3


def test_labels_of_a_damaged_file(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("encode", picture, "--labeler", "tests.cli.png_codec:find_dogs")
    made = tmp_path / "a.sic"
    made.write_bytes(made.read_bytes()[:60])
    capsys.readouterr()
    assert run("labels", made) == 0
    assert "springer" in capsys.readouterr().out
    assert run("verify", made) == 4


def test_labels_without_stored_ones_ask_the_model(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("encode", picture)
    capsys.readouterr()
    assert run("labels", tmp_path / "a.sic", "--model", "png") == 0
    assert "dalmatian 75%" in capsys.readouterr().out
    assert run("labels", tmp_path / "a.sic") == 5
    assert "706e67636f646563" in capsys.readouterr().err


def test_info_and_verify(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("encode", picture)
    capsys.readouterr()
    made = tmp_path / "a.sic"
    assert run("info", made, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["bytes_total"] == made.stat().st_size
    assert row["mode"] == "RGB"
    assert run("info", made) == 0
    assert "9x6 RGB" in capsys.readouterr().out
    assert run("verify", made) == 0
    assert capsys.readouterr().out == f"{made}: ok\n"


def test_pipes(
    picture: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def feed(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    feed(picture.read_bytes())
    assert run("encode", "-") == 0
    blob = capfdbinary.readouterr().out
    assert info(blob).width == 9
    feed(blob)
    assert run("decode", "-", "--model", "png", "--format", "bmp") == 0
    image = Image.open(io.BytesIO(capfdbinary.readouterr().out))
    assert image.format == "BMP"
    assert np.array_equal(np.asarray(image), RGB)


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    from deepsic import zoo

    assert run("models", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["source"] for row in rows] == zoo.names()


def test_interrupt(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PngCodec, "encode", stop)
    assert run("encode", picture) == 130
