"""Around a good point: after a wide search, lambda, learning rate and the pixels' weight nearby.

python pipelines/tune_saic.py --data runs/prepared --space fine --trials 20 --steps 4000
"""

from __future__ import annotations

from typing import Any


def space() -> dict[str, Any]:
    from ray import tune

    return {
        "bpp": tune.choice([0.25, 0.5]),
        "lam": tune.loguniform(0.02, 0.1),
        "tau": tune.loguniform(100, 2000),
        "lr": tune.loguniform(3e-5, 3e-4),
        "pixel": tune.uniform(0.02, 0.2),
    }
