"""The largest bodies and answers that are promised, by three clients, through both proxies."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deepsic
from benchmarks.service.kit import serving

requests = pytest.importorskip("requests")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="no curl"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]
UP, DOWN = (2570, 2560), (8165, 6123)
"""Width and height: 19.7 MB as noise, and 50 megapixels."""
SECONDS = 300


@pytest.fixture(scope="module", params=["--haproxy", "--no-haproxy"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service as the command starts it."""
    log = tmp_path_factory.mktemp("serve") / "serve.log"
    options = ("--classifier", "none", "--max-replicas", "1", request.param)
    with serving(*options, log=log) as service:
        yield service.url


@pytest.fixture(scope="module")
def body() -> bytes:
    """A PNG of noise, as large as its pixels."""
    out = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (*UP[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG", compress_level=0)
    return out.getvalue()


@pytest.fixture(scope="module")
def large() -> bytes:
    """A `.sic` file of many pixels."""
    codec = deepsic.Codec.load("sic")
    return codec.encode(Image.effect_noise(DOWN, 20).convert("RGB"), quality=20)


def curl(url: str, body: Path, out: Path) -> bytes:
    limit = str(SECONDS)
    command = ["curl", "-sS", "--fail-with-body", "-m", limit, "--data-binary", f"@{body}", url]
    subprocess.run([*command, "-o", str(out)], check=True, capture_output=True)
    return out.read_bytes()


def test_up(url: str, body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "body.png"
    path.write_bytes(body)
    address = f"{url}/v1/encode?quality=50&labels=false"
    by_curl = curl(address, path, tmp_path / "out.sic")
    answer = requests.post(address, data=body, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    with deepsic.Client(url, timeout_s=SECONDS) as client:
        by_client = client.encode(body, quality=50, labels=False)
    assert by_curl == answer.content == by_client
    facts = deepsic.info(by_curl)
    assert (facts.width, facts.height) == UP


def test_down(url: str, large: bytes, tmp_path: Path) -> None:
    path = tmp_path / "large.sic"
    path.write_bytes(large)
    by_curl = curl(f"{url}/v1/decode", path, tmp_path / "out.png")
    answer = requests.post(f"{url}/v1/decode", data=large, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    assert answer.content == by_curl
    with Image.open(io.BytesIO(by_curl)) as image:
        assert image.size == DOWN
    with deepsic.Client(url, timeout_s=SECONDS) as client:
        assert client.decode(large).size == DOWN
