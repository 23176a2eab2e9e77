"""An image that is sent once and worked on several times."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from functools import partial

import pytest
from PIL import Image

from deepsic.bitstream.container import unpack
from pipelines.serving.work.uploads import Uploads
from tests.pipelines.serving.conftest import Service
from tests.pipelines.serving.fakes import image_bytes
from tests.pipelines.serving.test_protection import check_problem


def test_handles_are_random_and_not_of_the_content() -> None:
    store = Uploads(1000, 60)
    first, second = store.put(b"same", "a"), store.put(b"same", "a")
    assert first != second
    assert len(first) == 24
    assert store.get(first) == store.get(second) == b"same"
    assert store.get("x" * 24) is None


def test_uploads_expire_after_their_last_use() -> None:
    now = 0.0
    store = Uploads(1000, 60, clock=lambda: now)
    used, unused = store.put(b"1", "a"), store.put(b"2", "a")
    now = 50
    assert store.get(used) == b"1"
    now = 100
    assert store.get(used) == b"1"
    assert store.get(unused) is None


def test_the_store_is_bounded_and_a_client_pushes_out_only_its_own() -> None:
    store = Uploads(400, 60)
    mine = store.put(bytes(90), "me")
    flood = [store.put(bytes(40), "flood") for _ in range(20)]
    assert store.get(mine) is not None
    assert [store.get(handle) is not None for handle in flood] == [False] * 18 + [True] * 2
    crowd = [store.put(bytes(90), f"client {number}") for number in range(4)]
    kept = [handle for handle in (mine, *flood, *crowd) if store.get(handle) is not None]
    assert crowd[-1] in kept
    assert sum(len(store.get(handle) or b"") for handle in kept) <= 400


def test_an_upload_is_worked_on_by_handle(service: Service) -> None:
    data = image_bytes(width=200, height=150)
    reply = service.post("/v1/uploads", data).json()
    assert (reply["width"], reply["height"], reply["expires_in_s"]) == (200, 150, 900)
    upload = f"upload={reply['handle']}"
    encoded = service.post(f"/v1/encode?quality=40&keep=true&{upload}")
    assert encoded.content == service.post("/v1/encode?quality=40", data).content
    file = encoded.headers["x-sic-handle"]
    assert service.post(f"/v1/labels?upload={file}").json()["labels"]
    back = Image.open(io.BytesIO(service.post(f"/v1/decode?upload={file}").content))
    assert back.size == (200, 150)
    other = service.post(f"/v1/baseline?format=jpeg&max_bytes=3000&keep=true&{upload}")
    for handle in (file, other.headers["x-handle"]):
        measured = service.post(f"/v1/measure?{upload}&file={handle}").json()
        assert 15 < measured["psnr"] < 60
        assert measured["labels"][0]["name"] == "English springer"
    same = service.post(f"/v1/measure?{upload}&file={reply['handle']}").json()
    assert same["psnr"] is None


def test_a_large_image_is_reduced_with_its_metadata(service: Service) -> None:
    image, out = Image.effect_noise((900, 600), 40).convert("RGB"), io.BytesIO()
    exif = image.getexif()
    exif[0x010F] = "Maker"
    image.save(out, "JPEG", exif=exif)
    reply = service.post("/v1/uploads?longest=300", out.getvalue()).json()
    assert (reply["width"], reply["height"]) == (300, 200)
    assert (reply["given_width"], reply["given_height"]) == (900, 600)
    blob = service.post(f"/v1/encode?upload={reply['handle']}").content
    container = unpack(blob)
    assert (container.header.width, container.header.mode) == (300, "RGB")
    assert b"Maker" in (container.exif or b"")


def test_an_unknown_handle_says_what_to_do(service: Service) -> None:
    answer = service.post(f"/v1/encode?upload={'x' * 24}")
    assert "send the file again" in check_problem(answer, 404, "Unknown upload")
    both = service.post(f"/v1/encode?upload={'x' * 24}", image_bytes())
    assert "not both" in check_problem(both, 400, "Bad request")


def test_what_no_image_is_is_not_kept(service: Service) -> None:
    check_problem(service.post("/v1/uploads", b"text"), 415, "Unreadable input")


def test_a_file_of_another_image_is_not_measured(service: Service) -> None:
    one, other = (
        service.post("/v1/uploads", image_bytes(width=width)).json()["handle"]
        for width in (100, 120)
    )
    answer = service.post(f"/v1/measure?upload={one}&file={other}")
    assert "100x64" in check_problem(answer, 400, "Bad request")


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("_", "."), data)
    return out.getvalue()


def test_a_batch_answers_with_files_and_a_report(service: Service) -> None:
    body = zipped(a_png=image_bytes(), a_jpg=image_bytes("JPEG"), notes_txt=b"text")
    answer = service.post("/v1/batch?quality=33", body)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"a.sic", "a.jpg.sic", "report.json"}
        assert unpack(archive.read("a.sic")).header.quality == 33
        report = {line["name"]: line for line in json.loads(archive.read("report.json"))}
    assert report["a.png"]["file"] == "a.sic"
    assert report["a.jpg"]["file"] == "a.jpg.sic"
    assert report["notes.txt"]["title"] == "Unreadable input"


def test_a_batch_comes_as_a_form_too(service: Service) -> None:
    send = partial(service.request, "POST")
    images = [("file", ("a.png", image_bytes())) for _ in range(3)]
    answer = send("/v1/batch?quality=33", files=[*images, ("file", ("n.txt", b"text"))])
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = ["a.sic", "a.png.sic", "a.png (2).sic", "report.json"]
        assert archive.namelist() == names
        assert [line.get("file") for line in json.loads(archive.read("report.json"))] == [
            *names[:3], None
        ]  # fmt: skip
    whole = send("/v1/batch", files={"file": ("a.zip", zipped(a_png=image_bytes()))})
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert archive.namelist() == ["a.sic", "report.json"]
    field = send("/v1/batch", files=images, data={"quality": "3"})
    assert field.status_code == 400
    assert "?quality=50" in field.json()["detail"]
    assert send("/v1/batch", files=images * 200).status_code in (400, 413)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"no zip", 415, "no zip of images"),
        (zipped(), 415, "holds no file"),
        (zipped(**{f"a{n}_png": b"x" for n in range(501)}), 413, "501 files"),
    ],
)
def test_batches_that_make_no_sense_are_refused(
    service: Service, body: bytes, status: int, words: str
) -> None:
    answer = service.post("/v1/batch", body)
    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_a_zip_bomb_costs_no_memory(service: Service) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(60_000_000))
    answer = service.post("/v1/batch", out.getvalue())
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert b"more than 2,000,000 bytes unpacked" in archive.read("report.json")


def test_a_batch_ends_in_time(
    make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.3")
    service = make_service(request_timeout_s=2.0, max_replicas=1)
    body = zipped(**{f"p{number}_png": image_bytes(seed=number) for number in range(9)})
    answer = service.post("/v1/batch", body)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = [name for name in archive.namelist() if name.endswith(".sic")]
        assert 3 <= len(files) < 9
        assert b"send it in another batch" in archive.read("report.json")
