"""Bytes may not grow and quality may not fall unseen.

The same model must give the same files but for the last digits of another machine's floats. A new
model must not be worse: each of its points lies on or above the old curve of dB over log bytes. A
loss that is meant is shown by `python -m tests.golden.rates` and its diff.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from deepsic import zoo
from tests.golden.rates import IMAGES, TABLE, measure

pytest.importorskip("skimage", reason="the golden photographs come with scikit-image")

#: The same model on another machine: the transforms' floats may flip a rounding here and there.
BYTES_SHARE, DECIBELS = 0.005, 0.03
#: A new model on a single image may lose this much at equal bytes.
LOSS = 0.15


@pytest.fixture(scope="module")
def codec() -> Any:
    import deepsic

    if "sic" not in zoo.names():
        pytest.skip("no model ships yet")
    return deepsic.Codec.load("sic", tune="psnr")


@pytest.mark.parametrize("name", IMAGES)
def test_rate_and_quality_are_no_worse_than_the_table(name: str, codec: Any) -> None:
    table = json.loads(TABLE.read_text("utf-8"))
    old, new = table["curves"][name], measure(codec, name)
    if table["model"] == codec.identity.hex():
        for (quality, size, level), (_, new_size, new_level) in zip(old, new, strict=True):
            assert new_size <= size * (1 + BYTES_SHARE), f"quality {quality} grew"
            assert new_level >= level - DECIBELS, f"quality {quality} fell"
        return
    log_bytes = [math.log(size) for _, size, _ in old]
    levels = [level for _, _, level in old]
    within = [point for point in new if old[0][1] <= point[1] <= old[-1][1]]
    assert within, "the new model's rates don't meet the old ones: write the table again"
    for quality, size, level in within:
        before = float(np.interp(math.log(size), log_bytes, levels))
        assert level >= before - LOSS, f"quality {quality}: {before:.2f} dB before at {size} bytes"
