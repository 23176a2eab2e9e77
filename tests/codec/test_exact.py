"""Any machine, thread count or library decodes a file to the same symbols."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.codec import Codec
from deepsic.models.integer import SHIFTS
from deepsic.models.sic.int8 import byte_conv
from deepsic.models.sic.int8.integer_net import IntegerLayer
from deepsic.models.sic.probability import TileDecoder
from tests.reference.decoder import StreamDecoder
from tests.support.small_model import photograph, small_net


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
    tensors = load_file_without_bf16(path)
    parts = 16 if model.config["revision"] == 1 else 64
    slow = StreamDecoder(tensors, stream, 64, 96, quality, rounded, parts)
    _, _, slow16, slow8 = slow.decode()
    assert np.array_equal(y16 * parts, slow16)
    assert np.array_equal(y8 * parts, slow8)
    assert np.abs(slow8).max() > parts, "a stream of zeros would prove nothing"


def load_file_without_bf16(path: Path) -> dict[str, np.ndarray]:
    """Integer tensors of a model file, as numpy arrays."""
    model = weights.read(path)
    return {k: v.numpy() for k, v in model.tensors.items() if v.dtype != torch.bfloat16}


def test_fast_and_exact_sums_agree_on_hard_cases() -> None:
    if not byte_conv.available():
        pytest.skip("this CPU has no 8-bit integer units: only the exact path is used here")
    generator = torch.Generator().manual_seed(7)
    for inputs, kernel in ((100, 3), (64, 1), (24, 3)):
        w = torch.randint(-127, 128, (64, inputs, kernel, kernel), generator=generator)
        x = torch.randint(-128, 128, (1, inputs, 33, 21), generator=generator)
        shift = torch.randint(*SHIFTS, (64,), generator=generator)
        fast, slow = (
            IntegerLayer.of(w, None, shift, rounded=False, fast=way).sums(byte_conv.as_bytes(x))
            for way in (True, False)
        )
        truth = torch.nn.functional.conv2d(x.double(), w.double(), padding=kernel // 2)
        assert torch.equal(slow.double(), truth / 2.0 ** shift[:, None, None])
        assert torch.equal(fast, slow)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("fast", [True, False])
def test_symbols_do_not_depend_on_the_machine(
    any_revision: Path, threads: int, onednn: bool, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = photograph(160, 224, seed=3)
    reference = Codec.load(any_revision, device="cpu")
    v8, v16, _ = reference.engine.analyse(rgb, 70)
    stream = reference.engine.encode(v8, v16, 70)
    expected = reference.engine.decode(stream, 160, 224, 70)
    before = torch.get_num_threads()
    if not fast:
        monkeypatch.setattr(byte_conv, "available", lambda: False)
    try:
        torch.set_num_threads(threads)
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", onednn)
        other = Codec.load(any_revision, device="cpu")
        got = other.engine.decode(stream, 160, 224, 70)
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


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
        def run(self, plan, means, classes):  # type: ignore[no-untyped-def]
            seen[f"{len(seen)}"] = classes.copy()
            return super().run(plan, means, classes)

    tables = codec.engine.probabilities.tables
    code = Recorder(tables, 70, stream, 64, 96)
    with torch.inference_mode():
        last = codec.engine.probabilities.run(code, 70)
    names = ["4a", "4b", "3a", "3b", "2a", "2b", "1a", "1b", "1c"]
    y = {8: torch.from_numpy(code.y8), 16: torch.from_numpy(code.y16)}
    y8, y16 = (t.permute(2, 0, 1)[None] for t in (y[8], y[16]))
    from deepsic.models.sic.net import TrainingCoder

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
    assert np.array_equal(state[0].permute(1, 2, 0) * 16 + byte_conv.OFFSET, last)
