"""Any machine, thread count or library decodes a file to the same symbols and latents."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import llvmlite.binding
import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.codec import Codec
from deepsic.models.quality import HALVES
from deepsic.models.sic.int8.layer import Conv, Layer
from deepsic.models.sic.int8.planes import OFFSET, Plane
from deepsic.models.sic.tile_coder.decoder import TileDecoder
from deepsic.models.sic.wavelet import bands
from tests.reference.decoder import StreamDecoder
from tests.support.small_model import photograph, small_net

SMALL_STACK = """
import ctypes
class Stack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
room = ctypes.create_string_buffer(4096)
assert ctypes.CDLL(None).sigaltstack(
    ctypes.byref(Stack(ctypes.addressof(room), 0, 4096)), None
) == 0
"""
"""On which a signal's handler would have no room for tiles, so that Linux refuses them."""


@pytest.mark.parametrize("quality", [20, 75])
@pytest.mark.parametrize("rounded", [False, True])
def test_a_decoder_of_plain_integers_agrees(
    any_revision: Path, tmp_path: Path, quality: int, rounded: bool
) -> None:
    model = weights.read(any_revision)
    if rounded and model.config["revision"] > 1:
        pytest.skip("revision 2 never rounds sums")
    path = tmp_path / "model.safetensors"
    weights.write(path, replace(model, config=model.config | {"rounded_sums": rounded}))
    engine = Codec.load(path, device="cpu").engine
    v8, v16, _ = engine.analyse(photograph(64, 96), quality)
    stream = engine.encode(v8, v16, quality)
    y8, y16 = engine.decode(stream, 64, 96, quality)[:2]
    tensors = weights.read_arrays(path).tensors
    parts = 16 if model.config["revision"] == 1 else 64
    slow = StreamDecoder(tensors, stream, 64, 96, quality, rounded, parts)
    _, _, slow16, slow8 = slow.decode()
    assert np.array_equal(y16 * parts, slow16)
    assert np.array_equal(bands.whole8(y8) * parts, slow8)
    assert np.abs(slow8).max() > parts, "a stream of zeros would prove nothing"


def test_sums_are_exact_on_hard_cases() -> None:
    rng = np.random.default_rng(7)
    for inputs, outputs, kernel, offset in (
        (100, 64, 3, OFFSET), (64, 256, 1, OFFSET), (24, 54, 3, OFFSET), (96, 96, 3, 0),
    ):  # fmt: skip
        w = rng.integers(-127, 128, (outputs, inputs, kernel, kernel)).astype(np.int8)
        x = rng.choice([0, 1, 127, 128, 254, 255], (33, 21, inputs)).astype(np.uint8)
        layer = Layer.of(Conv.of(w, offset=offset), Plane.of(x, border=offset))
        sums = np.empty((33, 21, outputs), np.float32)
        layer.correct(np.zeros_like(sums), np.ones(outputs, np.float32), sums)
        signed = torch.from_numpy(x.astype(np.float64) - offset).permute(2, 0, 1)[None]
        weight = torch.from_numpy(w.astype(np.float64))
        truth = torch.nn.functional.conv2d(signed, weight, padding=kernel // 2)
        assert np.array_equal(sums, truth[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("streams", [1, 2])
def test_pixels_do_not_depend_on_threads(any_revision: Path, threads: int, streams: int) -> None:
    rgb = photograph(160, 224, seed=3)
    codec = Codec.load(any_revision, device="cpu")
    if HALVES in codec.engine.coders:  # type: ignore[attr-defined]
        codec = Codec.load(any_revision, device="cpu", streams=streams)
    blob = codec.encode(rgb, quality=70)
    expected = np.asarray(codec.decode(blob))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert np.array_equal(codec.decode(blob), expected)
        assert codec.encode(rgb, quality=70) == blob
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["generic", "haswell", "vectors", "refused", "native"])
def test_pixels_do_not_depend_on_the_machine(tmp_path: Path, machine: str) -> None:
    """Vectors of 128, 256 and 512 bits, with an instruction for bytes and without; a matrix unit
    that isn't there, that Linux refuses to a process with a small stack for signals, and that is.
    """
    host = llvmlite.binding.get_host_cpu_features()
    if machine in ("vectors", "refused") and not host.get("amx-int8"):
        pytest.skip("this CPU has no matrix unit")
    blob = Codec.load("sic", device="cpu").encode(photograph(96, 160), quality=70, labels=False)
    (tmp_path / "image.sic").write_bytes(blob)
    asks = SMALL_STACK * (machine == "refused") + (
        "import hashlib, deepsic, numpy as np\n"
        "codec = deepsic.Codec.load('sic', device='cpu')\n"
        f"image = codec.decode({str(tmp_path / 'image.sic')!r})\n"
        "from deepsic.models.sic.int8 import matrix_unit as unit\n"
        f"assert unit.AVAILABLE == {machine == 'native' and bool(host.get('amx-int8'))}\n"
        f"assert unit.REFUSED == {machine == 'refused'}\n"
        "print(hashlib.sha256(np.asarray(image).tobytes()).hexdigest())"
    )
    environment = dict(os.environ)  # "refused" finds what others compiled for this CPU
    if machine != "refused":
        environment |= {"NUMBA_CACHE_DIR": str(tmp_path / machine)}
    if machine in ("generic", "haswell"):
        features = {"generic": "", "haswell": "+avx,+avx2,+fma"}[machine]
        environment |= {"NUMBA_CPU_NAME": machine, "NUMBA_CPU_FEATURES": features}
    elif machine == "vectors":
        features = host.flatten().replace("+amx", "-amx")
        name = llvmlite.binding.get_host_cpu_name()
        environment |= {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    told = subprocess.run(
        [sys.executable, "-c", asks], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    pixels = np.asarray(Codec.load("sic", device="cpu").decode(blob))
    assert told == hashlib.sha256(pixels.tobytes()).hexdigest()


def test_tiles_decode_to_the_same_symbols_in_any_order(codec: Codec) -> None:
    parts = [photograph(64, 64, seed) for seed in range(3)]
    streams = []
    for rgb in parts:
        v8, v16, _ = codec.engine.analyse(rgb, 40)
        streams.append(codec.engine.encode(v8, v16, 40))
    forward = [codec.engine.decode(s, 64, 64, 40) for s in streams]
    backward = [codec.engine.decode(s, 64, 64, 40) for s in reversed(streams)][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert np.array_equal(a[0], b[0])
        assert np.array_equal(a[1], b[1])


def test_training_computes_what_inference_computes(any_revision: Path) -> None:
    """On the grid, the float net of the last training stage gives the file's own parameters."""
    config = weights.read(any_revision).config
    net = small_net(revision=config["revision"], serial=config["serial"])
    codec = Codec.load(any_revision, device="cpu")
    rgb = photograph(64, 96)
    v8, v16, _ = codec.engine.analyse(rgb, 70)
    stream = codec.engine.encode(v8, v16, 70)
    seen: dict[str, np.ndarray] = {}

    class Recorder(TileDecoder):
        def run(self, plan, predict):  # type: ignore[no-untyped-def]
            rows = len(self.y8 if plan.tensor == 8 else self.y16)
            seen[f"{len(seen)}"] = predict(0, rows)[1]
            return super().run(plan, predict)

    tables = codec.engine.probabilities.tables
    code = Recorder(tables, 70, stream, 64, 96)
    last = codec.engine.probabilities.run(code, 70)
    names = ["4a", "4b", "3a", "3b", "2a", "2b", "1a", "1b", "1c"]
    y = {8: torch.from_numpy(bands.whole8(code.y8)), 16: torch.from_numpy(code.y16)}
    y8, y16 = (t.permute(2, 0, 1)[None] for t in (y[8], y[16]))
    from deepsic.models.sic.entropy_model.training import TrainingCoder

    class Replay(TrainingCoder):
        def __call__(self, name, mean, index, images=None):  # type: ignore[no-untyped-def]
            got = index.detach()[0].permute(1, 2, 0).flatten(0, 1).numpy()
            assert np.array_equal(got, seen[str(names.index(name))]), name
            target, mask = self._target(name)
            return target if mask is None else target * mask

    z = torch.zeros(1, 24, 2, 3)
    hyper = TileDecoder(tables, 70, stream, 64, 96).hyper()
    z[0] = torch.from_numpy(hyper).permute(2, 0, 1).float()
    with torch.no_grad():
        state = net.context(z, y16[:, :3], torch.tensor([69 / 99]), Replay(y8, y16))
    assert np.array_equal(state[0].permute(1, 2, 0) * 16 + OFFSET, last)
