"""What a search found: tables, the Pareto front, SAIC's Figure 4."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepsic import atomic
from pipelines.stage import console
from pipelines.tuning.trial import METRIC, STEP

__all__ = [
    "Trial", "best_of", "collect", "draw_pareto", "draw_tau", "pareto", "show", "write_json",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial at its best rung."""

    id: str
    bpp: float
    """Target."""
    tau: float
    lam: float
    rate: float
    """Bits a pixel that the trial's model needed."""
    agreement: float
    gain: float
    """Agreement above the common start at the same target."""
    psnr: float
    si: float
    steps: int
    """At that rung."""
    checkpoint: str | None
    """Of that rung: a folder on the search's storage."""


def collect(results: Any) -> list[Trial]:
    """Trials that reported at least once, each at its best rung, the largest gain first."""
    trials = [_trial(result) for result in results if _rows(result)]
    return sorted(trials, key=lambda trial: -trial.gain)


def best_of(trials: Sequence[Trial]) -> list[Trial]:
    """The trial with the largest gain at each target rate, by rate."""
    found: dict[float, Trial] = {}
    for trial in sorted(trials, key=lambda trial: (trial.bpp, -trial.gain)):
        found.setdefault(trial.bpp, trial)
    return list(found.values())


def _rows(result: Any) -> list[dict[str, Any]]:
    """Reports of a trial's rungs."""
    frame = result.metrics_dataframe
    if frame is None or METRIC not in frame:
        return []
    rows: list[dict[str, Any]] = frame.dropna(subset=[METRIC]).to_dict("records")
    return rows


def _trial(result: Any) -> Trial:
    # Of equal rungs the last one: it was trained for longest.
    row = max(_rows(result), key=lambda row: (row[METRIC], row[STEP]))
    own = {metrics[STEP]: checkpoint.path for checkpoint, metrics in result.best_checkpoints}
    return Trial(
        id=str(row["trial_id"]),
        **{name: float(result.config[name]) for name in ("bpp", "tau", "lam")},
        rate=float(row["bpp"]),
        **{name: float(row[name]) for name in ("agreement", "gain", "psnr", "si")},
        steps=int(row[STEP]),
        checkpoint=row.get("checkpoint_path", own.get(row[STEP])),
    )


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that none beats in both rate and agreement, by rate."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (trial.rate, -trial.agreement)):
        if not front or trial.agreement > front[-1].agreement:
            front.append(trial)
    return front


def show(trials: Sequence[Trial]) -> None:
    """All trials on the terminal, and the best one of each rate."""
    columns = (
        "trial",
        "bpp",
        "tau",
        "lambda",
        "rate",
        "agreement",
        "gain",
        "PSNR dB",
        "SI",
        "steps",
    )
    for title, rows in (
        ("Trials, the largest gain over the start first", trials),
        ("The best trial at each target rate", best_of(trials)),
    ):
        console.table(title, columns, [_cells(trial) for trial in rows])


def _cells(t: Trial) -> list[object]:
    si = None if math.isnan(t.si) else t.si
    cells: list[object] = [t.id, t.bpp, t.tau, t.lam, t.rate, t.agreement]
    return [*cells, f"{t.gain:+.3f}", t.psnr, si, t.steps]


def write_json(trials: Sequence[Trial], path: Path) -> None:
    """All trials, for machines; `best` marks the best one of each rate."""
    best = {trial.id for trial in best_of(trials)}
    rows = [
        {k: _plain(v) for k, v in asdict(trial).items()} | {"best": trial.id in best}
        for trial in trials
    ]
    atomic.write(path, (json.dumps(rows, indent=1) + "\n").encode())


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def draw_pareto(trials: Sequence[Trial], path: Path) -> None:
    """Rate against agreement, coloured by tau; the line joins what nothing beats."""
    figure, axes = _figure()
    front = pareto(trials)
    axes.plot([t.rate for t in front], [100 * t.agreement for t in front], color="0.6", zorder=1)
    points = axes.scatter(
        [t.rate for t in trials],
        [100 * t.agreement for t in trials],
        c=[math.log10(max(t.tau, 1e-3)) for t in trials],
        cmap="viridis",
        edgecolor="0.2",
        zorder=2,
    )
    figure.colorbar(points, label="log10 τ")
    axes.set(xlabel="bits a pixel", ylabel="same class as uncompressed, %")
    figure.savefig(path)


def draw_tau(trials: Sequence[Trial], path: Path) -> None:
    """SAIC's Figure 4: agreement and SI over tau, for the rate with most trials."""
    rates = [t.bpp for t in trials]
    rate = max(set(rates), key=rates.count)
    chosen = sorted((t for t in trials if t.bpp == rate), key=lambda t: t.tau)
    figure, axes = _figure()
    taus = [t.tau for t in chosen]
    axes.semilogx(taus, [100 * t.agreement for t in chosen], "o-", color="#0072B2")
    axes.set_title(f"{rate} bpp", loc="left")
    axes.set(xlabel="τ", ylabel="same class as uncompressed, % (circles)")
    if not any(math.isnan(t.si) for t in chosen):
        right = axes.twinx()
        right.semilogx(taus, [t.si for t in chosen], "s--", color="#D55E00")
        right.set_ylabel("SI, nats (squares)")
    figure.savefig(path)


def _figure() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
