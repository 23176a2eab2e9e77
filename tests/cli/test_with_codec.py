"""The command with the model that ships, on a small photograph."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepsic import info
from deepsic.cli import commands
from deepsic.errors import CorruptFileError


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    skimage = pytest.importorskip("skimage", reason="the photograph is scikit-image's")
    path = tmp_path_factory.mktemp("photo") / "cat.png"
    with Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png") as image:
        image.crop((100, 40, 340, 240)).save(path)
    return path


def run(*arguments: object) -> int:
    return commands.run([str(argument) for argument in arguments])


def test_there_and_back(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, back = tmp_path / "cat.sic", tmp_path / "cat.png"
    labeler = "tests.cli.png_codec:find_dogs"
    assert run("encode", picture, "-o", made, "--bpp", 1.0, "--labeler", labeler) == 0
    facts = info(made)
    assert facts.model_name == "sic"
    assert facts.bpp <= 1.0
    assert run("decode", made, "-o", back) == 0
    with Image.open(picture) as before, Image.open(back) as after:
        difference = np.asarray(before, np.float32) - np.asarray(after, np.float32)
    assert 10 * np.log10(255**2 / np.mean(difference**2)) > 28
    capsys.readouterr()
    assert run("labels", made, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert [label["name"] for label in row["labels"]] == ["English springer", "Lhasa"]
    part = tmp_path / "part.png"
    assert run("decode", made, "-o", part, "--region", "30,20,90,70") == 0
    with Image.open(part) as cut, Image.open(back) as whole:
        assert np.array_equal(np.asarray(cut), np.asarray(whole.crop((30, 20, 90, 70))))


def test_refined_for_a_classifier(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    plain, refined = tmp_path / "plain.sic", tmp_path / "refined.sic"
    goal = ("--model", "sic-machine", "--bpp", 0.8)
    assert run("encode", picture, "-o", plain, *goal) == 0
    for_lite0 = ("--refine-for", "efficientnet-lite0", "--refine-steps", 2)
    assert run("encode", picture, "-o", refined, *goal, *for_lite0) == 0
    assert refined.read_bytes() != plain.read_bytes()
    assert info(refined).bpp <= 0.8
    assert run("decode", refined, "-o", tmp_path / "cat.png") == 0
    capsys.readouterr()
    assert run("encode", picture, "-o", tmp_path / "x.sic", "--refine-for", "resnet9000") == 2
    assert "resnet9000" in capsys.readouterr().err
    assert run("encode", picture, "-o", tmp_path / "x.sic", "--refine-steps", 2) == 2
    assert "--refine-for" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--labeler", "--refine-for"])
def test_networks_that_are_not_installed_are_named(
    picture: Path,
    tmp_path: Path,
    option: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [n for n in sys.modules if n.startswith(("deepsic.tasks", "deepsic.refiner"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    made = tmp_path / "cat.sic"
    assert run("encode", picture, "-o", made, option, "efficientnet-lite0") == 2
    assert "pip install 'deepsic[tasks]'" in capsys.readouterr().err
    assert not made.exists()


def test_a_damaged_image_part_is_told(picture: Path, tmp_path: Path) -> None:
    made, back = tmp_path / "cat.sic", tmp_path / "cat.png"
    assert run("encode", picture, "-o", made, "--quality", 20) == 0
    blob = bytearray(made.read_bytes())
    blob[len(blob) // 2] ^= 0x10
    made.write_bytes(bytes(blob))
    assert run("decode", made, "-o", back) == 4
    assert not back.exists()
    assert run("decode", made, "-o", back, "--model", "nonsense") == 5


def test_streams_that_are_noise_end_in_named_errors_or_images(picture: Path) -> None:
    """Behind correct checksums the decoder meets bytes that no encoder made: it must end well."""
    from deepsic import Codec
    from deepsic.bitstream import Container, Header, pack

    codec = Codec.load("sic")
    coder = info(codec.encode(picture)).coder
    header = Header(width=70, height=50, model_id=codec.identity, coder=coder)
    dice = np.random.default_rng(0)
    for length in (0, 1, 10, 500, 5000):
        blob = pack(Container(header=header, tiles=(dice.bytes(length),)))
        with contextlib.suppress(CorruptFileError):
            assert codec.decode(blob).size == (70, 50)


@pytest.mark.slow
def test_bench_ends_with_1_where_an_image_was_skipped(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = picture.parent / "broken.png"
    broken.write_bytes(b"nothing")
    assert run("bench", picture, broken) == 1
    printed = capsys.readouterr()
    assert "skipped" in printed.out
    assert "1 of 2 images skipped" in printed.err
