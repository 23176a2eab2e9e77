"""The documentation site builds without a warning, its links lead somewhere, the tutorial runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(site: Path, *, tutorial: bool) -> None:
    """`mkdocs build`; links to pages, files or anchors that don't exist are warnings, so errors."""
    variables = {"DEEPSIC_TUTORIAL": str(tutorial).lower(), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT, env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_the_site_builds_and_documents_every_public_name(tmp_path: Path) -> None:
    import deepsic

    build(tmp_path, tutorial=False)
    api = (tmp_path / "api" / "index.html").read_text("utf-8")
    identities = set(re.findall(r'id="deepsic\.([\w.]+)"', api))
    documented = {name.rpartition(".")[2] for name in identities}
    assert set(deepsic.__all__) - {"__version__"} <= documented


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path) -> None:
    build(tmp_path, tutorial=True)
    page = (tmp_path / "tutorial" / "index.html").read_text("utf-8")
    assert "Egyptian cat" in page  # labels
    assert "chelsea.png" in page.split("Search an archive")[-1]  # what `find` printed
    assert page.count("data:image/png;base64") >= 2  # the decoded image, and the curve


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_outside_the_site_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = ROOT / (path or name)
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
            assert anchor in {slug(heading) for heading in headings}, link


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
