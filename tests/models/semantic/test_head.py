"""The semantic head: what it reads at any scale, and its place in a model file."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from deepsic.errors import UnknownModelError, UsageError
from deepsic.models.semantic.head import HeadConfig, SemanticHead
from deepsic.models.semantic.head_file import unpack_head, with_head, without_head
from deepsic.models.semantic.head_input import HEAD_INPUT, head_input, octaves_of, position_at
from deepsic.models.sic.wavelet import bands, lifting
from deepsic.weights import ModelFile

SMALL = HeadConfig(width=8, stem=4, blocks=((3, 1, 4), (5, 2, 8)), expand=2, hidden=8)


def latents(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the plain wavelet makes of images (B, 3, H, W)."""
    c8 = lifting.forward8(x)
    ll, level4 = lifting.forward_level(c8[:, : bands.LL])
    return c8[:, bands.LL :], torch.cat((ll, level4), 1)


@pytest.mark.parametrize("octaves", [1, 2])
def test_large_images_are_seen_small(octaves: int) -> None:
    torch.manual_seed(0)
    small = torch.rand(1, 3, 64, 96) * 255
    # An image whose halves are `small`: synthesised from it as its lowest band.
    large = small
    for _ in range(octaves):
        zeros = torch.zeros(1, 9, *large.shape[2:])
        large = lifting.inverse_level(2 * large, zeros)
    a, b = head_input(*latents(small)), head_input(*latents(large), octaves)
    assert a.shape == b.shape == (1, HEAD_INPUT, 8, 12)
    assert torch.allclose(a, b, atol=2e-3)


@pytest.mark.parametrize("size", [(32, 32), (32, 96), (1056, 32)])
@pytest.mark.parametrize("octaves", range(7))
def test_every_size_has_every_scale(size: tuple[int, int], octaves: int) -> None:
    height, width = size
    seen = head_input(
        torch.randn(1, bands.Y8, height // 8, width // 8),
        torch.randn(1, bands.Y16, height // 16, width // 16),
        octaves,
    )
    cell = 8 << octaves
    assert seen.shape == (1, HEAD_INPUT, -(-height // cell), -(-width // cell))
    assert bool(seen.isfinite().all())


def test_scale_follows_the_shorter_side() -> None:
    assert [octaves_of(*s) for s in ((32, 9000), (224, 300), (448, 600), (4000, 3000))] == [
        0, 0, 1, 4,
    ]  # fmt: skip
    assert position_at(0.1, 0) == 0.1
    assert 0.1 < position_at(0.1, 1) < position_at(0.1, 2)
    assert position_at(0.9, 3) == 1.0


def test_default_head_answers_for_any_size() -> None:
    head = SemanticHead().eval()
    with torch.no_grad():
        for side in (4, 28):
            answer = head(torch.randn(2, HEAD_INPUT, side, side), torch.tensor([0.0, 1.0]))
            assert answer.shape == (2, 10)
    with pytest.raises(UsageError, match="two apart"):
        HeadConfig(classes=1)


def test_a_model_file_keeps_a_head_in_int8() -> None:
    torch.manual_seed(0)
    plain = ModelFile(preset="sic", config={}, tensors={"net.x": torch.ones(2)})
    assert unpack_head(plain) is None
    head = SemanticHead(SMALL).eval()
    model = with_head(plain, head, "imagenette", {"steps": 3})
    assert model.label_set == "imagenette"
    assert model.tensors["head.first.weight"].dtype == torch.int8
    back = unpack_head(model)
    assert back is not None
    x, position = torch.randn(3, HEAD_INPUT, 8, 8), torch.full((3,), 0.3)
    with torch.no_grad():
        assert torch.allclose(back(x, position), head(x, position), atol=0.05)
    again = without_head(model)
    assert set(again.tensors) == set(plain.tensors)
    assert again.provenance == plain.provenance


def test_a_broken_head_is_named() -> None:
    plain = ModelFile(preset="sic", config={}, tensors={})
    with pytest.raises(UnknownModelError, match="classes"):
        with_head(plain, SemanticHead(SMALL), "imagenet1k")
    model = with_head(plain, SemanticHead(SMALL), "imagenette")
    tensors = {k: v for k, v in model.tensors.items() if k != "head.full2.bias"}
    with pytest.raises(UnknownModelError, match="incomplete"):
        unpack_head(replace(model, tensors=tensors))
