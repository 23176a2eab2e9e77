"""205 classes as ImageNet is handed around, with bad files: folders, tars, Parquet."""

from __future__ import annotations

import io
import itertools

import numpy as np
from PIL import Image

from deepsic.labels import label_set
from tests.pipelines.preparing.test_containers import parquet, tar
from tests.support.small_model import photograph

CLASSES = [node.wnid for node in label_set("imagenet1k").classes()[300:505]]
EACH = 3
BAD = 4


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def made_files() -> dict[str, bytes]:
    """Parts of one photograph by class and name; four that can't be used, gray and CMYK ones."""
    whole = Image.fromarray(np.asarray(photograph(400, 600)))
    rng = np.random.default_rng(0)
    made = {}
    for wnid, number in itertools.product(CLASSES, range(EACH)):
        left, top = int(rng.integers(600 - 72)), int(rng.integers(400 - 64))
        part = whole.crop((left, top, left + 72, top + 64))
        made[f"{wnid}/{wnid}_{number}.JPEG"] = jpeg(part)
    first, second = CLASSES[:2]
    good = made[f"{first}/{first}_0.JPEG"]
    made[f"{first}/{first}_gray.JPEG"] = jpeg(part.convert("L"))
    made[f"{first}/{first}_cmyk.JPEG"] = jpeg(part.convert("CMYK"))
    made[f"{second}/{second}_cut.JPEG"] = good[: len(good) // 2]
    made[f"{second}/{second}_empty.JPEG"] = b""
    made[f"{second}/{second}_text.JPEG"] = b"no image"
    made[f"{second}/{second}_tiny.JPEG"] = jpeg(part.resize((20, 20)))
    return made


def layouts(files: dict[str, bytes]) -> dict[str, dict[str, bytes]]:
    rows = [
        {
            "image": {"bytes": data, "path": name.rpartition("/")[2]},
            "label": CLASSES.index(name.partition("/")[0]),
        }
        for name, data in files.items()
    ]
    names = {"info": {"features": {"label": {"_type": "ClassLabel", "names": CLASSES}}}}
    by_class = itertools.groupby(sorted(files.items()), lambda item: item[0].partition("/")[0])
    return {
        "folders": files,
        "tars": {
            f"{wnid}.tar": tar({name.partition("/")[2]: data for name, data in members})
            for wnid, members in by_class
        },
        "parquet": {
            f"train-{n}.parquet": parquet(rows[n::3], names) for n in range(3)
        },
    }  # fmt: skip
