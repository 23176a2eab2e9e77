"""What `tune_saic.py` searches when nothing is said: enough to see the machinery work."""

from __future__ import annotations

from typing import Any


def space() -> dict[str, Any]:
    from ray import tune

    return {
        "bpp": tune.choice([0.25, 0.5]),
        "lam": tune.loguniform(0.01, 0.1),
        "tau": tune.loguniform(1, 10_000),
    }
