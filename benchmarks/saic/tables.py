"""Print the paper's tables with ours, and draw its Figure 4."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.saic.matches import MatchedObjects, draws, interval
from benchmarks.saic.paper import TABLES
from benchmarks.saic.summary import ArmNumbers, Interval, load, mean_interval
from deepsic.evaluation.metrics.semantic_information import SemanticInformation
from pipelines.stage import console

__all__ = ["show"]

_ORDER = ("original", "tdic", "apic", "saic")


def _paper(number: int) -> None:
    caption, columns, rows = TABLES[number]
    console.table(f"Table {number}, the paper: {caption}", columns, rows)


def _arms(runs: Iterable[ArmNumbers]) -> dict[str, list[ArmNumbers]]:
    """Runs by arm, the paper's arms first; sweeps over tau are Figure 4's."""
    groups: dict[str, list[ArmNumbers]] = {}
    for run in runs:
        if not re.search(r"-tau\d", run.arm):
            groups.setdefault(run.arm, []).append(run)
    order = {name: at for at, name in enumerate(_ORDER)}
    return dict(sorted(groups.items(), key=lambda item: order.get(item[0], len(order))))


def _at(runs: list[ArmNumbers], rate: float) -> list[ArmNumbers]:
    return [run for run in runs if run.rate in (None, rate)]


def _bounds(si: SemanticInformation) -> tuple[float, float, float]:
    return si.value, si.low, si.high


def _classification(runs: list[ArmNumbers], rate: float, classifier: str) -> None:
    """The form of Tables 2 to 4: one rate, one network."""
    rows = []
    arms = _arms(_at(runs, rate))
    for arm, group in arms.items():
        found = [run.si(classifier) for run in group]
        si = Interval(*(float(np.mean(part)) for part in zip(*map(_bounds, found), strict=True)))
        values: list[object] = [arm, str(si)]
        values += [mean_interval(group, lambda run: run.hits(classifier))]
        values += [mean_interval(group, lambda run: run.agrees(classifier))]
        values += [", ".join(f"{run.agrees(classifier).mean():.1f}" for run in group)]
        values += [float(np.mean([run.f1(classifier) for run in group]))]
        if arm == "original":
            values += [None, 0.0, 1.0, None]
        else:
            mse, psnr, ssim = np.mean([run.distortion for run in group], 0)
            values += [float(psnr), f"{mse:.4f}", float(ssim)]
            values += [float(np.mean([run.arrays["bpp"].mean() for run in group]))]
        rows.append(values)
    console.table(
        f"Ours: {len(runs[0].original['labels'])} images, {rate:g} bpp, {classifier}, "
        "mean over seeds (95 % interval over images)",
        ("method", "SI", "ACC %", "agreement %", "each seed", "F1", "PSNR", "MSE", "SSIM", "bpp"),
        rows,
    )
    for better, worse in (("saic", "tdic"), ("saic", "apic"), ("machine", "tdic")):
        if better in arms and worse in arms:
            gap = mean_interval(arms[better], lambda run: run.agrees(classifier), arms[worse])
            print(f"  agreement, {better} minus {worse}: {gap} points\n")


def _by_rate(runs: list[ArmNumbers], classifier: str) -> None:
    """The form of Table 6."""
    rates = sorted({run.rate for run in runs if run.rate is not None})
    rows = []
    for arm, group in _arms(runs).items():
        cells = [arm]
        for rate in rates:
            chosen = _at(group, rate)
            if not chosen:
                cells.append("-")
                continue
            acc = np.mean([run.hits(classifier).mean() for run in chosen])
            si = np.mean([run.si(classifier).value for run in chosen])
            cells.append(f"{acc:.2f} / {si:.0f}")
        rows.append(cells)
    columns = ("method", *(f"{rate:g} bpp" for rate in rates))
    console.table(f"Ours: ACC / SI by rate, {classifier}", columns, rows)


def _features(runs: list[ArmNumbers]) -> None:
    """The form of Table 1."""
    rates = sorted({run.rate for run in runs if run.rate is not None})
    rows = []
    for arm, group in _arms(runs).items():
        if arm != "original":
            chosen = [[run for run in group if run.rate == rate] for rate in rates]
            means = [np.mean([run.arrays["feature"].mean() for run in c]) for c in chosen if c]
            rows.append((arm, *(f"{mean:.4f}" for mean in means)))
    columns = ("arm", *(f"{rate:g} bpp" for rate in rates))
    console.table(f"Ours: mean square error of {runs[0].classifiers[0]}'s maps", columns, rows)


def _detection(path: Path) -> None:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    drawn = {line["key"]: draws(MatchedObjects.load(path.parent / "matches" / f"{line['key']}.npz"))
             for line in lines}  # fmt: skip
    whole = drawn.get("original@0")
    rows = []
    for line in sorted(lines, key=lambda line: (line["rate"], -line["map50"])):
        mine, avif = drawn[line["key"]], drawn.get(f"avif@{line['rate']:g}")
        share = None if whole is None else interval(100 * mine / whole)
        ahead = None if avif is None else interval(mine - avif)
        sizes = (line.get("bpp"), line.get("psnr"))
        rows.append((line["arm"], line["rate"] or None, interval(mine), share, ahead, *sizes))
    _paper(5)
    console.table(
        f"Ours: FastestDet, {lines[0]['images']} images, mAP50 (95 % interval over images)",
        ("method", "target", "mAP50 %", "% of original's", "less AVIF's", "bpp", "PSNR"),
        rows,
    )


def _tau(runs: list[ArmNumbers], out: Path, classifier: str) -> None:
    """Figure 4: accuracy and SI over tau, from arms called `saic-tau<number>`."""
    points: dict[float, dict[float, list[ArmNumbers]]] = {}
    for run in runs:
        match = re.search(r"-tau(\d+)$", run.arm)
        if match and run.rate is not None:
            points.setdefault(run.rate, {}).setdefault(float(match.group(1)), []).append(run)
    if not points:
        return
    from matplotlib.figure import Figure

    rate, series = max(points.items(), key=lambda item: len(item[1]))
    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
    left = figure.subplots()
    right = left.twinx()
    taus = sorted(series)
    agreement = [np.mean([run.agrees(classifier).mean() for run in series[t]]) for t in taus]
    si = [np.mean([run.si(classifier).value for run in series[t]]) for t in taus]
    left.semilogx(taus, agreement, "o-", color="#0072B2")
    right.semilogx(taus, si, "s--", color="#D55E00")
    left.set(xlabel="τ", ylabel="agreement, % (circles)", title=f"{rate:g} bpp, {classifier}")
    right.set_ylabel("SI, nats (squares)")
    figure.savefig(out / "figure4.png")
    rows = list(zip(taus, map(float, agreement), map(float, si), strict=True))
    console.table(f"Figure 4, ours: {rate:g} bpp", ("tau", "agreement %", "SI"), rows)
    print(out / "figure4.png")


def show(out: Path) -> None:
    """Every table that the measurements in `out` allow."""
    path = out / "detection.jsonl"
    if path.is_file():
        _detection(path)
        if not (out / "original.npz").is_file():
            return
    runs = load(out)
    first, *others = runs[0].classifiers
    rates = {run.rate for run in runs}
    for number, rate, classifiers in ((2, 0.125, [first]), (3, 0.5, [first]), (4, 0.125, others)):
        if rate in rates and classifiers:
            _paper(number)
            for classifier in classifiers:
                _classification(runs, rate, classifier)
    if len(rates) > 2:
        _paper(1)
        _features(runs)
        _paper(6)
        _by_rate(runs, first)
    _tau(runs, out, first)
