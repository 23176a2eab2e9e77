"""Which maps to compare: three depths of EfficientNet-Lite0, at one rate, each with its own lambda.

python pipelines/tune_saic.py --data runs/prepared --space layers --trials 18
"""

from __future__ import annotations

from typing import Any


def space() -> dict[str, Any]:
    from ray import tune

    return {
        "bpp": 0.25,
        "lam": tune.loguniform(0.003, 0.3),
        "tau": 400,
        "layer": tune.choice(["_blocks.4", "_blocks.10", "_bn1"]),
    }
