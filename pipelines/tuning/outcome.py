"""What a search found: a table, the Pareto picture, Figure 4, the best model."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines import console

__all__ = ["Trial", "collect", "draw_pareto", "draw_tau", "pareto", "show", "write_json"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial at its best rung."""

    id: str
    bpp: float
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
    checkpoint: str | None


def collect(results: Any) -> list[Trial]:
    """Trials that reported at least once, the largest gain first."""
    trials = []
    for result in results:
        metrics, config = result.metrics or {}, result.config or {}
        if "gain" not in metrics:
            continue
        own = result.checkpoint.path if result.checkpoint else None
        trials.append(
            Trial(
                id=str(metrics.get("trial_id", "?")),
                **{name: float(config[name]) for name in ("bpp", "tau", "lam")},
                rate=float(metrics["bpp"]),
                **{name: float(metrics[name]) for name in ("agreement", "gain", "psnr", "si")},
                steps=int(metrics["steps"]),
                checkpoint=metrics.get("checkpoint_path", own),
            )
        )
    return sorted(trials, key=lambda trial: -trial.gain)


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that none beats in both rate and agreement, by rate."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (trial.rate, -trial.agreement)):
        if not front or trial.agreement > front[-1].agreement:
            front.append(trial)
    return front


def show(trials: Sequence[Trial]) -> None:
    """The table on the terminal."""
    console.table(
        "Trials, the largest gain over the start first",
        ("trial", "bpp", "tau", "lambda", "rate", "agreement", "gain", "PSNR dB", "SI", "steps"),
        [
            (
                t.id,
                t.bpp,
                t.tau,
                t.lam,
                t.rate,
                t.agreement,
                f"{t.gain:+.3f}",
                t.psnr,
                None if math.isnan(t.si) else t.si,
                t.steps,
            )
            for t in trials
        ],
    )


def write_json(trials: Sequence[Trial], path: Path) -> None:
    """All trials, for machines."""
    rows = [{k: _plain(v) for k, v in asdict(trial).items()} for trial in trials]
    path.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


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
