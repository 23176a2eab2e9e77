"""Figure 4: tau alone, at one rate, on a grid; run with `--search grid`."""

from __future__ import annotations

from typing import Any


def space() -> dict[str, Any]:
    from ray import tune

    return {
        "bpp": 0.5,
        "lam": 0.05,
        "tau": tune.grid_search([1, 100, 400, 1000, 2000, 3000, 5000, 10_000]),
    }
