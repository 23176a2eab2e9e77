"""What lambda costs and gives: a grid of rates and lambdas; run with `--search grid`.

python pipelines/tune_saic.py --data runs/prepared --space lambda_grid --search grid
"""

from __future__ import annotations

from typing import Any


def space() -> dict[str, Any]:
    from ray import tune

    return {
        "bpp": tune.grid_search([0.125, 0.25, 0.5]),
        "lam": tune.grid_search([0.003, 0.01, 0.03, 0.1, 0.3]),
        "tau": 400,
    }
