"""Files of the first paper's presets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.bitstream import info, read_semantics
from deepsic.codec import Codec
from deepsic.coding import bit_planes, range_coder
from deepsic.errors import CorruptFileError, UnknownModelError
from deepsic.models.fourstage.bits import BitTables
from deepsic.models.fourstage.config import FourStageConfig
from deepsic.models.fourstage.engine import FourStageEngine
from deepsic.models.fourstage.file import pack_four_stage, unpack_four_stage
from deepsic.models.fourstage.net import FourStageNet
from tests.models.fourstage.test_start import images

CPU = torch.device("cpu")


def model(look: str, **fields: object) -> weights.ModelFile:
    torch.manual_seed(0)
    config = FourStageConfig(semantics=look, filters=12, width=8, **fields)  # type: ignore[arg-type]
    net = FourStageNet(config).eval()
    return pack_four_stage(net, images(2), (50, 80), steps=30, label_set="imagenette")


@pytest.fixture(scope="module", params=["pre", "post"])
def codec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Codec:
    path = tmp_path_factory.mktemp("zoo") / f"deepsic-{request.param}.safetensors"
    weights.write(path, model(request.param))
    return Codec.load(path, device="cpu")


def reference_decode(
    stream: bytes, tables: BitTables, height: int, width: int, quality: int
) -> np.ndarray:
    """Section III-B in plain Python whole numbers: context, bit, next context."""
    from tests.reference.decoder import BitDecoder

    bits = BitDecoder(stream, tables.start)
    channels = len(tables.rest)
    m = np.zeros((channels, height + 2, width + 4), int)
    energy, recent = np.zeros((2, height + 2, width + 4), int)

    def size(v: int) -> int:
        return min(127, ((1 + min(255, abs(int(v)))) ** 16).bit_length() - 1)

    for c in range(channels):
        if not bits.bit(bit_planes.ACTIVE_AT):
            continue
        g = tables.group[c]
        for y in range(1, height + 1):
            for x in range(2, width + 2):
                w, n, nw, ne = (
                    m[c, y, x - 1],
                    m[c, y - 1, x],
                    m[c, y - 1, x - 1],
                    m[c, y - 1, x + 1],
                )
                ww = m[c, y, x - 2]
                seen = [2 * w, 2 * n, 2 * nw, 2 * ne, 2 * ww]
                seen += [max(-126, min(126, 2 * (w + n - nw))), size(w), size(n), size(nw)]
                seen += [size(abs(w) + abs(n) + abs(nw) + abs(ne) + abs(ww))]
                parents = [p for p in tables.parents[c] if p >= 0]
                empty = [0] * (bit_planes.PARENTS - len(parents))
                seen += [2 * m[p, y, x] for p in parents] + empty
                cross = [(0, -1), (0, 1), (-1, 0), (1, 0)]
                for p in parents:
                    around = sum(abs(m[p, y + dy, x + dx]) for dy, dx in cross)
                    seen += [size(2 * abs(m[p, y, x]) + around)]
                seen += empty
                for map_, here, ring in ((energy, 1, 3), (recent, 0, 1)):
                    around = sum(map_[y + dy, x + dx] for dy, dx in cross)
                    seen += [size(map_[y, x] >> here), size(around >> ring)]
                seen += [quality, 64 * (y == 1), 64 * (x == 2)]
                s = tables.bias[c].astype(int) + np.array(seen) @ tables.first[g].astype(int)
                path = 1
                for plane in range(6):
                    a = np.clip((s + tables.node[g, path] + 32) >> 6, 0, 127)
                    logit = int(tables.offset[g, path] + a @ tables.second[g, plane].astype(int))
                    bucket = min(63, max(0, (logit >> 8) + 32))
                    path = 2 * path + bits.bit((g * 6 + plane) * 64 + bucket)
                m[c, y, x] = path - 96 - tables.rest[c]
        small = np.minimum(np.abs(m[c]), 15)
        inner = (slice(1, height + 1), slice(2, width + 2))
        energy[inner] += small[inner]
        recent[inner] = (3 * recent[inner] + 16 * small[inner]) >> 2
    return m[:, 1:-1, 2:-2].transpose(1, 2, 0) + tables.rest


def test_a_decoder_in_plain_integers_agrees(codec: Codec) -> None:
    engine = codec.engine
    assert isinstance(engine, FourStageEngine)
    rgb = images(3)[2][:32, :64]
    v8, v16, _ = engine.analyse(rgb, 70)
    stream = engine.encode(v8, v16, 70)
    levels, _ = engine.decode(stream, 32, 64, 70)
    assert len(np.unique(levels)) > 3
    assert np.array_equal(levels, engine.symbols(v8) + engine.tables.rest)
    assert np.array_equal(levels, reference_decode(stream, engine.tables, 4, 8, 70))


def test_the_file_holds_what_the_net_sees(codec: Codec) -> None:
    engine = codec.engine
    assert isinstance(engine, FourStageEngine)
    rgb = images(1)[0]
    blob = codec.encode(rgb, quality=60)
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        expected = engine.net(x, torch.tensor([59 / 99])).x_hat[0].permute(1, 2, 0)
    given = np.asarray(codec.decode(blob)).astype(int)
    assert np.abs(given - expected.clamp(0, 255).numpy()).max() < 1.01


def test_labels_before_and_after(codec: Codec) -> None:
    """Pre: bits in the file, read without a network; post: features, no pixels."""
    engine = codec.engine
    assert isinstance(engine, FourStageEngine)
    rgb = images(1)[0]
    blob = codec.encode(rgb, quality=60)
    stored = read_semantics(blob)
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        (logits,) = engine.net(x, torch.tensor([59 / 99]), look=True).logits
    best = int(logits.argmax())
    if engine.look == "pre":
        assert stored is not None
        assert len(stored.labels) == 5
        assert info(blob).bytes_semantics > 0
    else:
        assert stored is None
    labels = codec.labels(blob, top=3)
    assert len(labels) == 3
    assert codec.reader is not None
    assert labels[0].wnid == codec.read(rgb, quality=60)[0].wnid or engine.look == "post"
    assert labels[0].probability == pytest.approx(float(logits.softmax(1)[0, best]), abs=0.01)


@pytest.mark.parametrize("strides", [(4, 2, 2, 1), (4, 2, 2, 2), (4, 1, 1, 1)])
def test_other_strides_and_tiles(tmp_path: Path, strides: tuple[int, int, int, int]) -> None:
    path = tmp_path / "m.safetensors"
    weights.write(path, model("post", strides=strides))
    codec = Codec.load(path, device="cpu")
    rgb = np.random.default_rng(0).integers(0, 256, (50, 1570, 3), np.uint8)
    blob = codec.encode(rgb, quality=40)
    assert info(blob).tiles == 2
    whole = np.asarray(codec.decode(blob))
    assert whole.shape == rgb.shape
    part = np.asarray(codec.decode(blob, region=(1000, 8, 1100, 40)))
    assert np.array_equal(part, whole[8:40, 1000:1100])


def test_damage_is_named(codec: Codec) -> None:
    engine = codec.engine
    assert isinstance(engine, FourStageEngine)
    v8, v16, _ = engine.analyse(images(1)[0], 50)
    stream = engine.encode(v8, v16, 50)
    with pytest.raises(CorruptFileError):
        engine.decode(stream + bytes(20) + b"\1", 64, 64, 50)
    noise = np.random.default_rng(0).integers(0, 256, 4000, np.uint8).tobytes()
    levels, _ = engine.decode(noise[:16], 64, 64, 50)
    assert levels.min() >= -32
    assert levels.max() <= 31


def test_incomplete_model_files_are_named() -> None:
    file = model("pre")
    for name in ("net.enter", "bit.first"):
        tensors = {k: v for k, v in file.tensors.items() if k != name}
        broken = weights.ModelFile(preset=file.preset, config=file.config, tensors=tensors)
        with pytest.raises(UnknownModelError):
            unpack_four_stage(broken, CPU)
    parents = file.tensors["bit.parents"].clone()
    parents[3, 0] = 9
    wrong = dict(file.tensors, **{"bit.parents": parents})
    with pytest.raises(UnknownModelError):
        unpack_four_stage(
            weights.ModelFile(preset=file.preset, config=file.config, tensors=wrong), CPU
        )


def test_trained_contexts_beat_fixed_ones_on_images_not_seen() -> None:
    """Section III-B's gain, on features whose sizes lie in patches as images' do."""
    rng = np.random.default_rng(0)
    activity = np.kron(rng.uniform(0, 1, (6, 6)) ** 3, np.ones((8, 8)))[None] * 5
    scale = activity * np.linspace(1, 0.2, 12)[:, None, None]
    from deepsic.models.fourstage.bits import Sight, train_tables

    def sight(seed: int) -> Sight:
        levels = np.random.default_rng(seed).laplace(0, 1, scale.shape) * scale
        m = np.zeros((12, 50, 52), np.int16)
        m[:, 1:-1, 2:-2] = np.clip(np.round(levels), -32, 31)
        return Sight(m=m, quality=50)

    tables = train_tables([sight(1), sight(2)], np.zeros(12, np.int32), steps=60)
    m = sight(3).m
    sizes = []
    for trained in (0, 1):
        starts = np.full(bit_planes.FIXED_CONTEXTS, 32768, np.uint16)
        states = tables.states() if trained else coder_states(starts)
        state, out = range_coder.encoder_state(), np.empty(m.size * 2, np.uint8)
        bit_planes.encode_planes(state, out, states, m, *tables.arrays(), 50, trained)
        sizes.append(int(range_coder.finish(state, out)))
        back, data = np.zeros_like(m), out[: sizes[-1]].copy()
        states = tables.states() if trained else coder_states(starts)
        bit_planes.decode_planes(
            range_coder.decoder_state(data), data, states, back, *tables.arrays(), 50, trained
        )
        assert np.array_equal(back, m)
    assert sizes[1] < 0.97 * sizes[0]


def coder_states(start: np.ndarray) -> np.ndarray:
    from deepsic.coding.binarisation import fresh_states

    return fresh_states(start)
