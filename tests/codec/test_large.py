"""An image of 100 megapixels in less than 2 GB, library included."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import resource, sys
import numpy as np
import torch
from deepsic.codec import Codec
torch.set_num_threads(2)
codec = Codec.load(sys.argv[1], device="cpu")
if sys.argv[2] == "encode":
    tile = np.random.default_rng(0).integers(0, 256, (25, 25, 3)).astype(np.uint8)
    image = np.tile(tile.repeat(16, 0).repeat(16, 1), (25, 25, 1))
    assert image.shape == (10000, 10000, 3)
    open(sys.argv[3], "wb").write(codec.encode(image, quality=30))
else:
    image = codec.decode(open(sys.argv[3], "rb").read())
    assert image.size == (10000, 10000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_100_megapixels_in_2_gigabytes(model_path: Path, tmp_path: Path) -> None:
    file = tmp_path / "large.sic"
    for verb in ("encode", "decode"):
        run = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(model_path), verb, str(file)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(run.stdout) < 2_000_000_000, verb
