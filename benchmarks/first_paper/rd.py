"""Figures 6 and 7: rate against luma PSNR and MS-SSIM, whole files, as lines of JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_run
from benchmarks.saic.arms import find_arm
from deepsic.evaluation.baselines.base import MeasuredCodec
from deepsic.evaluation.metrics.distortion import compare
from deepsic.image_io.load import load_image, to_pil
from pipelines.stage import console

__all__ = ["Curve", "at_rates", "curves", "measure_rd", "published"]

Curve = dict[str, list[float]]
"""bpp, psnr_y, ms_ssim_y, psnr_rgb: means over images, by rising rate."""
MEASURES = ("bpp", "psnr_y", "ms_ssim_y", "psnr_rgb")
PUBLISHED = {
    "JPEG 4:2:0": "jpeg420",
    "JPEG 2000, Kakadu": "j2k-kdu5",
    "Ballé 2017": "balle-2017-iclr-opt-mse",
    "Toderici 2017": "toderici-2017-cvpr",
    "Rippel 2017": "rippel2017",
}
_LADDER = (6.0, 13.0, 22.0, 33.0, 45.0, 58.0, 72.0)
"""Qualities of the first paper's presets: about 0.15 to 1.6 bpp on Kodak."""


def _knobs(coder: MeasuredCodec) -> tuple[float, ...]:
    return _LADDER if coder.name.startswith("deepsic-") else coder.ladder


def measure_rd(folder: Path, out: Path, names: Sequence[str], every: int) -> None:
    """Add to `out`/rd.jsonl what isn't there yet: every coder at every knob on every image."""
    out.mkdir(parents=True, exist_ok=True)
    target = out / "rd.jsonl"
    done = {(row["coder"], row["picture"], row["knob"]) for row in _rows(target)}
    images = sorted(p for p in folder.iterdir() if p.suffix in (".png", ".webp"))[::every]
    coders = [find_arm(name) for name in names]
    (out / "rd_about.json").write_text(json.dumps(describe_run(), indent=1) + "\n", "utf-8")
    jobs = [(path, coder, knob) for path in images for coder in coders for knob in _knobs(coder)]
    with console.progress("rd", len(jobs)) as counter, target.open("a", encoding="utf-8") as file:
        for path, coder, knob in jobs:
            if (coder.name, path.name, knob) not in done:
                image = load_image(path)
                blob = coder.encode(to_pil(image), knob)
                back = np.asarray(coder.decode(blob).convert("RGB"))
                found = compare(image.rgb, back)
                row = {
                    "coder": coder.name, "picture": path.name, "knob": knob,
                    "bpp": 8 * len(blob) / (back.shape[0] * back.shape[1]),
                    "psnr_y": found.psnr_y, "ms_ssim_y": found.ms_ssim_y,
                    "psnr_rgb": found.psnr_rgb,
                }  # fmt: skip
                file.write(json.dumps(row) + "\n")
                file.flush()
            counter.advance()


def _rows(path: Path) -> list[dict[str, object]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def curves(out: Path) -> tuple[dict[str, Curve], int]:
    """Mean curve of each coder over the images that all coders coded, and how many those are."""
    found: dict[str, dict[float, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for row in _rows(out / "rd.jsonl"):
        values = [float(row[name]) for name in MEASURES]  # type: ignore[arg-type]
        found[str(row["coder"])][float(str(row["knob"]))][str(row["picture"])] = values
    shared = set.intersection(*(set(p) for knobs in found.values() for p in knobs.values()))
    made: dict[str, Curve] = {}
    for coder, knobs in found.items():
        means = [np.mean([p[name] for name in sorted(shared)], 0) for p in knobs.values()]
        table = np.array(sorted(means, key=lambda mean: float(mean[0])))
        made[coder] = {name: table[:, k].tolist() for k, name in enumerate(MEASURES)}
    return made, len(shared)


def at_rates(curve: Curve, measure: str, rates: Sequence[float]) -> list[float | None]:
    """A curve's values at rates, by straight lines over the logarithm of the rate."""
    bpp, values = np.log(curve["bpp"]), np.array(curve[measure])
    if measure == "ms_ssim_y":  # straighter in decibels
        values = -10 * np.log10(1 - values)
    found: list[float | None] = []
    for rate in rates:
        inside = bpp[0] <= np.log(rate) <= bpp[-1]
        value = float(np.interp(np.log(rate), bpp, values))
        if measure == "ms_ssim_y":
            value = 1 - 10 ** (-value / 10)
        found.append(value if inside else None)
    return found


def published(reference: Path) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Other authors' luma curves on Kodak, as far as they published them."""
    root = reference / "tfc" / "results" / "image_compression" / "kodak"
    folders = {"psnr_y": "PSNR_sRGB_Y", "ms_ssim_y": "MS-SSIM_sRGB_Y", "rgb": "MS-SSIM_sRGB_RGB"}
    made: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for title, stem in PUBLISHED.items():
        for measure, folder in folders.items():
            path = root / folder / f"{stem}.txt"
            if path.is_file():
                points = [
                    tuple(float(value) for value in line.replace(",", " ").split()[:2])
                    for line in path.read_text("utf-8").splitlines()
                    if line.strip() and not line.startswith("#")
                ]
                made.setdefault(title, {})[measure] = sorted(points)  # type: ignore[arg-type]
    return made
