"""Search spaces: a function `space()` in a file of `tune_spaces/`, or in one of the user's."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepsic.errors import UsageError

__all__ = ["OPTIONAL", "REQUIRED", "Space", "load_space"]

REQUIRED = ("bpp", "lam", "tau")
OPTIONAL = ("lr", "pixel", "layer")
"""Keys that the job's own settings stand in for."""
_GRID = "grid_search"
_SPACES = Path(__file__).resolve().parents[2] / "tune_spaces"


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a search draws from.

    Raises:
        UsageError: a key that nothing reads, a missing one, or target rates without end.
    """

    name: str
    identity: str
    """Of its file's bytes: an edited space makes another search."""
    values: Mapping[str, Any]
    """Constants, and distributions of Ray Tune."""

    def __post_init__(self) -> None:
        unknown = sorted(self.values.keys() - {*REQUIRED, *OPTIONAL})
        if unknown:
            raise UsageError(
                f"space {self.name} has {', '.join(unknown)}, which nothing reads"
                f"{_nearest(unknown[0], (*REQUIRED, *OPTIONAL))}; give only "
                f"{', '.join((*REQUIRED, *OPTIONAL))}"
            )
        missing = [key for key in REQUIRED if key not in self.values]
        if missing:
            raise UsageError(f"space {self.name} lacks {', '.join(missing)}; add it to space()")
        if not self.rates or not all(0 < rate < 24 for rate in self.rates):
            raise UsageError(f"space {self.name}: give target rates (bpp) between 0 and 24")

    @property
    def rates(self) -> tuple[float, ...]:
        """Target rates, bits a pixel, ascending. Trials of one rate are compared."""
        from ray.tune.search.sample import Categorical

        bpp = self.values["bpp"]
        if isinstance(bpp, Categorical):
            found = bpp.categories
        elif isinstance(bpp, Mapping) and _GRID in bpp:
            found = bpp[_GRID]
        else:
            found = [bpp]
        if not all(isinstance(rate, (int, float)) for rate in found):
            raise UsageError(
                f"space {self.name}: bpp must be a number, tune.choice or tune.grid_search, since "
                "trials of equal rate are compared"
            )
        return tuple(sorted({float(rate) for rate in found}))

    @property
    def grid(self) -> int:
        """Points of the grid; 0 where there is none."""
        grids = [v[_GRID] for v in self.values.values() if isinstance(v, Mapping) and _GRID in v]
        return math.prod(len(points) for points in grids) if grids else 0


def _nearest(name: str, known: Sequence[str]) -> str:
    """ ", did you mean ...?" where a known name is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def load_space(name: str) -> Space:
    """A space of `tune_spaces/` by name, or of a file by its path.

    Raises:
        UsageError: no such file, or its `space()` gives nothing that can be searched.
    """
    path = Path(name) if name.endswith(".py") else _SPACES / f"{name}.py"
    if not path.is_file():
        known = sorted(file.stem for file in _SPACES.glob("[a-z]*.py"))
        raise UsageError(
            f"no search space {name!r}{_nearest(name, known)}; choose from {', '.join(known)}, or "
            "give the path of a Python file"
        )
    spec = importlib.util.spec_from_file_location(f"tune_space_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        make: Callable[[], Any] | None = getattr(module, "space", None)
        made = make() if make is not None else None
    except Exception as error:  # a file of the user's may fail in any way
        raise UsageError(f"{path} can't be used: {type(error).__name__}: {error}") from error
    if not isinstance(made, dict):
        raise UsageError(f"{path} needs a function space() that gives a dictionary")
    if hasattr(module, "MIX"):
        raise UsageError(f"{path}: nothing reads MIX; give {', '.join(OPTIONAL)} in space()")
    identity = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return Space(name=path.stem, identity=identity, values=made)
