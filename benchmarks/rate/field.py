"""`sic` beside its field on a folder of images: rate by four measures, and time, in one run.

    pip install ssimulacra2
    OMP_NUM_THREADS=1 python benchmarks/rate/field.py kodak/ --out field.jsonl

Whole files without labels, decoded 8-bit images, the same images for every codec, one thread each.
BD-rate from means over the images of bpp and the measure, against `--anchor`; time is processor
time, as ratios to ours within the run. Rerun, it resumes.
"""

from __future__ import annotations

import io
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import bjontegaard
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from benchmarks import options
from deepsic.bitstream.container import read_header
from deepsic.codec import Codec
from deepsic.errors import UsageError
from deepsic.evaluation.metrics.distortion import compare

RGB = NDArray[np.uint8]
Encode = Callable[[RGB, float], bytes]
MEASURES = ("psnr_rgb", "psnr_y", "ms_ssim_db", "ssimulacra2")
KNOBS = {
    "sic": (17, 26, 40, 54, 68, 81),
    "jpeg": (8, 18, 35, 60, 80, 90),
    "webp": (2, 15, 40, 65, 82, 92),
    "jpeg2000": (100, 60, 35, 20, 12, 7),
    "avif": (15, 28, 40, 52, 66, 80),
    "jxl": (10, 28, 45, 65, 80, 90),
}
"""Of each family, so that rates overlap: qualities, or compression ratios of JPEG 2000."""


EFFORTS = (1, 6, 7, 8, 9)
ASKED = "sic effort 6", "sic effort 7", "sic effort 8", "sic effort 9", "sic effort 1 tune"
"""First words of what is measured only if `--only` names it."""


def family(name: str) -> str:
    """What sort a codec is of, by its name."""
    return "sic" if name.startswith("sic") else name.partition(" ")[0]


def pillow(format: str, **settings: Any) -> Encode:
    """An encoder of Pillow's at a quality."""

    def encode(rgb: RGB, knob: float) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, format, quality=int(knob), **settings)
        return buffer.getvalue()

    return encode


def jpeg2000(rgb: RGB, knob: float) -> bytes:
    """OpenJPEG, irreversible, at a compression ratio."""
    buffer = io.BytesIO()
    layers = {"quality_mode": "rates", "quality_layers": [knob], "irreversible": True, "mct": 1}
    Image.fromarray(rgb).save(buffer, "JPEG2000", **layers)
    return buffer.getvalue()


def ours(model: str = "sic", **settings: Any) -> Encode:
    """The shipped model, or a file's."""
    codec = Codec.load(model, device="cpu", **settings)
    return lambda rgb, knob: codec.encode(rgb, quality=int(knob), labels=False)


def named(model: str) -> str:
    """A codec's name for another model of ours."""
    return model if model.startswith("sic") else f"sic {model}"


def avif(speed: int, **settings: Any) -> Encode:
    """libaom through libavif."""
    return pillow("AVIF", speed=speed, max_threads=1, **settings)


def codecs(models: Sequence[str]) -> dict[str, Encode]:
    """Encoders by name, also those of other models of ours; the first word is the family."""
    import pillow_jxl  # noqa: F401  registers itself

    psnr = {"subsampling": "4:4:4", "advanced": {"tune": "psnr"}}
    return {
        "sic": ours(),
        "sic tune psnr": ours(tune="psnr"),
        **{f"sic effort {n}": ours(effort=n) for n in EFFORTS},
        **{f"sic effort {n} tune psnr": ours(effort=n, tune="psnr") for n in EFFORTS},
        **{named(model): ours(model) for model in models},
        **{f"{named(model)} tune psnr": ours(model, tune="psnr") for model in models},
        "jpeg": pillow("JPEG", optimize=True),
        "webp method 4": pillow("WEBP", method=4),
        "jpeg2000": jpeg2000,
        "avif speed 4": avif(4),
        "avif speed 6": avif(6),
        "avif speed 8": avif(8),
        "avif speed 6 444 psnr": avif(6, **psnr),
        "jxl effort 3": pillow("JXL", effort=3, num_threads=0),
        "jxl effort 7": pillow("JXL", effort=7, num_threads=0),
    }


def decode(name: str, blob: bytes, models: Mapping[bytes, Codec]) -> RGB:
    """Pixels of a codec's file; models: ours, by identity."""
    if name.startswith("sic"):
        return np.asarray(models[read_header(blob).model_id].decode(blob))
    with Image.open(io.BytesIO(blob)) as image:
        return np.asarray(image.convert("RGB"))


def ssimulacra2(rgb: RGB, decoded: RGB) -> float:
    """SSIMULACRA2, at most 100, by the package of that name."""
    from ssimulacra2 import compute_ssimulacra2

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("original.png", "decoded.png")]
        for path, pixels in zip(paths, (rgb, decoded), strict=True):
            Image.fromarray(pixels).save(path, compress_level=0)
        return float(compute_ssimulacra2(*map(str, paths)))


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its processor time, seconds."""
    before = time.process_time()
    value = call()
    return value, time.process_time() - before


def row_of(
    name: str, encode: Encode, knob: float, rgb: RGB, models: Mapping[bytes, Codec]
) -> dict[str, Any]:
    """One file: its size, measures and times."""
    blob, seconds = timed(lambda: encode(rgb, knob))
    decoded, back = timed(lambda: decode(name, blob, models))
    scores = compare(rgb, decoded)
    ms_ssim = scores.ms_ssim_rgb or 0.0
    return {
        "codec": name, "knob": knob, "bpp": 8 * len(blob) / rgb[..., 0].size,
        "psnr_rgb": scores.psnr_rgb, "psnr_y": scores.psnr_y,
        "ms_ssim_db": -10 * float(np.log10(1 - ms_ssim)),
        "ssimulacra2": ssimulacra2(rgb, decoded), "encode": seconds, "decode": back,
    }  # fmt: skip


def table(rows: Sequence[dict[str, Any]], anchor: str) -> str:
    """BD-rates against the anchor, and times over ours, or the anchor's where ours isn't there."""
    names = list(dict.fromkeys(row["codec"] for row in rows))
    unit = "sic" if "sic" in names else anchor

    def means(name: str, key: str) -> NDArray[np.float64]:
        knobs = sorted({row["knob"] for row in rows if row["codec"] == name})
        own = [[r[key] for r in rows if r["codec"] == name and r["knob"] == k] for k in knobs]
        return np.array([np.mean(values) for values in own])

    def seconds(name: str, key: str) -> float:
        return float(np.median([row[key] for row in rows if row["codec"] == name]))

    lines = [" | ".join(("codec", *MEASURES, "encode", "decode"))]
    for name in names:
        cells = []
        for measure in MEASURES:
            curves = []
            for each in (anchor, name):
                order = np.argsort(means(each, "bpp"))
                curves += [means(each, "bpp")[order], means(each, measure)[order]]
            rate = bjontegaard.bd_rate(
                *curves, method="pchip", require_matching_points=False, min_overlap=0
            )
            cells.append(f"{rate:+.1f}")
        cells += [f"{seconds(name, k) / seconds(unit, k):.2f}" for k in ("encode", "decode")]
        lines.append(" | ".join((name, *cells)))
    return "\n".join(lines)


def main(
    folder: options.Images,
    out: Annotated[Path, typer.Option(help="Rows, a line a file.")] = Path("field.jsonl"),
    only: Annotated[list[str] | None, typer.Option(help="Codecs; repeatable.")] = None,
    anchor: Annotated[str, typer.Option(help="Codec that BD-rates compare with.")] = "jpeg",
    every: Annotated[int, typer.Option(help="Take one image of so many.")] = 1,
    also: Annotated[list[str] | None, typer.Option(help="Model of ours; repeatable.")] = None,
) -> None:
    """Measure what isn't in OUT yet, and print the table."""
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(row["codec"], row["knob"], row["image"]) for row in rows}
    loaded = [Codec.load(model, device="cpu") for model in ("sic", *(also or ()))]
    models = {codec.identity: codec for codec in loaded}
    known = codecs(also or ())
    usual = [name for name in known if not name.startswith(ASKED)]
    made = {name: known[name] for name in options.chosen(only or usual, known)}
    if anchor not in {*made, *(name for name, _, _ in done)}:
        raise UsageError(f"--anchor {anchor}: nothing here is of that codec; add --only {anchor!r}")
    with out.open("a") as file:
        for path in options.images_in(folder)[::every]:
            rgb = np.asarray(Image.open(path).convert("RGB"))
            for name, encode in made.items():
                for knob in KNOBS[family(name)]:
                    if (name, knob, path.name) not in done:
                        row = row_of(name, encode, knob, rgb, models) | {"image": path.name}
                        rows.append(row)
                        file.write(json.dumps(row) + "\n")
                        file.flush()
            typer.echo(path.name, err=True)
    typer.echo(table(rows, anchor))


if __name__ == "__main__":
    options.run(main)
