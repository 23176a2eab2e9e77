"""One model, tuned in two ways: a file's header says which."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.bitstream import pack, unpack
from deepsic.codec import Codec
from deepsic.errors import UnknownVersionError, UsageError
from deepsic.models.quality import APART, base_step, lagrangian, position
from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.net import SSIM_STEPS8, SSIM_STEPS16, SicNet
from deepsic.models.sic.wavelet import bands
from tests.reference.decoder import StreamDecoder
from tests.reference.pixels import of_tuning
from tests.support.small_model import photograph, small_net


def test_a_file_says_how_it_was_tuned(two_tunings: Path) -> None:
    codec = Codec.load(two_tunings, device="cpu")
    assert codec.tunings == ("psnr", "ssim")
    tuned = {tune: Codec.load(two_tunings, device="cpu", tune=tune) for tune in codec.tunings}
    image = photograph(64, 96)
    blobs = {tune: each.encode(image, quality=70) for tune, each in tuned.items()}
    headers = [unpack(blob).header for blob in blobs.values()]
    assert [header.coder for header in headers] == [2, 3]
    assert blobs["ssim"] == codec.encode(image, quality=70)
    for tune, blob in blobs.items():
        again = pickle.loads(pickle.dumps(tuned[tune]))
        assert again.encode_batch([image], quality=70) == [blob]
        decoded = np.asarray(codec.decode(blob)).astype(int)
        assert np.abs(decoded - image).mean() < 40, "levels of 255, of an untrained net"
        assert codec.decode(blob, scale=0.5).size == (48, 32)


@pytest.mark.parametrize("quality", [20, 75])
def test_a_decoder_of_plain_integers_agrees_on_the_second(two_tunings: Path, quality: int) -> None:
    engine = Codec.load(two_tunings, device="cpu").engine.tuned(1)  # type: ignore[attr-defined]
    v8, v16, _ = engine.analyse(photograph(64, 96), quality)
    stream = engine.encode(v8, v16, quality)
    y8, y16 = engine.decode(stream, 64, 96, quality)[:2]
    both = weights.read_arrays(two_tunings).tensors
    assert len(both["table.z_classes"]) == 200
    tensors = of_tuning(both, 1)
    _, _, slow16, slow8 = StreamDecoder(tensors, stream, 64, 96, quality, False, 64).decode()
    assert np.array_equal(y16 * 64, slow16)
    assert np.array_equal(bands.whole8(y8) * 64, slow8)
    assert np.abs(slow8).max() > 64, "a stream of zeros would prove nothing"


def test_what_a_model_lacks_is_named(model_path: Path, two_tunings: Path) -> None:
    with pytest.raises(UsageError, match="can't tune for 'ssim'; it has psnr"):
        Codec.load(model_path, device="cpu", tune="ssim")
    for path, coder in ((model_path, 1), (model_path, 2), (model_path, 4)):
        codec = Codec.load(path, device="cpu")
        container = unpack(codec.encode(photograph(32, 32)))
        later = pack(replace(container, header=replace(container.header, coder=coder)))
        with pytest.raises(UnknownVersionError, match=f"coder {coder}"):
            codec.decode(later)
    with pytest.raises(UsageError, match="tunings=3"):
        SicConfig(revision=2, tunings=3)
    with pytest.raises(UsageError, match="revision 2"):
        SicConfig(revision=1, tunings=2)


def test_a_second_tuning_starts_as_the_first_with_other_steps() -> None:
    old = small_net(revision=2)
    new = SicNet(replace(old.config, tunings=2))
    new.adopt(old)
    x = torch.from_numpy(photograph(64, 96).copy()).permute(2, 0, 1)[None].float()
    place = torch.tensor([position(60.0)])
    with torch.inference_mode():
        before, _ = old.analyse(x, place)
        same, _ = new.analyse(x, place)
        tuned, _ = new.analyse(x, place + APART)
    torch.testing.assert_close(same.y8 / same.step8, before.y8 / before.step8)
    for steps, first, factors in (
        (tuned.step8, before.step8, SSIM_STEPS8),
        (tuned.step16, before.step16, SSIM_STEPS16),
    ):
        torch.testing.assert_close(steps[0, :, 0, 0] / first[0, :, 0, 0], torch.tensor(factors))
    assert float(base_step(place + APART)) == pytest.approx(float(base_step(place)), rel=1e-5)
    assert float(lagrangian(place + APART)) == pytest.approx(float(lagrangian(place)), rel=1e-5)
    back = SicNet(old.config)
    back.adopt(new)
    assert all(torch.equal(v, old.state_dict()[k]) for k, v in back.state_dict().items())


def test_a_file_of_two_tunings_is_trained_on_from_both(two_tunings: Path) -> None:
    from deepsic.models.sic.model_file.trainable import from_model_file

    model = weights.read(two_tunings)
    net, made = from_model_file(model), small_net(revision=2, serial=True, tunings=2)
    for name in ("context.state1.shift.table", "gain8.table", "z_log_scale.table"):
        got, want = net.state_dict()[name], made.state_dict()[name]
        assert got.shape == want.shape == (16, want.shape[1])
        assert float((got - want).abs().max()) < (0.2 if "z_log" in name else 0.01), name


def test_noise_gets_below_the_lowest_quality() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    codec = Codec.load("sic-2", device="cpu")  # the next one's lowest quality is below this
    assert len(codec.encode(noise, quality=1, labels=False)) > 300
    assert len(codec.encode(noise, max_bytes=300, labels=False)) <= 300


def test_the_default_is_what_people_see_as_better(model_path: Path, two_tunings: Path) -> None:
    assert Codec.load(two_tunings, device="cpu").tune == "ssim"
    assert Codec.load(two_tunings, device="cpu", effort=1).tune == "ssim"
    assert Codec.load(model_path, device="cpu").tune == "psnr", "it has no other"
