"""The default codec needs no torch: neither installed nor loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.small_model import photograph

BLOCKED = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="torch")

sys.meta_path.insert(0, Without())
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code, *arguments], capture_output=True, text=True
    )


def test_images_are_encoded_read_and_decoded(tmp_path: Path) -> None:
    from PIL import Image

    source = tmp_path / "image.png"
    Image.fromarray(photograph(128, 160)).save(source)
    done = run(
        "import deepsic\n"
        "codec = deepsic.Codec.load('sic')\n"
        "blob = codec.encode(sys.argv[1], max_bytes=3000)\n"
        "assert deepsic.info(blob).labels\n"
        "assert codec.labels(codec.encode(sys.argv[1], labels=False))\n"
        "print(codec.decode(blob).size, len(blob) <= 3000)",
        str(source),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(160, 128) True"


@pytest.mark.parametrize("model", ["deepsic-pre", "deepsic-post"])
def test_what_needs_torch_says_so(model: str) -> None:
    done = run(f"import deepsic; deepsic.Codec.load({model!r}, device='cpu')")
    assert "UsageError: this needs torch; pip install 'deepsic[torch]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["encode", "IMAGE", "--device", "cuda"], "needs torch; pip install 'deepsic[torch]'"),
        (["encode", "IMAGE", "--effort", "6"], "this needs torch; pip install 'deepsic[torch]'"),
        (["encode", "IMAGE", "--refine-for", "squeezenet"], "pip install 'deepsic["),
        (["encode", "IMAGE", "--labeler", "squeezenet"], "pip install 'deepsic["),
    ],
)
def test_commands_say_what_to_install(tmp_path: Path, arguments: list[str], told: str) -> None:
    from PIL import Image

    source = tmp_path / "image.png"
    Image.fromarray(photograph(64, 64)).save(source)
    given = [str(source) if a == "IMAGE" else a for a in arguments]
    done = run("from deepsic.cli.commands import run; sys.exit(run(sys.argv[1:]))", *given)
    assert done.returncode != 0
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
