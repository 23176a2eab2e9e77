"""What each endpoint answers, with a codec that is fake and a container that is real."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from PIL import Image, ImageCms

from deepsic.bitstream.container import unpack
from deepsic.errors import UsageError
from deepsic.limits import Limits
from pipelines.serving.work import baselines, images
from tests.pipelines.serving.conftest import Service
from tests.pipelines.serving.fakes import EXIF_ORIENTATION, FakeCodec, image_bytes, made_image


def encoded(service: Service, **options: int) -> bytes:
    answer = service.post("/v1/encode", image_bytes(**options))
    assert answer.status_code == 200, answer.text
    return answer.content


def test_encode_answers_with_a_file_and_its_size(service: Service) -> None:
    answer = service.post("/v1/encode?quality=70", image_bytes())
    container = unpack(answer.content)
    assert (container.header.width, container.header.height) == (96, 64)
    assert container.header.quality == 70
    assert answer.headers["content-type"] == "image/x-sic"
    assert float(answer.headers["x-sic-bpp"]) == pytest.approx(
        8 * len(answer.content) / (96 * 64), abs=1e-4
    )
    assert re.fullmatch(r'"[0-9a-f]{32}"', answer.headers["etag"])
    assert re.search(r"codec;dur=[\d.]+", answer.headers["server-timing"])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_encode_takes_the_usual_formats(service: Service, kind: str) -> None:
    answer = service.post("/v1/encode", image_bytes(kind))
    assert answer.status_code == 200
    assert unpack(answer.content).header.width == 96


def test_encode_takes_a_form(service: Service) -> None:
    files = {"file": ("p.png", image_bytes(), "image/png")}
    answer = service.request("POST", "/v1/encode", files=files)
    assert answer.status_code == 200
    assert unpack(answer.content).header.height == 64


def test_a_form_without_a_file_is_refused(service: Service) -> None:
    answer = service.request("POST", "/v1/encode", files={"file": ("p.png", b"")})
    assert answer.status_code == 415
    field = {"quality": (None, "50"), "file": ("p.png", image_bytes(), "image/png")}
    answer = service.request("POST", "/v1/encode", files=field)
    assert answer.status_code == 400, "it would be ignored in silence"
    assert "form field quality" in answer.json()["detail"]
    two = [("file", ("a.png", image_bytes())), ("file", ("b.png", image_bytes()))]
    answer = service.request("POST", "/v1/encode", files=two)
    assert answer.status_code == 415
    assert "holds 2 files" in answer.json()["detail"]


def test_encode_keeps_below_max_bytes(service: Service) -> None:
    data = image_bytes(width=256, height=256)
    free = len(service.post("/v1/encode?quality=90", data).content)
    answer = service.post(f"/v1/encode?max_bytes={free // 2}", data)
    assert answer.status_code == 200
    assert len(answer.content) < free // 2


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("quality=50&bpp=1", "quality, bpp and max_bytes exclude one another"),
        ("quality=0", "greater than or equal to 1"),
        ("quality=101", "less than or equal to 100"),
        ("bpp=-1", "greater than 0"),
        ("bpp=nan", "bpp"),
        ("max_bytes=many", "integer"),
    ],
)
def test_encode_explains_bad_parameters(service: Service, query: str, words: str) -> None:
    answer = service.post(f"/v1/encode?{query}", image_bytes())
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


def test_encode_refuses_an_unknown_model(service: Service) -> None:
    answer = service.post("/v1/encode?model=nope", image_bytes())
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:deepsic:problem:unknown-model"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "PNG"),
        ("image/webp", "WEBP"),
        ("image/jpeg", "JPEG"),
        ("image/webp;q=0.2, image/*;q=0.8", "PNG"),
        ("text/html, */*;q=0.1", "PNG"),
    ],
)
def test_decode_gives_what_accept_wants(service: Service, accept: str | None, kind: str) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = service.post("/v1/decode", encoded(service), headers=headers)
    assert answer.status_code == 200
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, image.size) == (kind, (96, 64))
    assert answer.headers["content-type"] == f"image/{kind.lower()}"
    assert answer.headers["vary"] == "Accept"


def test_decode_refuses_to_give_text(service: Service) -> None:
    answer = service.post("/v1/decode", encoded(service), headers={"Accept": "text/html"})
    assert answer.status_code == 406


def test_decode_is_lossless_after_the_codec(service: Service) -> None:
    blob = encoded(service)
    png, webp = (
        service.post("/v1/decode", blob, headers={"Accept": kind})
        for kind in ("image/png", "image/webp")
    )
    first, second = (Image.open(io.BytesIO(a.content)).convert("RGB") for a in (png, webp))
    assert first.tobytes() == second.tobytes()


def test_a_turned_photograph_comes_back_upright(service: Service) -> None:
    image, out = made_image(), io.BytesIO()
    exif = image.getexif()
    exif[EXIF_ORIENTATION] = 6
    image.save(out, "JPEG", exif=exif)
    blob = service.post("/v1/encode", out.getvalue()).content
    back = Image.open(io.BytesIO(service.post("/v1/decode", blob).content))
    assert back.size == (64, 96)
    assert back.getexif().get(EXIF_ORIENTATION, 1) == 1


def test_labels_need_only_the_first_bytes(service: Service) -> None:
    reply = service.post("/v1/labels", encoded(service)[:256]).json()
    assert [label["wnid"] for label in reply["labels"]] == ["n02102040", "n02102318"]
    assert reply["labels"][0]["path"][-3:] == [
        "hunting dog",
        "sporting dog",
        "English springer",
    ] or ("dog" in reply["labels"][0]["path"])
    assert reply["source"] == "file"
    assert reply["bytes_prefix"] < 64
    assert 0 < reply["bytes_semantics"] < 16


def test_a_file_without_labels_is_sound_and_says_so(service: Service) -> None:
    blob = service.post("/v1/encode?labels=false", image_bytes()).content
    for body in (blob, blob[:256]):
        reply = service.post("/v1/labels", body)
        assert reply.status_code == 200, reply.text
        assert reply.json()["labels"] == []
        assert reply.json()["source"] == "none"
        assert "no labels are stored" in reply.json()["reason"]
    reply = service.post("/v1/labels?look=true", blob).json()
    assert reply["source"] == "model"
    assert reply["labels"][0]["name"] == "English springer"


def test_a_model_that_reads_no_labels_says_why(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def headless(*_: object, **__: object) -> None:
        raise UsageError("model sic has no semantic head")

    monkeypatch.setattr(FakeCodec, "labels", headless)
    blob = service.post("/v1/encode?labels=false", image_bytes()).content
    reply = service.post("/v1/labels?look=true", blob).json()
    assert (reply["labels"], reply["source"]) == ([], "none")
    assert reply["reason"] == "model sic has no semantic head"


def test_a_thumbnail_is_no_wider_than_asked(service: Service) -> None:
    blob = encoded(service, width=400, height=300)
    answer = service.post("/v1/decode?width=100", blob)
    assert Image.open(io.BytesIO(answer.content)).size == (100, 75)
    assert Image.open(io.BytesIO(service.post("/v1/decode?width=900", blob).content)).width == 400


def test_labels_read_when_the_image_is_damaged(service: Service) -> None:
    blob = bytearray(encoded(service))
    blob[-20:] = b"\0" * 20
    assert service.post("/v1/labels?top=1", bytes(blob)).json()["labels"][0]["name"] == (
        "English springer"
    )
    assert service.post("/v1/decode", bytes(blob)).status_code == 422


def test_info_tells_the_header(service: Service) -> None:
    reply = service.post("/v1/info", encoded(service, width=40, height=30)[:256]).json()
    assert (reply["width"], reply["height"], reply["mode"]) == (40, 30, "RGB")
    assert reply["model_name"] == "sic"


def test_decode_names_a_model_that_is_missing(service: Service) -> None:
    blob = FakeCodec("another").encode(made_image())
    answer = service.post("/v1/decode", blob)
    assert answer.status_code == 422
    assert "isn't offered here" in answer.json()["detail"]
    assert service.post("/v1/info", blob).json()["model_name"] is None


def test_models_tell_limits(service: Service) -> None:
    reply = service.get("/v1/models").json()
    assert reply["default"] == "sic"
    assert reply["limits"] == {"max_body_bytes": 2_000_000, "max_pixels": 1_000_000}
    assert reply["classifier"] == "fake"
    assert "speed 6" in reply["baselines"]["avif"]


@pytest.mark.parametrize("name", baselines.available())
def test_a_baseline_fits_as_well_as_it_can(service: Service, name: str) -> None:
    data = image_bytes(width=256, height=192)
    answer = service.post(f"/v1/baseline?format={name}&max_bytes=4000", data)
    assert answer.status_code == 200
    assert len(answer.content) <= 4000
    assert answer.headers["x-fits"] == "yes"
    # A little more doesn't fit: it is the best, not just one that is small enough.
    coder = baselines.coder_of(name)
    more = float(answer.headers["x-quality"]) + (coder.high - coder.low) / 2**baselines.TRIES
    image = images.open_image(data, Limits())
    assert len(coder.encode(image, min(more, coder.high))) > 4000 or more >= coder.high


def test_xmp_goes_there_and_back(service: Service) -> None:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    out = io.BytesIO()
    made_image(64, 48).save(out, "JPEG", xmp=xmp)
    blob = service.post("/v1/encode", out.getvalue()).content
    png = Image.open(io.BytesIO(service.post("/v1/decode", blob).content))
    assert png.info["xmp"] == xmp


def test_metadata_comes_on_top_of_a_baseline_and_is_the_same(service: Service) -> None:
    image, out = made_image(256, 192), io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(out, "PNG", icc_profile=profile)
    for name in baselines.available():
        answer = service.post(f"/v1/baseline?format={name}&max_bytes=3000", out.getvalue())
        pixels = int(answer.headers["x-pixel-bytes"])
        assert pixels <= 3000 < len(answer.content), "only the pixels are held to the limit"
        made = Image.open(io.BytesIO(answer.content))
        assert made.info["icc_profile"] == profile


def test_a_baseline_that_cannot_be_that_small_says_so(service: Service) -> None:
    data = image_bytes(width=512, height=512)
    answer = service.post("/v1/baseline?format=jpeg&max_bytes=64", data)
    assert (answer.status_code, answer.headers["x-fits"]) == (200, "no")


def test_no_classifier_is_said_plainly(make_service: Callable[..., Service]) -> None:
    service = make_service(classifier=None)
    for verb in ("heatmap", "classify"):
        answer = service.post(f"/v1/{verb}", image_bytes())
        assert answer.status_code == 501
        assert answer.json()["title"] == "No classifier"


def test_probes(service: Service) -> None:
    assert service.get("/healthz").json() == {"status": "ok"}
    assert service.get("/readyz").json()["status"] == "ready"


def test_metrics_count(service: Service) -> None:
    encoded(service)
    service.get("/nothing-here")
    text = service.get("/metrics").text
    assert 'deepsic_http_requests_total{route="/v1/encode",status="200"} 1.0' in text
    assert 'deepsic_http_requests_total{route="other",status="404"} 1.0' in text
    assert f'deepsic_pixels_total{{verb="encode"}} {96 * 64:.1f}' in text


def test_the_page_and_its_files_come_from_here(service: Service) -> None:
    page = service.get("/")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    for link in links:
        assert link.startswith(("/", "#")), f"{link} leaves this origin"
        if link.startswith("/"):
            assert service.get(link).status_code == 200, link


def test_samples_are_images(service: Service) -> None:
    pytest.importorskip("skimage", reason="scikit-image holds the samples")
    names = [item["name"] for item in service.get("/samples").json()]
    assert "coffee.png" in names
    thumb = Image.open(io.BytesIO(service.get("/samples/coffee.png?thumb=true").content))
    assert max(thumb.size) <= 240
    assert service.get("/samples/..%2f..%2fetc%2fpasswd").status_code == 404
