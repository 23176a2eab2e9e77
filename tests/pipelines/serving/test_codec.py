"""The service over the real codec: tunings, and thumbnails of a part of the file."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from PIL import Image

import deepsic
from deepsic.targets import Goal
from pipelines.serving.settings import ServeSettings
from pipelines.serving.work import images
from pipelines.serving.work.backends import LocalBackend
from pipelines.serving.work.jobs import DecodeJob, EncodeJob
from pipelines.serving.work.worker import Worker
from tests.pipelines.serving.conftest import Service, running
from tests.pipelines.serving.fakes import image_bytes

SETTINGS = ServeSettings(classifier=None)


@pytest.fixture
def serving(two_tunings: Path) -> Service:
    """One model that is tuned in both ways, and one that isn't."""
    settings = ServeSettings(models=[str(two_tunings), "sic-machine"], classifier=None)
    return Service(settings, LocalBackend(Worker(settings)))


def test_files_are_tuned_as_the_library_tunes_them(serving: Service, two_tunings: Path) -> None:
    offered = serving.get("/v1/models").json()["models"]
    assert [model["tunings"] for model in offered] == [["psnr", "ssim"], ["psnr"]]
    body = image_bytes()
    for tune in ("psnr", "ssim"):
        answer = serving.post(f"/v1/encode?quality=40&tune={tune}", body)
        codec = deepsic.Codec.load(two_tunings, device="cpu", tune=tune)
        assert answer.content == codec.encode(body, quality=40)
        assert serving.post("/v1/decode", answer.content).status_code == 200
    plain = serving.post("/v1/encode?quality=40", body).content
    assert plain == serving.post("/v1/encode?quality=40&tune=ssim", body).content


def test_the_client_and_batches_tune_as_well(two_tunings: Path) -> None:
    settings = ServeSettings(models=[str(two_tunings)], classifier=None)
    body, packed = image_bytes(), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as images:
        images.writestr("a.png", body)
    backend = LocalBackend(Worker(settings))
    with running(settings, backend) as address, deepsic.Client(address) as client:
        made = {tune: client.encode(body, 40, tune=tune) for tune in ("psnr", "ssim")}
        assert made["psnr"] != made["ssim"]
        for tune, blob in made.items():
            assert blob == deepsic.Codec.load(two_tunings, tune=tune).encode(body, quality=40)
            batch = f"{address}/v1/batch?quality=40&tune={tune}"
            answer = httpx.post(batch, content=packed.getvalue())
            with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
                assert files.read("a.sic") == blob


def test_a_tuning_that_a_model_lacks_is_a_problem(serving: Service) -> None:
    answer = serving.post("/v1/encode?model=sic-machine&tune=ssim", image_bytes())
    assert (answer.status_code, answer.json()["title"]) == (400, "Bad request")
    assert answer.json()["detail"] == "model 'sic-machine' can't tune for 'ssim'; it has psnr"
    answer = serving.post("/v1/encode?tune=vmaf", image_bytes())
    assert answer.status_code == 400
    assert "'psnr' or 'ssim'" in answer.json()["detail"]


@pytest.mark.parametrize("model", ["sic", "deepsic-post"])
@pytest.mark.parametrize("size", [(300, 201), (201, 300), (1000, 3)])
def test_thumbnails_are_as_wide_as_asked(model: str, size: tuple[int, int]) -> None:
    codec = deepsic.Codec.load(model, device="cpu")
    blob = codec.encode(image_bytes(width=size[0], height=size[1]))
    for width in (1, 37, 38, 75, 76, 150, 299, 5000):
        job = DecodeJob(data=blob, pixels=1, media_type="image/png", width=width)
        done = Worker(SETTINGS).decode(codec, job)
        image = Image.open(io.BytesIO(done.data))
        wide = min(width, size[0])
        high = max(1, round(size[1] * wide / size[0]))
        assert image.size == (done.width, done.height) == (wide, high)


@pytest.mark.parametrize(("width", "scale"), [(38, 1 / 8), (39, 1 / 4), (76, 1 / 2), (None, 1)])
def test_a_thumbnail_reads_no_more_than_it_needs(width: int | None, scale: float) -> None:
    codec = deepsic.Codec.load("sic", device="cpu")
    blob = codec.encode(image_bytes(width=300, height=200))
    job = DecodeJob(data=blob, pixels=60_000, media_type="image/png", width=width)
    done = Worker(SETTINGS).decode(codec, job)
    expected = codec.decode(blob, scale=scale)
    if width is not None:
        expected = images.resized(expected, (width, round(200 * width / 300)))
    assert Image.open(io.BytesIO(done.data)).tobytes() == expected.tobytes()


def test_files_are_refined_for_networks_that_the_operator_offers(two_tunings: Path) -> None:
    settings = ServeSettings(
        models=[str(two_tunings)], classifier=None, refine_for=("squeezenet",), refine_s=300
    )
    body = image_bytes(width=64, height=64)
    backend = LocalBackend(Worker(settings))
    with running(settings, backend) as address, deepsic.Client(address) as client:
        refined = client.encode(body, 40, refine_for=["squeezenet"])
        assert httpx.get(f"{address}/v1/models").json()["refine_for"] == ["squeezenet"]
        with pytest.raises(deepsic.errors.UsageError, match="there is: squeezenet"):
            client.encode(body, 40, refine_for=["efficientnet-lite0"])
    codec = deepsic.Codec.load(two_tunings)
    refiner = deepsic.Refiner.load(two_tunings, ["squeezenet"])
    assert refined == codec.encode(body, quality=40, refiner=refiner)


def test_refinement_ends_in_time(two_tunings: Path) -> None:
    refiner = deepsic.Refiner.load(two_tunings, ["squeezenet"], steps=100_000)
    refiner.seconds = 0.2
    codec = deepsic.Codec.load(two_tunings)
    blob = codec.encode(image_bytes(width=64, height=64), quality=40, refiner=refiner)
    assert codec.decode(blob).width == 64


def test_refinement_is_work_for_idle_time(two_tunings: Path) -> None:
    plain = EncodeJob(data=b"", pixels=1000, goal=Goal(quality=50))
    assert plain.cost == 1000
    assert replace(plain, refine_for=("squeezenet",)).cost > 50 * plain.cost
