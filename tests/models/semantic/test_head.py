"""The semantic head: what it reads at any scale, and its place in a model file."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from deepsic.errors import UnknownModelError, UsageError
from deepsic.models.semantic.head import SemanticHead
from deepsic.models.semantic.head_config import HeadConfig
from deepsic.models.semantic.head_file import unpack_head, with_head, without_head
from deepsic.models.semantic.head_input import (
    octaves_of,
    position_at,
    seen_size,
)
from deepsic.models.semantic.joint import head_input
from deepsic.models.sic.wavelet import bands, lifting
from deepsic.weights import ModelFile

SMALL = HeadConfig(
    classes=10, stem=4, early=((3, 2, 4), (3, 2, 6)), blocks=((5, 2, 8),), expand=2, hidden=8
)


def latents(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the plain wavelet makes of images (B, 3, H, W)."""
    c8 = lifting.forward8(x)
    ll, level4 = lifting.forward_level(c8[:, : bands.LL])
    return c8[:, bands.LL :], torch.cat((ll, level4), 1)


@pytest.mark.parametrize("octaves", range(5))
def test_a_head_sees_the_image_at_every_scale(octaves: int) -> None:
    torch.manual_seed(0)
    small = torch.rand(1, 3, 64, 96) * 200 + 25
    # An image whose halves are `small`: synthesised from it as its lowest band.
    large = lifting.rgb_to_colours(small)
    for _ in range(octaves):
        large = lifting.inverse_level(2 * large, torch.zeros(1, 9, *large.shape[2:]))
    seen = head_input(*latents(large), octaves)
    assert seen.shape == small.shape
    assert torch.allclose(seen, small, atol=0.05)


def test_images_are_seen_with_about_as_many_pixels() -> None:
    assert seen_size(224, 224) == (224, 224)
    assert seen_size(512, 768) == (183, 274)
    assert seen_size(10, 50_000) == (32, 1024)
    assert [octaves_of(*size) for size in ((32, 32), (224, 300), (512, 768), (8000, 6000))] == [
        0, 0, 1, 4,
    ]  # fmt: skip
    assert position_at(0.1, 224, 224) == pytest.approx(0.1)
    assert 0.1 < position_at(0.1, 448, 448) < position_at(0.1, 896, 896)
    assert position_at(0.9, 4000, 4000) == 1.0


def test_default_head_answers_for_any_size() -> None:
    head = SemanticHead().eval()
    with torch.no_grad():
        for side in (32, 224):
            answer = head(torch.rand(2, 3, side, side) * 255, torch.tensor([0.0, 1.0]))
            assert answer.shape == (2, 1000)
    with pytest.raises(UsageError, match="two apart"):
        HeadConfig(classes=1)


def test_a_head_starts_as_its_teacher() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    from deepsic.training.teacher import Teacher

    teacher, head = Teacher("imagenet1k"), SemanticHead().eval()
    assert teacher.give_weights(head) == 16
    x = torch.rand(2, 3, 224, 224) * 255
    with torch.no_grad():
        assert torch.allclose(head(x, torch.ones(2)), teacher.logits(x / 255), atol=1e-3)


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
    x, position = torch.rand(3, 3, 64, 64) * 255, torch.full((3,), 0.3)
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
