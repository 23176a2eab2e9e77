"""The wheel that `python -m build` makes, installed: what each extra promises, and nothing beside.

pytest tests/packaging                 # build, contents, the core without torch
pytest -m slow tests/packaging         # one Ray run of an installed stage
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import deepsic
from deepsic.cli.stages import STAGES
from tests.docs.blocks import blocks
from tests.packaging.environment import Environment

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By way of the source archive, as `python -m build` does it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("core"), wheel)


def test_the_wheel_owns_one_name_in_site_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {
        "deepsic", f"deepsic-{deepsic.__version__}.dist-info",
    }  # fmt: skip
    for part in ("pipelines/web/index.html", "pipelines/report/report.html.j2",
                 "pipelines/serve.yaml", "tune_spaces/saic.py"):  # fmt: skip
        assert f"deepsic/_stages/{part}" in names
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)


def test_the_core_reads_files_without_torch(core: Environment, tmp_path: Path) -> None:
    files = sorted(GOLDEN.rglob("*.sic"))
    assert files
    assert "torch" not in {path.name for path in core.site.iterdir()}
    labelled = [path for path in files if deepsic.info(path).labels]
    for verb, given in (("info", files), ("labels", labelled), ("verify", files)):
        done = core.run("deepsic", verb, "--json", *map(str, given), cwd=tmp_path)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert [row["source"] for row in rows] == [str(path) for path in given] != []
    assert "sic-machine" in core.run("deepsic", "models", cwd=tmp_path).stdout
    assert deepsic.__version__ in core.run("deepsic", "--version", cwd=tmp_path).stdout


def test_the_core_says_what_to_install_for_the_rest(core: Environment, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    advice = "pip install 'deepsic[codec]'"
    assert advice in core.run("deepsic", "encode", "photo.png", cwd=tmp_path, code=2).stderr
    for command in STAGES:
        assert "pip install 'deepsic[" in core.run(command, "--help", cwd=tmp_path, code=1).stderr
    code = "import deepsic; deepsic.Codec"
    assert advice in core.run("python", "-c", code, cwd=tmp_path, code=1).stderr


def test_codec_encodes_and_decodes(wheel: Path, tmp_path: Path) -> None:
    place = Environment(tmp_path / "env", wheel, "codec")
    make = "from PIL import Image; Image.linear_gradient('L').save('photo.png')"
    place.run("python", "-c", make, cwd=tmp_path)
    place.run("deepsic", "encode", "photo.png", cwd=tmp_path)
    place.run("deepsic", "decode", "photo.sic", "-o", "back.png", cwd=tmp_path)
    assert "torch" not in {path.name for path in place.site.iterdir()}
    refused = place.run("deepsic", "bench", "photo.png", cwd=tmp_path, code=2)
    assert "pip install 'deepsic[bench]'" in refused.stderr
    show = "from PIL import Image; print(Image.open('back.png').size)"
    assert place.run("python", "-c", show, cwd=tmp_path).stdout == "(256, 256)\n"


@pytest.mark.parametrize(
    ("extra", "commands"),
    [
        ("pipelines", [name for name in STAGES if name != "deepsic-serve"]),
        ("serve", ["deepsic-serve"]),
    ],
)
def test_extras_bring_their_commands(
    extra: str, commands: list[str], wheel: Path, tmp_path: Path
) -> None:
    place = Environment(tmp_path / "env", wheel, extra)
    for command in commands:
        assert "Usage" in place.run(command, "--help", cwd=tmp_path).stdout


@pytest.mark.slow
def test_readmes_lines_run_where_the_demo_is_installed(wheel: Path, tmp_path: Path) -> None:
    """Its first Python block prints what it says, and images are compressed."""
    place = Environment(tmp_path / "env", wheel, "demo")
    readme = blocks(ROOT / "README.md")
    (block,) = (block for block in readme if block.language == "pycon")
    (tmp_path / "block.txt").write_text(block.text)
    place.run("python", "-m", "doctest", "block.txt", cwd=tmp_path)
    make = (
        "import pathlib, shutil, skimage.data as data; from PIL import Image; "
        "pathlib.Path('photos').mkdir(); Image.fromarray(data.coffee()).save('photos/a.png'); "
        "Image.fromarray(data.chelsea()).save('cat.jpg')"
    )
    place.run("python", "-c", make, cwd=tmp_path)
    lines = next(b.text for b in readme if b.section == "Compress").splitlines()
    assert len(lines) == 5
    for line in lines:
        place.run(*shlex.split(line, comments=True), cwd=tmp_path)


@pytest.mark.slow
def test_an_installed_stage_runs_on_ray_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    place = Environment(tmp_path / "env", wheel, "pipelines")
    make = (
        "import pathlib; from PIL import Image; pathlib.Path('photos').mkdir(); "
        "[Image.linear_gradient('L').rotate(a).save(f'photos/{a}.png') for a in (0, 90, 180)]"
    )
    place.run("python", "-c", make, cwd=tmp_path)
    place.run("deepsic-archive", "photos", "archive", cwd=tmp_path)
    report = place.run("deepsic-archive", "report", "archive", "--json", cwd=tmp_path).stdout
    assert json.loads(report)["status"] == {"ok": 3}
    place.run("deepsic-preprocess", "photos", "--out", "prepared", cwd=tmp_path)
    assert (tmp_path / "prepared" / "current.json").is_file()
