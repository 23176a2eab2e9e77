"""What makes two jobs the same job, and a codec with everything that a job may ask for."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deepsic.bitstream import read_semantics, unpack
from deepsic.errors import UsageError
from deepsic.models.quality import HIDING, TUNINGS
from pipelines import compress_archive
from pipelines.archive.settings import JOB_KEY, JobSettings, check_claim, claim, read_job
from pipelines.archive.work.codec import ModelSource
from pipelines.storage import open_storage
from tests.support.small_model import model_path, two_tunings

from .conftest import save_image

__all__ = ["model_path", "two_tunings"]

SETTINGS = JobSettings(model="sic", model_id="00" * 8, format_version=1, bpp=0.25, labeler="head")
LITE0 = "efficientnet-lite0"


def test_archives_of_earlier_releases_go_on() -> None:
    assert SETTINGS.job_id == "217253a649ac5f89"


def test_refined_archives_go_on_and_others_are_refused(tmp_path: Path) -> None:
    archive = open_storage(str(tmp_path / "archive"))
    archive.create()
    refined = replace(SETTINGS, refine_for=(LITE0, "efficientnet-lite1"))
    assert refined.job_id != SETTINGS.job_id
    assert not check_claim(archive, "photos", refined)
    claim(archive, "photos", refined)
    claim(archive, "photos", refined)
    assert check_claim(archive, "photos", refined)
    found = read_job(archive)
    assert found is not None
    assert JobSettings(**found["settings"]) == refined
    with pytest.raises(UsageError, match="refine_for"):
        claim(archive, "photos", SETTINGS)


def test_archives_refined_before_steps_were_a_setting_go_on(tmp_path: Path) -> None:
    archive = open_storage(str(tmp_path / "archive"))
    archive.create()
    refined = replace(SETTINGS, refine_for=(LITE0,))
    settings = asdict(refined) | {"refine_for": [LITE0]}
    del settings["refine_steps"]
    earlier = {"job": "861fc83312738b08", "source": "photos", "settings": settings}
    archive.put(JOB_KEY, json.dumps(earlier).encode())
    assert check_claim(archive, "photos", refined)
    with pytest.raises(UsageError, match=r"\(refine_steps None -> 1\)"):
        claim(archive, "photos", replace(refined, refine_steps=1))


def test_steps_make_another_archive(tmp_path: Path) -> None:
    archive = open_storage(str(tmp_path / "archive"))
    archive.create()
    looked = replace(SETTINGS, refine_for=(LITE0,), refine_steps=1)
    claim(archive, "photos", looked)
    assert check_claim(archive, "photos", looked)
    for steps, shown in ((2, "1 -> 2"), (None, "1 -> None")):
        with pytest.raises(UsageError, match=f"refine_steps {shown}"):
            claim(archive, "photos", replace(looked, refine_steps=steps))


def test_a_tuning_makes_another_archive(tmp_path: Path) -> None:
    archive = open_storage(str(tmp_path / "archive"))
    archive.create()
    earlier = {"job": SETTINGS.job_id, "source": "photos", "settings": {"model": "sic"}}
    archive.put(JOB_KEY, json.dumps(earlier).encode())
    assert check_claim(archive, "photos", SETTINGS)
    with pytest.raises(UsageError, match="tune psnr -> ssim") as error:
        claim(archive, "photos", replace(SETTINGS, tune="ssim"))
    assert "refine_for" not in str(error.value)


def test_a_codec_is_loaded_for_the_tuning(
    tmp_path: Path, two_tunings: Path, model_path: Path
) -> None:
    save_image(tmp_path / "a.png", 1, (96, 64))
    image = Image.open(tmp_path / "a.png")
    for number, tune in enumerate(TUNINGS):
        codec = ModelSource(model=str(two_tunings), device="cpu", tune=tune).load()
        blob = codec.encode(image, quality=50)
        assert unpack(blob).header.coder == HIDING + number
    assert ModelSource(model=str(two_tunings)).on("cpu").tune == "ssim"
    assert ModelSource(model=str(two_tunings), effort=7).on("cpu").tune == "ssim"
    assert ModelSource(model=str(model_path)).on("cpu").tune == "psnr"
    with pytest.raises(UsageError, match="can't tune for 'ssim'"):
        ModelSource(model=str(model_path), device="cpu", tune="ssim").load()


def test_a_coder_refines_and_labels(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    save_image(tmp_path / "a.png", 1, (96, 64))
    image = Image.open(tmp_path / "a.png")
    plain = ModelSource(model="sic-machine", device="cpu").load()
    helped = ModelSource(
        model="sic-machine", device="cpu", labeler=LITE0, refine_for=(LITE0,)
    ).load()
    blob = helped.encode(image, quality=30)
    assert helped.encode_batch([image], quality=30) == [blob]
    assert helped.labels(blob)
    labelled = ModelSource(model="sic-machine", device="cpu", labeler=LITE0).load()
    assert blob != labelled.encode(image, quality=30)
    assert plain.decode(blob).size == (96, 64)


@pytest.mark.parametrize(("labeler", "stores"), [(None, True), ("none", False)])
def test_files_store_labels_unless_told_otherwise(
    labeler: str | None, stores: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def source(**given: Any) -> ModelSource:
        asked.append(given["labeler"])
        raise UsageError("seen enough")

    monkeypatch.setattr(compress_archive, "ModelSource", source)
    option = [] if labeler is None else ["--labeler", labeler]
    with pytest.raises(SystemExit):
        compress_archive.main(["photos", "out", *option])
    assert asked == [labeler]
    codec = ModelSource(model="sic", device="cpu", labeler=labeler).load()
    blob = codec.encode(Image.new("RGB", (64, 64), "tan"), quality=30)
    assert (read_semantics(blob) is not None) == stores
