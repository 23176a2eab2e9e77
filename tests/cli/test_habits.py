"""What users of other commands expect: folders, what is passed over, devices, repeated runs."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shtab
from PIL import Image

from deepsic.bitstream import info, unpack
from deepsic.cli import commands
from deepsic.cli.options import SHELLS
from tests.image_io import strange

from .png_codec import PngCodec


@pytest.fixture(autouse=True)
def _codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_load_codec", lambda *_, **__: PngCodec())


def run(*arguments: object) -> int:
    return commands.run([str(argument) for argument in arguments])


def test_strangers_files_do_not_end_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "a.avif": strange.damaged_avif(),
        "b.gif": strange.cut_gif(),
        "c.heic": strange.FALSE_HEIC,
        "d.tif": strange.preview_first(),
        "e.jfif": strange.with_metadata(),
        "f.PNM": strange.stored(strange.noise(9, 7), "PPM"),
        "g": strange.stored(strange.noise(9, 7), "PNG"),
        "h.png": strange.stored(strange.noise(9, 7), "PNG")[:30],
        "i.tif": strange.gray_tiff(10, bytes(64 * 32 * 10 // 8)),
        "j.jpg": b"",
        "notes.txt": b"a list of images",
        "done.sic": b"SIC",
    }
    for name, data in files.items():
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    assert run("encode", tmp_path / "in", "-o", tmp_path / "out") == 1
    made = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert made == ["e.sic", "f.sic", "g.sic"]
    printed = capsys.readouterr().err
    assert "left out: 1 .sic already, 1 empty, 1 not an image" in printed
    for reason in (
        "a.avif: damaged", "b.gif: damaged", "c.heic: HEIF", "d.tif: its first", "h.png: damaged",
        "i.tif: of a kind",
    ):  # fmt: skip
        assert reason in printed
    assert "6 of 9" not in printed


def test_what_a_folder_holds_beside_files_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.png").write_bytes(strange.stored(strange.noise(9, 7), "PNG"))
    (folder / "b.png").symlink_to(folder / "sub" / "a.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "again").symlink_to(folder / "sub")
    (folder / "sub" / "up").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    assert run("encode", folder, "-o", tmp_path / "out") == 0
    made = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.sic")}
    assert made == {"b.sic", "sub/a.sic"}
    printed = capsys.readouterr().err
    assert "left out: 2 folder links, 1 broken link, 1 device or pipe\n" in printed

    def refusing(top: object, onerror: Callable[[OSError], None]) -> list[object]:
        onerror(PermissionError())
        return []

    monkeypatch.setattr(os, "walk", refusing)
    assert run("encode", folder) == 2
    assert "the folder holds 1 unreadable folder" in capsys.readouterr().err


def test_a_pipe_is_read(tmp_path: Path) -> None:
    """As a shell's `<(...)` gives one."""
    image = strange.stored(strange.noise(9, 7), "PNG")
    pipe, made = tmp_path / "pipe", tmp_path / "a.sic"
    os.mkfifo(pipe)
    for data, arguments in (
        (image, ("encode", pipe, "-o", made)),
        (None, ("decode", pipe, "-o", tmp_path / "a.png", "--model", "x")),
        (None, ("info", pipe)),
        (None, ("labels", pipe, "--model", "x")),
        (None, ("verify", pipe)),
    ):
        content = made.read_bytes() if data is None else data
        writer = threading.Thread(target=pipe.write_bytes, args=[content])
        writer.start()
        assert run(*arguments) == 0, arguments
        writer.join(20)


@pytest.mark.skipif(sys.platform != "linux", reason="others' names are text")
def test_names_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    for name in (b"bad\xff.png", "\u00fc\u5b57.png".encode(), b"plain.png"):
        Path(os.fsdecode(bytes(tmp_path / "in") + b"/" + name)).write_bytes(
            strange.stored(strange.noise(9, 7), "PNG")
        )
    for encoding in ("utf-8", "ascii"):
        shown = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", shown)
        assert run("encode", tmp_path / "in", "-o", tmp_path / "out", "-f") == 0
        shown.seek(0)
        assert "bad\\udcff.sic" in shown.read()
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
def test_damaged_exif_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(strange.with_exif(strange.DAMAGED_EXIF["garbage"]))
    assert run("encode", path) == 0
    assert "a.jpg: damaged EXIF data kept as they are" in capsys.readouterr().err
    for suffix in ("tif", "avif", "png", "jpg"):
        back = tmp_path / f"back.{suffix}"
        assert run("decode", tmp_path / "a.sic", "-o", back, "--model", "x") == 0
        with Image.open(back) as image:
            assert image.size == (96, 64)
    assert capsys.readouterr().err.count("without EXIF (it is damaged)") == 2


def test_a_folder_makes_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.png").write_bytes(strange.stored(strange.noise(9, 7), "PNG"))
    assert run("encode", tmp_path / "in", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "deep" / "a.sic").is_file()
    assert run("encode", tmp_path / "in" / "*" / "*.png", "-o", tmp_path / "globbed") == 0
    assert (tmp_path / "globbed" / "deep" / "a.sic").is_file()


def test_a_second_run_is_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(strange.stored(strange.noise(9, 7), "PNG"))
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert run("encode", path, "--preserve", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    made = tmp_path / "a.sic"
    assert made.stat().st_mtime == 1_000_000_000
    assert run("encode", path) == 2
    assert "--skip-existing" in capsys.readouterr().err
    assert run("encode", path, "--skip-existing") == 0
    assert "up to date" in capsys.readouterr().out
    assert run("encode", path, "--skip-existing", "--json") == 0
    assert json.loads(capsys.readouterr().out)["up_to_date"] is True
    assert made.stat().st_mtime == 1_000_000_000


def test_metadata_comes_back_or_is_stripped(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(strange.with_metadata())
    assert run("encode", path) == 0
    kept = unpack((tmp_path / "a.sic").read_bytes())
    assert (kept.icc, kept.xmp) == (strange.SRGB, strange.XMP)
    assert b"description" in (kept.exif or b"")
    for options, there in ((), True), (("--strip",), False):
        back = tmp_path / "back.png"
        assert run("decode", tmp_path / "a.sic", "-o", back, "-f", "--model", "x", *options) == 0
        with Image.open(back) as image:
            assert bool(image.info.get("icc_profile")) == there
            assert bool(image.info.get("exif")) == there


def test_no_labels_is_spelled_as_in_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def encode(self: PngCodec, image: object, **options: object) -> bytes:
        seen.append(options)
        return b"SIC"

    monkeypatch.setattr(PngCodec, "encode", encode)
    path = tmp_path / "a.png"
    path.write_bytes(strange.stored(strange.noise(9, 7), "PNG"))
    for options in (["--labeler", "none"], ["--no-labels"]):
        run("encode", path, "-f", *options)
    assert seen == [{"labels": False}] * 2
    assert run("encode", path, "--no-labels", "--labeler", "head") == 2


def test_a_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 200)]
    path = tmp_path / "a.gif"
    path.write_bytes(strange.stored(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert run("encode", path) == 3
    assert run("encode", path, "--frame", 2) == 2
    assert run("encode", path, "--frame", 1) == 0
    assert PngCodec().decode((tmp_path / "a.sic").read_bytes()).getpixel((0, 0))[0] == 200


def test_white_is_what_the_user_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    ramp = np.tile(np.linspace(0, 4095, 64).astype(np.uint16), (32, 1))
    path.write_bytes(strange.stored(Image.fromarray(ramp), "PNG"))
    assert run("encode", path) == 3
    assert "--white 4095" in capsys.readouterr().err
    assert run("encode", path, "--white", 4095) == 0
    back = PngCodec().decode((tmp_path / "a.sic").read_bytes())
    assert back.getextrema() == (0, 255)
    assert run("encode", path, "-f", "--white", 65536) == 2
    assert run("encode", path, "-f", "--white", 9) == 2


@pytest.mark.parametrize("shell", SHELLS)
def test_completion(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("completion", shell) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    text = script.read_text()
    assert "max-bytes" in text
    assert "skip-existing" in text
    assert shtab.FILE[shell] in text
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n", str(script)], check=True, timeout=20)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("completion", "bash") == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "cat.sic").touch()
    for words, last, expected in (
        ("deepsic ver", 1, "verify"),
        ("deepsic encode --max", 2, "--max-bytes"),
        ("deepsic completion z", 2, "zsh"),
        (f"deepsic decode {tmp_path}/c", 2, f"{tmp_path}/cat.sic"),
    ):
        line = f"COMP_WORDS=({words}); COMP_CWORD={last}; _shtab_deepsic; echo ${{COMPREPLY[@]}}"
        answer = subprocess.run(
            ["bash", "-c", f"source {script}; {line}"],
            capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
        assert answer.stdout.split() == [expected]


def test_what_is_no_regular_file_is_written_through(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(strange.stored(strange.noise(9, 7), "PNG"))
    assert run("encode", path, "-o", "/dev/null") == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    assert run("encode", path, "-o", tmp_path / "pipe") == 0
    reader.join(20)
    assert info(got[0]).width == 9
    (tmp_path / "real.sic").write_bytes(b"old")
    (tmp_path / "link.sic").symlink_to(tmp_path / "real.sic")
    assert run("encode", path, "-o", tmp_path / "link.sic", "-f") == 0
    assert (tmp_path / "link.sic").is_symlink()
    assert info(tmp_path / "real.sic").width == 9
    long = tmp_path / ("x" * 250 + ".sic")
    assert run("encode", path, "-o", long) == 0
    assert info(long).width == 9


def test_names_that_are_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", "x" * 300) == 3
    assert "File name too long" in capsys.readouterr().err
    for name in ("x" * 248 + ".png", "short.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(strange.stored(strange.noise(9, 7), "PNG"))
    assert run("encode", tmp_path / "in", "-o", tmp_path / "out", "--keep-suffix") == 1
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["short.png.sic"]
    assert "File name too long" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["nan", "inf", "0", "-1", "much"])
def test_sizes_that_are_none(size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", tmp_path, "--bpp", size) == 2
    assert run("encode", tmp_path, "--max-bytes", size) == 2
    assert "--max-bytes" in capsys.readouterr().err


def test_sizes_with_units() -> None:
    from deepsic.cli.options import size_in_bytes

    given = ["20000", "20KB", "20k", "20KiB", "1.5MB", "2 MiB"]
    assert [size_in_bytes(text) for text in given] == [
        20_000, 20_000, 20_000, 20_480, 1_500_000, 2 << 20,
    ]  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's always-full device")
def test_a_full_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(strange.stored(strange.noise(90, 70), "PNG"))

    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(full))  # type: ignore[type-var]
        assert run("encode", path, "-o", "-") == 8
    assert "No space left" in capsys.readouterr().err
