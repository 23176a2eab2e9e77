"""The SAIC paper's ranges: three rates, lambda and tau in logarithmic steps (Fig. 4, Table 6)."""

from __future__ import annotations

from typing import Any


def space() -> dict[str, Any]:
    from ray import tune

    return {
        "bpp": tune.choice([0.125, 0.25, 0.5]),
        "lam": tune.loguniform(0.003, 0.3),
        "tau": tune.loguniform(1, 10_000),
    }
