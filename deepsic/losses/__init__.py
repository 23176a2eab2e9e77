"""Distortions that a codec is trained with: pixels, feature maps, and what they mean.

| name | file | source |
|---|---|---|
| TDIC | `pixel.py` | SAIC Eq. 5 |
| MS-SSIM | `structure.py` | Wang et al. 2003 |
| APIC | `feature.py` | SAIC section 4.3 and 4.6 |
| SAIC | `semantic.py`, `semantic_weights.py` | SAIC Eq. 1-4 and 10 |
| agreement | `agreement.py` | soft labels of a teacher, DeepSIC Eq. 4 |
| mixes | `mix.py` | all of them together |
"""

from __future__ import annotations

from deepsic.losses.agreement import agreement_errors, agreement_loss
from deepsic.losses.feature import feature_errors, feature_loss, relative_errors
from deepsic.losses.mix import APIC, MACHINE, MIXES, SAIC, TDIC, Distortion, DistortionMix, Targets
from deepsic.losses.pixel import pixel_errors, pixel_loss
from deepsic.losses.semantic import semantic_errors, semantic_loss
from deepsic.losses.semantic_weights import Sharpness, dataset_weights, image_weights, sharpen
from deepsic.losses.structure import structure_errors

__all__ = [
    "APIC",
    "MACHINE",
    "MIXES",
    "SAIC",
    "TDIC",
    "Distortion",
    "DistortionMix",
    "Sharpness",
    "Targets",
    "agreement_errors",
    "agreement_loss",
    "dataset_weights",
    "feature_errors",
    "feature_loss",
    "image_weights",
    "pixel_errors",
    "pixel_loss",
    "relative_errors",
    "semantic_errors",
    "semantic_loss",
    "sharpen",
    "structure_errors",
]
