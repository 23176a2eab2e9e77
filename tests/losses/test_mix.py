from __future__ import annotations

import pytest
import torch

from deepsic.errors import UsageError
from deepsic.losses import APIC, SAIC, TDIC, Distortion, DistortionMix, relative_errors

from .test_semantic import TinyNetwork


def test_parse_names_and_numbers() -> None:
    assert DistortionMix.parse("saic") == SAIC
    mix = DistortionMix.parse("pixel=0.1,agreement=200,layer=_blocks.3,tau=5")
    assert mix == DistortionMix(pixel=0.1, agreement=200, layer="_blocks.3", tau=5)


@pytest.mark.parametrize("text", ["", "pixel", "pixel=x", "colour=1", "pixel=-1", "pixel=0"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        DistortionMix.parse(text)


def test_a_network_is_needed_for_more_than_pixels() -> None:
    Distortion(TDIC)
    with pytest.raises(UsageError, match="network"):
        Distortion(APIC)


def test_total_is_the_weighed_sum_and_saic_with_equal_weights_is_apic() -> None:
    torch.manual_seed(0)
    x, x_hat = torch.rand(2, 2, 3, 8, 8)
    net = TinyNetwork()
    counts = {"pixel": 0.5, "feature": 2.0, "relative": 5.0, "semantic": 3.0, "agreement": 4.0}
    terms = Distortion(DistortionMix(**counts, tau=0.0), net)(x_hat, x)
    expected = sum(count * terms[name] for name, count in counts.items())
    torch.testing.assert_close(terms["total"], torch.as_tensor(expected))
    torch.testing.assert_close(terms["semantic"], terms["feature"])
    same = Distortion(SAIC, net, weights=torch.ones(5))(x_hat, x)
    assert torch.equal(same["total"], Distortion(APIC, net)(x_hat, x)["total"])
    assert same["total"].shape == (2,)


def test_targets_without_semantic_weights_are_the_same_but_for_them() -> None:
    torch.manual_seed(0)
    x, net = torch.rand(2, 3, 8, 8), TinyNetwork()
    plain = Distortion(DistortionMix(feature=1.0, agreement=1.0), net).targets(x)
    weighed = Distortion(DistortionMix(semantic=1.0, agreement=1.0), net).targets(x)
    assert plain is not None
    assert weighed is not None
    assert torch.equal(plain.maps, weighed.maps.detach())
    assert torch.equal(plain.outputs, weighed.outputs.detach())
    assert torch.equal(plain.weights, torch.ones(5))
    assert not torch.equal(plain.weights, weighed.weights[0])


def test_a_relative_error_knows_no_scale() -> None:
    torch.manual_seed(0)
    f_hat, f = torch.rand(2, 2, 5, 4, 4)
    errors = relative_errors(f_hat, f)
    torch.testing.assert_close(relative_errors(1000 * f_hat, 1000 * f), errors)
    torch.testing.assert_close(relative_errors(torch.zeros_like(f), f), torch.ones(2))
    assert torch.equal(relative_errors(f, f), torch.zeros(2))
    assert torch.isfinite(relative_errors(f_hat, torch.zeros_like(f))).all()
