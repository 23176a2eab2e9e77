"""Clients that aren't ours against a running service: curl, node, one made from the document."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deepsic.bitstream.container import unpack
from tests.pipelines.serving.fakes import image_bytes


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "image.png"
    file.write_bytes(image_bytes())
    return file


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl_as_in_the_readme(address: str, image: Path, tmp_path: Path) -> None:
    sic, webp = tmp_path / "image.sic", tmp_path / "image.webp"

    def curl(*words: str) -> str:
        command = ["curl", "-sS", "--fail-with-body", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    curl("--data-binary", f"@{image}", f"{address}/v1/encode?quality=50", "-o", str(sic))
    curl("-H", "Accept: image/webp", "--data-binary", f"@{sic}", f"{address}/v1/decode",
         "-o", str(webp))  # fmt: skip
    assert unpack(sic.read_bytes()).header.quality == 50
    assert webp.read_bytes()[8:12] == b"WEBP"
    curl("-F", f"file=@{image}", f"{address}/v1/encode", "-o", str(sic))
    reply = json.loads(curl("--data-binary", f"@{sic}", f"{address}/v1/labels"))
    assert reply["labels"][0]["name"] == "English springer"


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_node(address: str, image: Path) -> None:
    script = """
    const [address, file] = process.argv.slice(1);
    const body = require("fs").readFileSync(file);
    (async () => {
      const sic = await fetch(`${address}/v1/encode?quality=40`, { method: "POST", body });
      const blob = Buffer.from(await sic.arrayBuffer());
      const post = async (path, body) =>
        (await fetch(`${address}${path}`, { method: "POST", body })).json();
      const told = await post("/v1/labels", blob.subarray(0, 256));
      const bad = await post("/v1/encode?qualtiy=40", body);
      console.log(JSON.stringify([told.quality, told.labels[0].name, bad.status, bad.title]));
    })();
    """
    answer = subprocess.run(
        ["node", "-e", script, address, str(image)], check=True, capture_output=True, text=True
    )
    assert json.loads(answer.stdout) == [40, "English springer", 400, "Bad request"]


def test_a_generated_client(address: str, image: Path, tmp_path: Path) -> None:
    pytest.importorskip("openapi_python_client", reason="needs openapi-python-client")
    document = tmp_path / "openapi.json"
    document.write_bytes(httpx.get(f"{address}/openapi.json").content)
    folder = tmp_path / "generated"
    made = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(document),
         "--output-path", str(folder), "--meta", "none"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    code = """
import io, sys
from generated import Client
from generated.api.codec import encode, info, labels, models
from generated.types import File

client = Client(base_url=sys.argv[1])
service = models.sync(client=client)
body = lambda data: File(payload=io.BytesIO(data))
blob = encode.sync_detailed(client=client, body=body(open(sys.argv[2], "rb").read()), quality=44)
assert blob.status_code == 200, blob
told = labels.sync(client=client, body=body(blob.content))
facts = info.sync(client=client, body=body(blob.content))
print(service.default, told.labels[0].name, facts.quality)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, address, str(image)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == ["sic", "English", "springer", "44"]


def test_the_document_is_sound_and_has_no_route_twice(address: str) -> None:
    validator = pytest.importorskip("openapi_spec_validator", reason="needs the validator")
    document = httpx.get(f"{address}/openapi.json").json()
    validator.validate(document)
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(set(names)) == len(names)
    for method, path, operation in operations:
        assert len(operation["tags"]) == 1, f"{method} {path} is listed twice"
        assert operation["summary"]
    assert document["security"] == [{}, {"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_metrics_pass_a_lint(address: str) -> None:
    """As promtool's: help for each, counters end in _total, base units, no doubled series."""
    parser = pytest.importorskip("prometheus_client.parser")
    httpx.post(f"{address}/v1/encode", content=image_bytes())
    text = httpx.get(f"{address}/metrics").text
    families = list(parser.text_string_to_metric_families(text))
    ours = [family for family in families if family.name.startswith("deepsic_")]
    assert len(ours) >= 6
    for family in ours:
        assert family.documentation, family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_mb", "_count", "_sum"))
        seen = [(one.name, tuple(sorted(one.labels.items()))) for one in family.samples]
        assert len(set(seen)) == len(seen)
        if family.type == "counter":
            assert {one.name for one in family.samples} <= {
                f"{family.name}_total", f"{family.name}_created"
            }  # fmt: skip
