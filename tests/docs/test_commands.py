"""Every command and example of README and of the guides runs as it is written.

What needs a cloud, a daemon or hours is replaced: `INSTEAD` says by what and why. A section runs in
a folder of its own, block after block, beside `photos/`, `cat.jpg` and a link to `pipelines/`.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from tests.docs.blocks import Block, blocks

ROOT = Path(__file__).parents[2]

#: Parts of lines, what runs in their place ("" for nothing), and why.
INSTEAD = (
    ("pip install .*", "", "tests/packaging installs the wheel with each extra"),
    ("python -m build.*", "", "tests/packaging builds it"),
    ("docker .*", "", "needs a daemon; tests/packaging checks the Dockerfile's commands"),
    ("serve deploy .*", "", "needs a running cluster; see tests/pipelines/serving"),
    ("train.py sic --data runs/prepared --workers 8", "train.py small --workers 1", "hours"),
    (".*train.py head .*", "", "hours; see tests/training"),
    (".*train.py deepsic-pre .*", "", "needs a data set; see tests/training"),
    (".*--data crops.pack .*", "", "needs a GPU"),
    (".*train.py restart .*", "", "of a run on a GPU; see tests/pipelines/training"),
    ("evaluate.py$", "evaluate.py --codec jpeg --codec sic --bpp 0.5", "all codecs take minutes"),
    ("tune_saic.py$", "tune_saic.py --trials 1 --steps 1 --rungs 1", "two minutes otherwise"),
    (".*--data runs/prepared --space .*", "", "hours; see tests/pipelines/tuning"),
    ("PHOTOS", "photos", "yours"),
    ("imagenet/val", "photos", "yours"),
)

SLOW = (pytest.mark.slow,)
README = [
    pytest.param(section, id=section or "head", marks=marks)
    for section, marks in (
        ("", ()), ("Compress", SLOW), ("Archive", SLOW), ("Serve", SLOW), ("Train", SLOW),
    )
]  # fmt: skip
GUIDES = [
    pytest.param(name, section, id=f"{name}:{section or 'head'}", marks=marks)
    for name, section, marks in (
        ("docs/INSTALL.md", "", ()),
        ("docs/INSTALL.md", "torch without CUDA", ()),
        ("docs/INSTALL.md", "Container", ()),
        ("docs/COMPRESS.md", "", SLOW),
        ("docs/COMPRESS.md", "Files and folders", SLOW),
        ("docs/COMPRESS.md", "From Python", SLOW),
        ("docs/COMPRESS.md", "Several processes", SLOW),
        ("docs/COMPRESS.md", "For models rather than people", SLOW),
        ("docs/ARCHIVE.md", "", SLOW),
        ("docs/SERVICE.md", "", SLOW),
        ("docs/TRAINING.md", "Train", SLOW),
        ("docs/TRAINING.md", "Tune", SLOW),
        ("docs/TRAINING.md", "Evaluate", SLOW),
    )
]


def instead(line: str) -> str:
    """A line as it runs here, without its comment."""
    line = line.split("  #")[0].strip()
    for pattern, other, _ in INSTEAD:
        line = re.sub(rf"^{pattern}$" if ".*" in pattern else pattern, other, line)
    return line


#: Sections that run in other tests.
ELSEWHERE = {
    ("docs/COMPRESS.md", "Labels"),  # a detector: tests/cli/test_labels.py
    ("docs/ARCHIVE.md", "S3"),  # two stores: tests/pipelines/storage
    ("docs/ARCHIVE.md", "The ledger for other tools"),  # DuckDB: tests/pipelines/archive
}


def sections() -> set[tuple[str, str]]:
    """File and section of everything that runs here."""
    guides = {(str(param.values[0]), str(param.values[1])) for param in GUIDES}
    return guides | {("README.md", str(param.values[0])) for param in README}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("chelsea", "coffee"):
        Image.fromarray(getattr(skimage.data, name)()).save(tmp_path / "photos" / f"{name}.jpg")
    Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.jpg")
    shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path / "photos")
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    monkeypatch.setenv(
        "PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    )
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(lines: str) -> None:
    """Run lines until one fails; they see one another's variables."""
    done = subprocess.run(
        ["bash", "-e", "-x", "-o", "pipefail", "-c", lines], capture_output=True, text=True,
        timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-4000:]}"


def python(text: str) -> None:
    # In a process of its own: what an example registers or loads stays there.
    Path("example.py").write_text("import deepsic\nfrom PIL import Image\n" + text, "utf-8")
    shell(f"{shlex.quote(sys.executable)} example.py")


def console(text: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, {}, "example", None, 0)
    assert doctest.DocTestRunner().run(test).failed == 0


@contextmanager
def service(line: str, port: int) -> Iterator[None]:
    """Run `line`, which serves, until the block ends; then it must stop by itself with code 0."""
    command = [*shlex.split(line), "--port", str(port)]
    with (
        open("serve.log", "wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/readyz", process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0, Path("serve.log").read_text("utf-8")[-4000:]


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    pytest.fail(f"no service at {url}: {Path('serve.log').read_text('utf-8')[-4000:]}")


def run(block: Block, port: int | None = None) -> None:
    text = block.text.replace("localhost:8000", f"127.0.0.1:{port}")
    if block.language == "pycon":
        console(text)
    elif block.language == "python":
        python(text)
    else:
        lines = [
            line for line in map(instead, text.splitlines()) if "pipelines/serve.py" not in line
        ]
        shell("\n".join(lines).replace("curl", "curl --fail --silent --show-error"))


def run_section(name: str, section: str) -> None:
    chosen = [block for block in blocks(ROOT / name) if block.section == section]
    assert chosen
    serving = [
        instead(line)
        for block in chosen
        for line in block.text.splitlines()
        if "pipelines/serve.py" in line
    ]
    if not serving:
        for block in chosen:
            run(block)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with service(serving[0], port):
        for block in chosen:
            run(block, port)


@pytest.mark.parametrize("section", README)
def test_readme(section: str, folder: Path) -> None:
    run_section("README.md", section)


@pytest.mark.parametrize(("name", "section"), GUIDES)
def test_guides(name: str, section: str, folder: Path) -> None:
    run_section(name, section)


def test_no_section_is_forgotten() -> None:
    names = ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
    written = {(name, block.section) for name in names for block in blocks(ROOT / name)}
    assert written == sections() | ELSEWHERE


def test_every_replacement_is_used() -> None:
    lines = [
        line.split("  #")[0].strip()
        for name in {name for name, _ in sections()}
        for block in blocks(ROOT / name)
        for line in block.text.splitlines()
    ]
    for pattern, _, why in INSTEAD:
        assert why
        assert any(re.search(pattern, line) for line in lines), pattern
